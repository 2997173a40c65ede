"""What an arm of the study (clinical, radiomics, a network, a fusion) hands on."""

from __future__ import annotations

import dataclasses
from typing import Any

from common.messages.plain import plain
from common.transforms.views import View


@plain
class Arm:
    """One fitted model.

    Parameters
    ----------
    name : model name, also the name of its one output column.
    out_of_fold : view of out-of-fold probabilities of the training rows.
    final : view of the model fitted on all training rows.
    features : per outer fold, then final: the columns feature-level fusion takes from this arm.
    selection : what was selected and how, for the report.
    """

    name: str
    out_of_fold: View
    final: View
    features: tuple[View, ...]
    selection: dict[str, Any]

    @property
    def selected(self) -> tuple[str, ...]:
        """Columns of the final model, where they were selected."""
        steps = self.selection.get("steps", ())
        names: tuple[str, ...] = (steps[-1].get("names") or ()) if steps else ()
        return names

    def with_selection(self, **more: Any) -> Arm:
        """This arm with further notes for the report."""
        return dataclasses.replace(self, selection={**self.selection, **more})
