"""Base of the records of results.json, and the numbers in them."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _none_unless_finite(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain_number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


Number = Annotated[float | None, BeforeValidator(_none_unless_finite)]
Finite = Annotated[float, BeforeValidator(_plain_number), Field(allow_inf_nan=False)]
Share = Annotated[Annotated[float, Field(ge=0, le=1)] | None, BeforeValidator(_none_unless_finite)]
Count = Annotated[int, BeforeValidator(_plain_number), Field(ge=0)]
MaybeCount = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_none_unless_finite)]
RunName = Annotated[str, Field(pattern=r"^(federated|pooled|local:.+|without:.+)$")]


class Record(BaseModel):
    """Base of every record: unknown keys are errors, values never change.

    Lists in `ALIKE` have one length; those in `OR_EMPTY` have the same one, or are all empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    ALIKE: ClassVar[tuple[str, ...]] = ()
    OR_EMPTY: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        given = any(getattr(self, name) for name in self.OR_EMPTY)
        names = (*self.ALIKE, *(self.OR_EMPTY if given else ()))
        lengths = {name: len(getattr(self, name)) for name in names}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise ValueError(f"lists must have one length: {found}")
        return self
