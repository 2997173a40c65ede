"""Feature-level fusion (paper, "Construction of the fusion model")."""

from __future__ import annotations

from collections.abc import Mapping

from common.dossier.disclosure import Phase
from common.models import MODELS
from common.study.model import Study
from server.phases.fitted_model import FittedModel, ModelPhase, phase_of, register
from server.phases.joined_features import ROUNDS, join_asks, join_features
from server.phases.linear import fit_linear_model, linear_asks
from server.phases.protocol import Federation


def fit_feature_fusion(federation: Federation, fitted: Mapping[str, FittedModel]) -> FittedModel:
    """Fit DLRad_FB: all models' features side by side, selected and classified like one table.

    Outer fold k takes the deep features of the networks that never saw fold k.
    """
    found = [fitted[name] for name in federation.study.base_models]
    joined = join_features(federation, [model.features for model in found if model.features])
    model = fit_linear_model(
        federation,
        "fusion_feature",
        joined.views,
        joined.supports,
        (),
        joined.selection,
        joined.changing,
    )
    return model.with_selection(correlation=joined.correlation_of(model.selected))


def fusion_asks(study: Study) -> Phase:
    """Declare what `fit_feature_fusion` asks for."""
    width = sum(phase_of(name).width(study) for name in study.base_models)
    tables = study.folds + 1 if study.networks else 1
    fitted, rounds = linear_asks(study, width, tables)
    asked = (*join_asks(study, width, tables), *fitted)
    purpose = "The model on the features of all others"
    return Phase("fusion_feature", purpose, ROUNDS + rounds, asked)


register(
    ModelPhase(
        MODELS["fusion_feature"],
        lambda sites, earlier: fit_feature_fusion(sites, earlier.fitted),
        fusion_asks,
    )
)
