"""What the records of results.json are made of: numbers that may be missing, strict records."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from common.models import BaseModelName, FusionModelName

ModelName = BaseModelName | FusionModelName


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
RunName = Annotated[str, Field(pattern=r"^(federated|pooled|local:.+)$")]


class Record(BaseModel):
    """Base of every record: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


R = TypeVar("R", bound=Record)


def equal_lengths(record: R, *fields: str) -> R:
    """The record; ValueError unless these fields have one length."""
    lengths = {name: len(getattr(record, name)) for name in fields}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"lists must have one length: {found}")
    return record
