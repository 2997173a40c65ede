"""What the training patients had in the clinical columns: sums already made, for the bundle."""

from __future__ import annotations

from collections.abc import Mapping

from common.bundle.bundle import TrainingColumns
from common.transforms import Standardise
from server.phases.arm import Arm


def training_columns(arms: Mapping[str, Arm]) -> dict[str, TrainingColumns]:
    """Mean and deviation of the clinical columns, whether the final model uses them or not.

    They are those of the z-score of the clinical arm. Columns that it left out (constant, or nearly
    so in the training) are not among them. What radiomics and networks use is in their own steps.
    """
    views = arms["clinical"].features[-1:] if "clinical" in arms else ()
    steps = [s for view in views for s in view.transforms if isinstance(s, Standardise)]
    if not steps:
        return {}
    (step,) = steps
    known = TrainingColumns(columns=step.columns, mean=step.mean, deviation=step.scale)
    return {"clinical": known}
