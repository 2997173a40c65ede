"""Test sets spread over sites: the bundle goes out, the scores stay, sums come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from common.bundle import Bundle
from common.evaluation.calibration import calibration_table
from common.evaluation.decision_curve import decision_curve
from common.evaluation.delong import auc_interval, exact, paired_test
from common.evaluation.roc import roc_from_histogram, roc_points
from common.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.placements import ClassHistogram, DeLongResult, Placements
from common.statistics.scores import BinnedCalibration, BrierSums, Confusion, DecisionCounts
from common.transforms import Select
from common.views import table
from server.federation import Federation

# cells aligned with the 99 thresholds of the decision curve
EDGES: Float = np.concatenate([[-np.inf], np.arange(1, 100) / 100.0, [np.inf]])


@dataclass
class Findings:
    """Rows for results.json, without the run's name."""

    performance: list[dict[str, Any]] = field(default_factory=list)
    delong: list[dict[str, Any]] = field(default_factory=list)
    roc: list[dict[str, Any]] = field(default_factory=list)
    calibration: list[dict[str, Any]] = field(default_factory=list)
    decision_curve: list[dict[str, Any]] = field(default_factory=list)


def evaluate_test_sets(federation: Federation, bundle: Bundle) -> Findings:
    """Hand out the bundle and evaluate every test set; two rounds for all sets together."""
    federation.evaluate(bundle.to_files())
    study = federation.study
    names = tuple(bundle.models)
    view = table("scores").then(Select(columns=names))
    cutoffs = np.array([bundle.cutoffs[name] for name in names])
    sets = [test.name for test in study.test_sets]
    histograms = federation.sum_many(
        [SumItem(ClassHistogram(edges=EDGES), view, subset) for subset in sets]
    )
    items = [
        SumItem(statistic, view, subset)
        for subset, histogram in zip(sets, histograms, strict=True)
        for statistic in (
            Placements(edges=EDGES, counts=histogram.counts),
            Confusion(cutoffs=cutoffs),
            BinnedCalibration(),
            BrierSums(),
            DecisionCounts(),
        )
    ]
    sums = federation.sum_many(items)
    findings = Findings()
    for position, subset in enumerate(sets):
        delong, confusion, bins, brier, counts = sums[5 * position : 5 * position + 5]
        several = len(federation.sites_with(subset)) > 1
        method = (
            "DeLong; pairs within a site exact, between sites by summed class-wise histograms"
            if several
            else "DeLong, exact (one site)"
        )
        _discrimination(findings, subset, names, delong, confusion, cutoffs, method)
        for column, model in enumerate(names):
            key = {"set": subset, "model": model}
            curve = roc_from_histogram(EDGES, histograms[position].counts[column])
            findings.roc.append({**key, "fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()})
            _calibration(findings, key, bins, float(brier[column]), column)
            _decision(findings, key, counts, column)
    return findings


def evaluate_training(
    names: Sequence[str], scores: Float, labels: Float, cutoffs: Mapping[str, float]
) -> Findings:
    """Out-of-fold performance on the pooled rows the server holds, exactly.

    Parameters
    ----------
    scores : (n, k) out-of-fold probabilities. labels : (n,).
    """
    from common.statistics.base import Rows

    rows = Rows(
        values=scores,
        columns=tuple(names),
        label=labels,
        fold=np.zeros(len(labels), dtype=np.int64),
    )
    cuts = np.array([cutoffs[name] for name in names])
    findings = Findings()
    confusion = Confusion(cutoffs=cuts)
    counted = confusion.finalise(confusion.from_rows(rows))
    method = "DeLong, exact (pooled out-of-fold rows)"
    _discrimination(findings, "train", names, exact(scores, labels), counted, cuts, method)
    bins = BinnedCalibration().finalise(BinnedCalibration().from_rows(rows))
    brier = BrierSums().finalise(BrierSums().from_rows(rows))
    counts = DecisionCounts().finalise(DecisionCounts().from_rows(rows))
    for column, model in enumerate(names):
        key = {"set": "train", "model": model}
        curve = roc_points(scores[:, column], labels)
        findings.roc.append({**key, "fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()})
        _calibration(findings, key, bins, float(brier[column]), column)
        _decision(findings, key, counts, column)
    return findings


def _discrimination(
    findings: Findings,
    subset: str,
    names: Sequence[str],
    delong: DeLongResult,
    confusion: Any,
    cutoffs: Float,
    method: str,
) -> None:
    for i, model in enumerate(names):
        low, high = auc_interval(float(delong.auc[i]), float(delong.covariance[i, i]))
        tp, tn = round(float(confusion.tp[i])), round(float(confusion.tn[i]))
        findings.performance.append(
            {
                "model": model,
                "set": subset,
                "n": delong.n,
                "positives": delong.positives,
                "auc": float(delong.auc[i]),
                "ci_low": low,
                "ci_high": high,
                "cutoff": float(cutoffs[i]),
                "correct": tp + tn,
                "tp": tp,
                "tn": tn,
                "method": method,
            }
        )
    for a, b in combinations(range(len(names)), 2):
        z, p = paired_test(delong, a, b)
        pair = {"model_a": names[a], "model_b": names[b]}
        findings.delong.append({"set": subset, **pair, "z": z, "p": p})


def _calibration(
    findings: Findings, key: dict[str, str], bins: Any, brier: float, column: int
) -> None:
    calibration = calibration_table(bins, column)
    rows = [
        {"n": int(n), "mean_predicted": float(mean), "observed": float(rate)}
        for n, mean, rate in zip(
            calibration.count, calibration.probability, calibration.observed, strict=True
        )
    ]
    findings.calibration.append({**key, "bins": rows, "brier": brier})


def _decision(findings: Findings, key: dict[str, str], counts: Any, column: int) -> None:
    curve = decision_curve(counts, column)
    findings.decision_curve.append(
        {
            **key,
            "thresholds": curve.threshold.tolist(),
            "net_benefit": curve.model.tolist(),
            "treat_all": curve.treat_all.tolist(),
        }
    )
