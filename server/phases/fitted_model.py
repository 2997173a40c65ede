"""A fitted model (clinical, radiomics, a network, the feature-level fusion), for later phases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from common.bundle.bundle import TrainingColumns
from common.messages.plain import plain
from common.transforms import Standardise
from common.transforms.views import View


@plain
class FittedModel:
    """One fitted model.

    Parameters
    ----------
    name : model name, also the name of its one output column.
    out_of_fold : view of out-of-fold probabilities of the training rows.
    final : view of the model fitted on all training rows.
    features : per outer fold, then final: the columns feature-level fusion takes from this model.
    selection : columns that were selected and how, for the report.
    """

    name: str
    out_of_fold: View
    final: View
    features: tuple[View, ...]
    selection: dict[str, Any]

    @property
    def selected(self) -> tuple[str, ...]:
        """Return the columns of the final model, where they were selected."""
        steps = self.selection.get("steps", ())
        names: tuple[str, ...] = (steps[-1].get("names") or ()) if steps else ()
        return names

    def with_selection(self, **more: Any) -> FittedModel:
        """Return this model with further notes for the report."""
        return dataclasses.replace(self, selection={**self.selection, **more})


def training_columns(fitted: Mapping[str, FittedModel]) -> dict[str, TrainingColumns]:
    """Return mean and deviation of the training patients' clinical columns, for the bundle.

    They are those of the z-score of the clinical model, whether the final model uses a column or
    not. Columns that it left out (constant, or nearly so in the training) are not among them. Those
    of radiomics and networks are in their own steps.
    """
    views = fitted["clinical"].features[-1:] if "clinical" in fitted else ()
    steps = [s for view in views for s in view.transforms if isinstance(s, Standardise)]
    if not steps:
        return {}
    (step,) = steps
    known = TrainingColumns(columns=step.columns, mean=step.mean, deviation=step.scale)
    return {"clinical": known}
