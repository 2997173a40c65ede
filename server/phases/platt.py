"""Platt scaling over sites: from out-of-fold decision values to probabilities."""

from __future__ import annotations

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.learning.platt import PlattFit, prior_offset
from common.statistics.gram import FoldGramResult
from common.study.model import Study
from common.transforms import Sigmoid
from common.transforms.views import View
from server.phases.protocol import Federation

PLATT_ROUNDS = 50
SLIGHT_SLOPE = -0.05
INVERTED = "out-of-fold decision values did not follow the label: probabilities stay near the mean"


def calibrate(federation: Federation, decision: View, gram: FoldGramResult) -> tuple[Sigmoid, bool]:
    """Fit Platt's scaling on the out-of-fold decision values; say whether its slope was wrong.

    Parameters
    ----------
    gram : any Gram matrix of the training rows: it knows how many rows of each class there are.
    """
    positives = round(float(gram.sum_y.sum()))
    return platt_scaling(federation, decision, positives, round(float(gram.n.sum())) - positives)


def platt_scaling(
    federation: Federation, decision: View, positives: int, negatives: int
) -> tuple[Sigmoid, bool]:
    """Fit Platt's scaling on out-of-fold decision values of so many rows of each class.

    On few patients out-of-fold values can run against the label by chance. Following that slope
    would turn the final model upside down, so a slight one of the right sign takes its place.
    """
    fit = PlattFit(positives=positives, negatives=negatives)
    for _ in range(PLATT_ROUNDS):
        if fit.converged:
            break
        fit.update(federation.sum(fit.request(), decision))
    if fit.a > SLIGHT_SLOPE:
        return Sigmoid(a=SLIGHT_SLOPE, b=prior_offset(positives, negatives)), True
    return Sigmoid(a=fit.a, b=fit.b), False


def calibration_asks(study: Study) -> Disclosure:
    """Declare what `calibrate` asks for."""
    return sum_disclosure(
        study, PlattFit(positives=1, negatives=1).request(), 1, rounds=PLATT_ROUNDS
    )
