"""A fitted model (base model or fusion of features), and the phase that it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.bundle.bundle import TrainingColumns
from common.dossier.disclosure import Phase
from common.messages.plain import plain
from common.models import MODELS, ModelSpec, load_models
from common.study.model import Study
from common.transforms import Standardise
from common.transforms.views import View
from server.phases.protocol import Federation


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


@dataclass(frozen=True)
class Earlier:
    """All that a study's models may be fitted on beside the sites.

    Parameters
    ----------
    fitted : the models before, by name.
    trained : where the model is a network, its trainings by variant (`TrainedNetwork`).
    """

    fitted: Mapping[str, FittedModel]
    trained: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelPhase:
    """Phase of the program in which one model is fitted.

    Parameters
    ----------
    asks : declares what `fit` asks the sites for, as large as it can be.
    width : most columns that the model hands to the feature-level fusion.
    """

    spec: ModelSpec
    fit: Callable[[Federation, Earlier], FittedModel]
    asks: Callable[[Study], Phase]
    width: Callable[[Study], int] = lambda _: 0


PHASES: dict[str, ModelPhase] = {}
"""Phases whose files have been loaded; `phase_of` finds them all."""


def register(phase: ModelPhase) -> ModelPhase:
    """Add a model, of the registry or a new one, with its phase.

    Raises
    ------
    TypeError : another model has this name.
    """
    name = phase.spec.name
    if name in PHASES or MODELS.setdefault(name, phase.spec) is not phase.spec:
        raise TypeError(f"two models are called {name}")
    PHASES[name] = phase
    return phase


def forget(name: str) -> None:
    """Take a model out again."""
    del MODELS[name], PHASES[name]


def phase_of(name: str) -> ModelPhase:
    """Return the phase of a model; KeyError where no file of this folder has it."""
    if name not in PHASES:
        load_models()
    return PHASES[name]


def training_columns(fitted: Mapping[str, FittedModel]) -> dict[str, TrainingColumns]:
    """Return mean and deviation of the training patients' clinical columns, for the bundle.

    They are those of the z-score of the clinical model, whether the final model uses a column or
    not. Columns that it left out (constant, or nearly so in the training) are not among them. Those
    of radiomics, networks and further models are in their own steps.
    """
    views = fitted["clinical"].features[-1:] if "clinical" in fitted else ()
    steps = [s for view in views for s in view.transforms if isinstance(s, Standardise)]
    if not steps:
        return {}
    (step,) = steps
    known = TrainingColumns(columns=step.columns, mean=step.mean, deviation=step.scale)
    return {"clinical": known}
