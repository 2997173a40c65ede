"""Decision-level fusion of risks by a horizon: a Cox model on the hazards of the base models.

As with probabilities, the fusion of fold k learns from out-of-fold risks of the other folds alone.
A Cox model takes the logarithms of the base models' cumulative hazards, each a linear predictor
with its baseline, so that weights 1 and 0 leave a base model as it is. Everything comes from sums:
no risk leaves a hospital, whatever `[fusion]` says of pooling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.statistics.base import Float
from common.statistics.fold_histogram import FoldHistogramResult
from common.statistics.gram import FoldGram
from common.study.model import Study
from common.transforms import LogHazard
from common.transforms.views import ByFold, View
from common.utils import portable
from server.phases.cox import NO_LASSO, event_risk, fit_cox_models, gradient_asks, record_of
from server.phases.decision import STACKER, StackerFit, side_by_side
from server.phases.fitted_model import FittedModel
from server.phases.lasso import OuterFold
from server.phases.near_zero_variance import fold_histograms, frequent, split, variance_asks
from server.phases.protocol import Federation

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
