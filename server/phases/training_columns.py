"""What the training patients had in the clinical columns: sums already made, for the bundle."""

from __future__ import annotations

from collections.abc import Mapping

from common.bundle import TrainingColumns
from common.transforms import Standardise
from common.views import Table
from server.phases.arm import Arm


def training_columns(arms: Mapping[str, Arm]) -> dict[str, TrainingColumns]:
    """Mean and deviation of the clinical columns, whether the final model uses them or not.

    They are those of the z-score of the clinical arm. Columns that it left out (constant, or nearly
    so in the training) are not among them. What radiomics and networks use is in their own steps.
    """
    if "clinical" not in arms:
        return {}
    view = arms["clinical"].features[-1]
    steps = [step for step in view.transforms if isinstance(step, Standardise)]
    if not isinstance(view.source, Table) or len(steps) != 1:
        raise ValueError("the clinical arm has no z-score")
    (step,) = steps
    return {"clinical": TrainingColumns(columns=step.columns, mean=step.mean, deviation=step.scale)}
