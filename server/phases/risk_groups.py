"""Last step of training where the endpoint has a time: fused risks, risk groups, measures.

As with probabilities, the fusion of fold k learns from out-of-fold risks of the other folds alone.
A Cox model takes the logarithms of the base models' cumulative hazards, each a linear predictor
with its baseline, so that weights 1 and 0 leave a base model as it is. Everything comes from sums:
no risk leaves a hospital, whatever `[fusion]` says of pooling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.dossier.disclosure import Disclosure, Phase, sum_disclosure
from common.learning.quantile_cells import probability_quantiles
from common.statistics.base import Float
from common.statistics.class_histogram import QUANTILES
from common.statistics.fold_histogram import FoldHistogramResult
from common.statistics.gram import FoldGram
from common.statistics.histogram import Histogram
from common.study.model import Study
from common.transforms import LogHazard
from common.transforms.views import ByFold, View
from common.utils import portable
from server.phases.cox import NO_LASSO, event_risk, fit_cox_models, gradient_asks, record_of
from server.phases.decision import STACKER, Decision, StackerFit, side_by_side, unstacked
from server.phases.fitted_model import FittedModel
from server.phases.follow_up import follow_up_asks, measure_follow_up
from server.phases.lasso import OuterFold
from server.phases.near_zero_variance import fold_histograms, frequent, split, variance_asks
from server.phases.protocol import Federation
from server.phases.set_findings import EvaluationFindings

LOG_HAZARDS: Float = np.linspace(-8.0, 2.0, 101)
"""Inner edges of cells of the risk, by the logarithm of the hazard; events may be rare."""
_WIDTH = 0.1


@dataclass(frozen=True)
class HazardFusion:
    """The decision-level fusion, and its risks of the training patients."""

    stacker: StackerFit
    out_of_fold: View


def fuse_hazards(
    federation: Federation, fitted: Mapping[str, FittedModel], counts: Mapping[str, Float]
) -> HazardFusion:
    """Fit the Cox model that joins the base models; three rounds and those of the gradients.

    Parameters
    ----------
    counts : by base model, training patients in each of the cells between `LOG_HAZARDS`.
    """
    study, names = federation.study, tuple(federation.study.base_models)
    mean, scale = (np.array(own) for own in zip(*(_spread(counts[n]) for n in names), strict=True))
    step = LogHazard(names, mean, scale, limit=study.selection.clip)
    learns = side_by_side({name: fitted[name].out_of_fold for name in names}, names).then(step)
    found: FoldHistogramResult
    (found,) = federation.sum_many(fold_histograms(study, [learns]))
    support = found.support()
    stays = frequent(study, support)
    kept, _ = split(names, stays)
    view = learns.restrict(kept)
    asked = FoldGram(folds=study.folds, support=support.narrow(np.flatnonzero(stays)))
    gram = federation.sum(asked, view)
    outers = [
        OuterFold(index, (index,) if index < study.folds else (), view, kept, NO_LASSO, gram, "")
        for index in range(study.folds + 1)
    ]
    models, _ = fit_cox_models(federation, STACKER, outers)
    out_of_fold = View(source=ByFold(parts=tuple(m.decision for m in models[: study.folds])))
    risk = event_risk(federation, STACKER, out_of_fold, float(gram.n.sum()))
    last = models[-1]
    final = side_by_side({name: fitted[name].final for name in names}, names).then(step)
    final = final.restrict(kept).then(last.decision.transforms[-1], risk)
    return HazardFusion(
        StackerFit(final=final, candidates={}, used="cox", cox=record_of(last, risk)),
        out_of_fold.then(risk),
    )


def _spread(counts: Float) -> tuple[float, float]:
    """Return mean and deviation of the logarithm of the hazard, from counts in cells."""
    middle = np.append(LOG_HAZARDS - 0.5 * _WIDTH, LOG_HAZARDS[-1] + 0.5 * _WIDTH)
    n = max(float(counts.sum()), 1.0)
    mean = portable.dot(counts, middle) / n
    apart = middle - mean
    return mean, max(float(np.sqrt(portable.dot(counts, apart * apart) / n)), 0.5 * _WIDTH)


def hazard_asks(study: Study) -> tuple[tuple[Disclosure, ...], int]:
    """Declare what `fuse_hazards` asks for, and its rounds at most."""
    models = len(study.base_models)
    gradients, rounds = gradient_asks(study, models, tables=1)
    gram = sum_disclosure(study, FoldGram(folds=study.folds), models)
    return (variance_asks(study, models), gram, *gradients), 2 + rounds


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
