"""Block [harmonisation] of the study file: which tables ComBat harmonises over hospitals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from common.study.block import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

HarmonisedName = Literal["radiomics", "deep"]
MOST_COVARIATES = 5


class HarmonisationSettings(Settings):
    """Tables whose columns lose the location and scale of each batch, and what a batch is.

    With no `tables` nothing is harmonised. `deep` are the features of the networks, which enter the
    feature-level fusion. A batch is a hospital, or with `batch = "scanner"` a scanner there, by the
    column `scanner` of its cohort.csv.
    """

    tables: tuple[HarmonisedName, ...] = Field(
        (), description="radiomics, deep (the networks' features), or both; by default neither"
    )
    covariates: tuple[str, ...] = Field(
        (),
        max_length=MOST_COVARIATES,
        description="clinical columns whose influence on a feature stays; never the outcome",
    )
    batch: Literal["hospital", "scanner"] = "hospital"
    min_batch: int = Field(
        10, ge=3, description="patients that a batch needs; smaller ones of a hospital are joined"
    )
    unseen: Literal["reference", "own"] = Field(
        "reference",
        description="of a batch without training patients: reference = its features stay as they"
        " are, own = its effects are estimated from the patients to be scored, not their labels",
    )


def check_harmonisation(settings: HarmonisationSettings, clinical: Sequence[str]) -> None:
    """Check that covariates are clinical columns.

    Raises
    ------
    ValueError : another name, or one twice.
    """
    for name in settings.covariates:
        if name not in clinical:
            raise ValueError(f"[harmonisation] covariates: {name} is not a clinical column")
    if len(set(settings.covariates)) != len(settings.covariates):
        raise ValueError("[harmonisation] covariates: a column is named twice")
