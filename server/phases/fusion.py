"""Feature-level fusion (paper, "Construction of the fusion model")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.dossier.disclosure import Phase
from common.models import MODELS
from common.study.model import Study
from common.transforms.views import Joined, View
from server.phases.batching import distinct, run_together
from server.phases.fitted_model import FittedModel, ModelPhase, phase_of, register
from server.phases.linear import fit_linear_model, linear_asks
from server.phases.protocol import Federation
from server.phases.spearman import spearman_asks, spearman_filter
from server.phases.standardise import moments_asks, standardise

SHOWN_NOTE = "label-free steps of the last outer problem, the final model, are shown"


def fit_feature_fusion(federation: Federation, fitted: Mapping[str, FittedModel]) -> FittedModel:
    """Fit DLRad_FB: all models' features side by side, selected and classified like one table.

    Outer fold k takes the deep features of the networks that never saw fold k.
    """
    found = [fitted[name] for name in federation.study.base_models]
    base = [model for model in found if model.features]
    views, places = distinct(
        [
            View(source=Joined(parts=tuple(model.features[outer] for model in base)))
            for outer in range(federation.study.folds + 1)
        ]
    )
    scaled, dropped = standardise(federation, views)
    (filtered,) = run_together(federation, spearman_filter(federation.study, scaled))
    selection: dict[str, Any] = {
        "steps": (
            {"step": "columns", "count": len(views[-1].outputs())},
            {"step": "constant", "names": dropped[-1]},
            {"step": "rare", "names": filtered[-1].rare},
            {"step": "spearman", "names": filtered[-1].names},
        ),
        "notes": tuple(filter(None, (SHOWN_NOTE, filtered[-1].note))),
    }
    tables = [filtered[place].table for place in places]
    model = fit_linear_model(
        federation,
        "fusion_feature",
        [table.view for table in tables],
        [table.support for table in tables],
        (),
        selection,
        _changing(base),
    )
    return model.with_selection(correlation=filtered[-1].correlation_of(model.selected))


def _changing(base: Sequence[FittedModel]) -> frozenset[str]:
    """Name the columns of models that hand over other features in each outer problem."""
    several = [model for model in base if len(distinct(model.features)[0]) > 1]
    return frozenset(
        name for model in several for view in model.features for name in view.outputs()
    )


def fusion_asks(study: Study) -> Phase:
    """Declare what `fit_feature_fusion` asks for."""
    width = sum(phase_of(name).width(study) for name in study.base_models)
    tables = study.folds + 1 if study.networks else 1
    fitted, rounds = linear_asks(study, width, tables)
    asked = (*moments_asks(study, width, tables), *spearman_asks(study, width, tables), *fitted)
    return Phase("fusion_feature", "The model on the features of all others", 7 + rounds, asked)


register(
    ModelPhase(
        MODELS["fusion_feature"],
        lambda sites, earlier: fit_feature_fusion(sites, earlier.fitted),
        fusion_asks,
    )
)
