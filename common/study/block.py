"""What the blocks of the study file have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from common.utils.printable import check_printable

Positive = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Base of every block of the study file: unknown keys are errors, values never change.

    Every text is plain text on one line: it is shown to a person who decides by what is shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _texts_print(cls, value: Any) -> Any:
        check_printable(value)
        return value
