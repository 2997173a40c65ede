"""What the blocks of the study file have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Base of every block of the study file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
