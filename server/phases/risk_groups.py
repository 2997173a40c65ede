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
from server.phases.evaluation import EvaluationFindings
from server.phases.fitted_model import FittedModel
from server.phases.follow_up import follow_up_asks, measure_follow_up
from server.phases.protocol import Federation

MEDIAN = int(np.argmin(np.abs(QUANTILES - 0.5)))
# evenly spaced by the linear predictor: where events are rare, risks crowd near 0
_HAZARDS: Float = portable.exp(np.linspace(-8.0, 2.0, 101))
RISK_CELLS: Float = np.concatenate([[0.0], -portable.expm1(-_HAZARDS), [1.0]])


def decide_by_risk(federation: Federation, fitted: Mapping[str, FittedModel]) -> Decision:
    """Cut each model's risks at their out-of-fold median, and measure them; two rounds."""
    names = unstacked(federation.study)
    view = side_by_side({name: fitted[name].out_of_fold for name in names}, names)
    found = federation.sum(risk_cells(len(names)), view)
    quantiles = probability_quantiles(found.edges, found.counts, QUANTILES)
    cutoffs = {name: float(own[MEDIAN]) for name, own in zip(names, quantiles, strict=True)}
    edges = risk_edges(quantiles)
    measured = measure_follow_up(federation, ["train"], names, view, cutoffs, edges)
    return Decision(
        training=EvaluationFindings(cutoffs, (), {}, (), {}, follow_up=measured),
        models={name: fitted[name].final for name in names},
        cutoffs=cutoffs,
        edges=edges,
        stacker=None,
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
    models = len(unstacked(study))
    asked = (sum_disclosure(study, risk_cells(models), models),)
    measured = follow_up_asks(study, models, "train")
    return Phase(STACKER, "Groups of low and high risk", 2, (*asked, *measured))
