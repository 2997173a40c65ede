"""Findings on the sets of patients on which models are judged, for results and report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace

import numpy as np

from common.evaluation.calibration_fit import CalibrationFit
from common.evaluation.canaries import CanaryAudit
from common.evaluation.follow_up_findings import FollowUpFindings
from common.evaluation.local import Evaluation
from common.evaluation.membership import MembershipAudit
from common.evaluation.release_audit import ReleaseAudit
from common.evaluation.roc import RocCurve, roc_from_histogram
from common.messages.exchanges import Refusal
from common.messages.plain import plain
from common.statistics.placements import DeLongResult
from server.phases.strata import StratumFindings

EXACT = "DeLong, exact (one site)"
Parts = dict[str, tuple[int, ...]]


@plain
class SetFindings:
    """Measures of all models on one set.

    Parameters
    ----------
    subset : "train" (out-of-fold probabilities) or a test set.
    patients, positives : over all its sites.
    evaluation : None where the sites withhold it.
    curves : ROC curve by model, of those with an area.
    methods : by model, the way to its area.
    within : by model, area of pairs of the same hospital, and its variance; empty where unknown.
    """

    subset: str
    patients: int
    positives: int
    evaluation: Evaluation | None
    curves: dict[str, RocCurve]
    methods: tuple[str, ...]
    within: dict[str, tuple[float, float]] = field(default_factory=dict)


@plain
class EvaluationFindings:
    """Measures of k models.

    Parameters
    ----------
    cutoffs : by model, in the order of the evaluations' columns.
    sets : one a set.
    site_areas : by set and site, areas of the site's own patients.
    strata : areas within levels.
    withheld : by site, results it keeps to itself.
    membership : by site, of the attack on its training patients.
    releases : by site, what the sets of patients asked about tell of single ones.
    canaries : by site, what decoders find of patients planted in its totals; None = not measured.
    site_fits : by set and site, calibration among the site's own patients.
    follow_up : one a set, in place of `sets` where the endpoint has a time.
    apparent : by model, its area on the patients that it was fitted on.
    """

    cutoffs: dict[str, float]
    sets: tuple[SetFindings, ...]
    site_areas: dict[str, dict[str, DeLongResult]]
    strata: tuple[StratumFindings, ...]
    withheld: dict[str, tuple[Refusal, ...]]
    membership: dict[str, MembershipAudit] = field(default_factory=dict)
    releases: dict[str, ReleaseAudit] = field(default_factory=dict)
    canaries: dict[str, CanaryAudit | None] = field(default_factory=dict)
    site_fits: dict[str, dict[str, CalibrationFit]] = field(default_factory=dict)
    follow_up: tuple[FollowUpFindings, ...] = ()
    apparent: dict[str, float] = field(default_factory=dict)


def areas_of_parts(
    names: Sequence[str], parts: Iterable[DeLongResult]
) -> dict[str, tuple[float, float]]:
    """Return the mean area of hospitals' own patients, by their pairs, and its variance, by model.

    It is made of what each hospital gives anyway: a sum of its own would let others take theirs off
    and find what a hospital of few patients withholds.
    """
    known = [one for one in parts if np.isfinite(one.auc).all()]
    pairs = np.array([float(one.positives * (one.n - one.positives)) for one in known])
    if pairs.sum() < 1:
        return {}
    share = pairs / pairs.sum()
    auc = share @ np.array([one.auc for one in known])
    variance = np.square(share) @ np.array([np.diag(one.covariance) for one in known])
    return dict(zip(names, zip(auc.tolist(), variance.tolist(), strict=True), strict=True))


def training_findings(
    found: Sequence[SetFindings], cutoffs: Mapping[str, float]
) -> EvaluationFindings:
    """Return the out-of-fold performance alone."""
    return EvaluationFindings(dict(cutoffs), tuple(found), {}, (), {})


def one_site_method(minimum: int) -> str:
    """Describe the way to the areas of a site's own patients."""
    return EXACT if minimum <= 1 else f"DeLong, patients in groups of {minimum} or more (one site)"


def measured_at_one_site(
    subset: str, names: Sequence[str], evaluation: Evaluation, minimum: int
) -> SetFindings:
    """Return the measures of a set that one site holds, made there from cells of `minimum`."""
    found = with_curves(subset, names, evaluation, (one_site_method(minimum),) * len(names))
    variances = np.diag(evaluation.delong.covariance).tolist()
    areas = zip(evaluation.delong.auc.tolist(), variances, strict=True)
    return replace(found, within=dict(zip(names, areas, strict=True)))


def withheld_set(subset: str, patients: int, positives: int) -> SetFindings:
    """Return a set of which only the number of patients is known."""
    return SetFindings(subset, patients, positives, None, {}, ())


def with_curves(
    subset: str, names: Sequence[str], evaluation: Evaluation, methods: tuple[str, ...]
) -> SetFindings:
    """Draw the ROC curves through the histogram."""
    delong, histogram = evaluation.delong, evaluation.histogram
    curves = {
        name: roc_from_histogram(histogram.edges[i], histogram.counts[i])
        for i, name in enumerate(names)
        if np.isfinite(delong.auc[i])
    }
    return SetFindings(subset, delong.n, delong.positives, evaluation, curves, methods)
