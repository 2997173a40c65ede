"""Membership inference on final models: an attack that picks out training patients.

The attacker has a patient's record and the released models, and takes a patient whose loss is small
for a training patient (Yeom et al. 2018, CSF, 268-282). The loss falls as the probability given to
the patient's own outcome grows, so that ranks either. The true positive rate at a small false
positive rate says how surely single patients are found (Carlini et al. 2022, IEEE S&P, 1897-1914).
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import scipy

from common.evaluation.delong import auc_interval, exact
from common.evaluation.roc import roc_points
from common.messages.limits import Patients, shares
from common.messages.plain import plain
from common.statistics.base import Float

FALSE_POSITIVES = 0.05
DECIMALS = 2


@plain
class MembershipAudit:
    """Success of the attack on k models, each (k, 3): estimate, low and high end of its interval.

    Parameters
    ----------
    members, others : training patients, and test patients of the same hospital.
    auc : chance that a training patient's loss is below a test patient's; 0.5 = no leak. DeLong's
        interval.
    tpr : share of training patients found where at most 5 % of test patients are taken for one.
        Clopper-Pearson's interval, at this threshold.
    """

    members: Patients
    others: Patients
    auc: Annotated[Float, shares("attacked", 3, decimals=DECIMALS)]
    tpr: Annotated[Float, shares("attacked", 3, decimals=DECIMALS)]


def membership_audit(
    members: Float, member_labels: Float, others: Float, other_labels: Float
) -> MembershipAudit:
    """Attack k models with the loss of each patient; all numbers with two decimals.

    Parameters
    ----------
    members, others : (n, k) and (m, k), probabilities of training and test patients; n and m at
        least 2.
    member_labels, other_labels : (n,) and (m,), 1.0 for the positive class.

    Raises
    ------
    ValueError : probabilities that are not finite.

    Examples
    --------
    >>> sure, unsure = np.array([[0.9], [0.8], [0.1]]), np.array([[0.6], [0.85], [0.5]])
    >>> found = membership_audit(sure, np.array([1.0, 1, 0]), unsure, np.array([1.0, 1, 0]))
    >>> found.auc[:, 0], found.tpr[:, 0]
    (array([0.89]), array([0.67]))
    """
    scores = np.vstack([_own(members, member_labels), _own(others, other_labels)])
    n, m = len(members), len(others)
    member = np.repeat([1.0, 0.0], [n, m])
    delong = exact(scores, member)
    auc, tpr = [], []
    for own, area, variance in zip(scores.T, delong.auc, np.diag(delong.covariance), strict=True):
        interval = auc_interval(float(area), float(variance), m, n)
        auc.append((float(area), interval.low, interval.high))
        tpr.append(_tpr(own, member, n))
    return MembershipAudit(n, m, np.round(auc, DECIMALS), np.round(tpr, DECIMALS))


def _own(probabilities: Float, labels: Float) -> Float:
    """Return the probability given to each patient's own outcome."""
    return np.where(labels[:, None] > 0.5, probabilities, 1.0 - probabilities)


def _tpr(scores: Float, member: Float, n: int) -> tuple[float, float, float]:
    curve = roc_points(scores, member)
    found = round(float(curve.tpr[curve.fpr <= FALSE_POSITIVES].max()) * n)
    interval = scipy.stats.binomtest(found, n).proportion_ci(method="exact")
    return found / n, float(interval.low), float(interval.high)
