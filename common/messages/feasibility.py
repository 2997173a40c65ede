"""The file in which a hospital says, before a study, whether the study would run with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.messages.limits import MOST_PATIENTS
from common.messages.signed_document import read_document
from common.study.block import Settings
from common.study.model import Name

FORMAT = 1
Count = Annotated[int, Field(ge=0, le=MOST_PATIENTS)]


class SubsetCount(Settings):
    """Patients of one set at a hospital, and those with the endpoint; None = too few to tell."""

    subset: str
    patients: Count | None
    positives: Count | None

    @model_validator(mode="after")
    def _positives_are_patients(self) -> Self:
        if (self.positives or 0) > (self.patients or 0):
            raise ValueError("more patients with the endpoint than patients")
        return self


class RuleForeseen(Settings):
    """A disclosure rule that would refuse.

    Parameters
    ----------
    stops : the study could not go on; otherwise a part of the results would be withheld.
    """

    rule: str
    subset: str
    threshold: float | int | str | None
    stops: bool


class PhaseLoad(Settings):
    """Most rounds of a phase, and most bytes that the hospital would send in it."""

    phase: str
    rounds: Count
    bytes_up: Annotated[int, Field(ge=0, lt=2**50)]


class FeasibilityReport(Settings):
    """All that a hospital shares before a study.

    Parameters
    ----------
    digest : SHA-256 (hex) of the study that was checked.
    release : of fedlnm. device : "cpu" or "cuda".
    ready : its own check found nothing that must be put right.
    open_checks : kinds of checks with a problem, without any detail.
    mbit_per_second : of its line; None = not known.
    """

    format: int = Field(FORMAT, ge=1)
    site: str = Name
    study: str
    digest: str
    release: str
    device: Literal["cpu", "cuda"]
    cores: Count
    ready: bool
    open_checks: tuple[str, ...]
    counts: tuple[SubsetCount, ...]
    rules: tuple[RuleForeseen, ...]
    load: tuple[PhaseLoad, ...]
    mbit_per_second: float | None = Field(None, gt=0)

    def to_text(self) -> str:
        """Return the content of the file, which people read before they send it."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        InputError : no such file, or not one of this kind.
        """
        return read_document(path, cls)
