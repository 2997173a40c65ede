"""Sample sizes for developing and evaluating a model of a yes/no outcome.

References
----------
Riley RD et al. Minimum sample size for developing a multivariable prediction model: part II. Stat
Med 2019;38:1276-1296; Calculating the sample size required for developing a clinical prediction
model. BMJ 2020;368:m441. Hanley JA, McNeil BJ. The meaning and use of the area under a ROC curve.
Radiology 1982;143:29-36.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959963984540054
SHRINKAGE, OPTIMISM, MARGIN = 0.9, 0.05, 0.05
SHARE_EXPLAINED = 0.15
"""Riley's default where no earlier model says more: 15 % of the largest possible R2."""


@dataclass(frozen=True)
class Needed:
    """Patients that each criterion of Riley asks for, and the R2 (Cox-Snell) they were made with.

    Parameters
    ----------
    shrinkage : a uniform shrinkage of at least 0.9.
    optimism : an optimism of at most 0.05 in Nagelkerke's R2.
    risk : the overall risk within 0.05.
    """

    shrinkage: int
    optimism: int
    risk: int
    r2: float

    @property
    def patients(self) -> int:
        """The largest of the three."""
        return max(self.shrinkage, self.optimism, self.risk)


def largest_r2(prevalence: float) -> float:
    """Return the largest Cox-Snell R2 that any model of a yes/no outcome can have.

    >>> round(largest_r2(0.174), 3)
    0.603
    """
    p = _share(prevalence)
    entropy = p * math.log(p) + (1 - p) * math.log1p(-p)
    return 1.0 - math.exp(2.0 * entropy)


def patients_to_develop(parameters: int, prevalence: float, r2: float | None = None) -> Needed:
    """Return the patients that a model with so many candidate parameters needs.

    Parameters
    ----------
    parameters : candidate predictor parameters, before any selection; at least one.
    prevalence : share of patients with the outcome, between 0 and 1.
    r2 : expected Cox-Snell R2; by default 15 % of the largest.

    Raises
    ------
    ValueError : no parameter, a prevalence of 0 or 1, or an r2 that no model can have.

    Examples
    --------
    The example of R's pmsampsize: 24 parameters, prevalence 0.174, R2 0.288 take 662 patients.

    >>> needed = patients_to_develop(24, 0.174, 0.288)
    >>> needed.shrinkage, needed.optimism, needed.risk, needed.patients
    (623, 662, 221, 662)
    """
    if parameters < 1:
        raise ValueError("a model has at least one parameter")
    p, most = _share(prevalence), largest_r2(prevalence)
    found = SHARE_EXPLAINED * most if r2 is None else r2
    if not 0 < found < most:
        raise ValueError(f"R2 lies between 0 and {most:.3f} at this prevalence")
    kept = found / (found + OPTIMISM * most)
    return Needed(
        shrinkage=_patients(parameters, found, SHRINKAGE),
        optimism=_patients(parameters, found, kept),
        risk=math.ceil((Z / MARGIN) ** 2 * p * (1 - p)),
        r2=found,
    )


def auc_standard_error(auc: float, positives: int, negatives: int) -> float:
    """Return the standard error of an AUC to expect, after Hanley and McNeil.

    Raises
    ------
    ValueError : no patients of one class, or an AUC outside 0 and 1.

    Examples
    --------
    Hanley and McNeil's own example, 51 and 58 patients; they give 0.032 from the ratings.

    >>> round(auc_standard_error(0.893, 51, 58), 4)
    0.0325
    """
    if min(positives, negatives) < 1 or not 0 <= auc <= 1:
        raise ValueError("an AUC between 0 and 1, with patients of either class")
    one = auc / (2.0 - auc)
    two = 2.0 * auc**2 / (1.0 + auc)
    variance = (
        auc * (1.0 - auc) + (positives - 1) * (one - auc**2) + (negatives - 1) * (two - auc**2)
    ) / (positives * negatives)
    return math.sqrt(max(variance, 0.0))


def expected_width(auc: float, positives: int, negatives: int) -> float:
    """Return the width of the 95 % interval to expect, on the logit and back again.

    >>> 0.12 < expected_width(0.893, 51, 58) < 0.14
    True
    """
    if not 0 < auc < 1:
        raise ValueError("an AUC between 0 and 1")
    error = auc_standard_error(auc, positives, negatives) / (auc * (1.0 - auc))
    middle = math.log(auc / (1.0 - auc))
    low, high = (1.0 / (1.0 + math.exp(-(middle + sign * Z * error))) for sign in (-1, 1))
    return high - low


def _share(prevalence: float) -> float:
    if not 0 < prevalence < 1:
        raise ValueError("a prevalence between 0 and 1")
    return prevalence


def _patients(parameters: int, r2: float, shrinkage: float) -> int:
    return math.ceil(parameters / ((shrinkage - 1.0) * math.log1p(-r2 / shrinkage)))
