"""Block [analysis] of the study file: what is compared, and at which thresholds one would treat."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from common.study.block import Settings

DECIDING = (0.05, 0.5)
"""Thresholds of decision curves unless the study has its own: neck dissection is advised from a
risk of 15 to 20 % on (Weiss et al. 1994), so that nobody would treat below 5 % or wait above
50 %."""


class PrimaryComparison(Settings):
    """The one comparison of two models that the study is made to answer, on one of its sets."""

    model_a: str
    model_b: str
    set: str

    @model_validator(mode="after")
    def _two_models(self) -> Self:
        if self.model_a == self.model_b:
            raise ValueError("a comparison is of two models")
        return self


class AnalysisSettings(Settings):
    """Range of thresholds of the decision curves, and the primary comparison.

    All other comparisons are exploratory, and so are all where no primary one is declared. It
    counts only if it was declared before the results were known: hospitals approve it with the
    study.
    """

    thresholds: tuple[float, float] = Field(DECIDING, title="lowest and highest threshold")
    primary: PrimaryComparison | None = None

    @model_validator(mode="after")
    def _range(self) -> Self:
        low, high = self.thresholds
        if not 0.0 < low < high < 1.0:
            raise ValueError("thresholds: the lowest, then the highest, both between 0 and 1")
        return self


def check_primary(analysis: AnalysisSettings, models: tuple[str, ...], sets: list[str]) -> None:
    """Raise ValueError where the primary comparison names a model or set that the study lacks."""
    primary = analysis.primary
    if primary is None:
        return
    for model in (primary.model_a, primary.model_b):
        if model not in models:
            raise ValueError(f"analysis: {model} is none of the study's models")
    if primary.set not in ("train", *sets):
        raise ValueError(f"analysis: {primary.set} is none of the study's sets")
