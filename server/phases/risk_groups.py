"""Risk groups and measures of the training patients, where the endpoint has a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.dossier.disclosure import Phase, sum_disclosure
from common.learning.quantile_cells import probability_quantiles
from common.statistics.base import Float
from common.statistics.class_histogram import QUANTILES
from common.statistics.histogram import Histogram
from common.study.model import Study
from common.utils import portable
from server.phases.decision import STACKER, Decision, side_by_side, unstacked
from server.phases.fitted_model import FittedModel
from server.phases.follow_up import follow_up_asks, measure_follow_up
from server.phases.fusion_hazards import LOG_HAZARDS, fuse_hazards, hazard_asks
from server.phases.protocol import Federation
from server.phases.set_findings import EvaluationFindings

MEDIAN = int(np.argmin(np.abs(QUANTILES - 0.5)))
# evenly spaced by the linear predictor: where events are rare, risks crowd near 0
_HAZARDS: Float = portable.exp(LOG_HAZARDS)
RISK_CELLS: Float = np.concatenate([[0.0], -portable.expm1(-_HAZARDS), [1.0]])


def decide_by_risk(federation: Federation, fitted: Mapping[str, FittedModel]) -> Decision:
    """Fuse risks, cut each model's at their out-of-fold median, and measure them."""
    study = federation.study
    names = unstacked(study)
    views = {name: fitted[name].out_of_fold for name in names}
    models = {name: fitted[name].final for name in names}
    found = federation.sum(risk_cells(len(names)), side_by_side(views, names))
    quantiles, stacker = probability_quantiles(found.edges, found.counts, QUANTILES), None
    if STACKER in study.fusion_models:
        fused = fuse_hazards(federation, fitted, dict(zip(names, found.counts, strict=True)))
        stacker = fused.stacker
        views[STACKER], models[STACKER] = fused.out_of_fold, stacker.final
        found = federation.sum(risk_cells(1), fused.out_of_fold)
        own = probability_quantiles(found.edges, found.counts, QUANTILES)
        quantiles = np.vstack([quantiles, own])
    cutoffs = {name: float(own[MEDIAN]) for name, own in zip(views, quantiles, strict=True)}
    edges, view = risk_edges(quantiles), side_by_side(views, tuple(views))
    measured = measure_follow_up(federation, ["train"], tuple(views), view, cutoffs, edges)
    return Decision(
        training=EvaluationFindings(cutoffs, (), {}, (), {}, follow_up=measured),
        models=models,
        cutoffs=cutoffs,
        edges=edges,
        stacker=stacker,
    )


def risk_cells(models: int) -> Histogram:
    """Return the question for the risks of so many models."""
    return Histogram(edges=np.tile(RISK_CELLS, (models, 1)))


def risk_edges(quantiles: Float) -> Float:
    """Return edges (k, cells + 1) of the risk from quantiles (k, q) of training patients."""
    ends = np.ones((len(quantiles), 1))
    return np.hstack([0.0 * ends, quantiles, ends])


def risk_asks(study: Study) -> Phase:
    """Declare what `decide_by_risk` asks for."""
    base, stacks = len(unstacked(study)), STACKER in study.fusion_models
    asked, rounds = [sum_disclosure(study, risk_cells(base), base)], 2
    if stacks:
        fused, more = hazard_asks(study)
        asked += [*fused, sum_disclosure(study, risk_cells(1), 1)]
        rounds += more + 1
    measured = follow_up_asks(study, base + stacks, "train")
    purpose = "The model on all risks, and groups of low and high risk"
    return Phase(STACKER, purpose, rounds, (*asked, *measured))
