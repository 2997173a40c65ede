"""Test sets spread over sites: the bundle goes out, the scores stay, sums come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from common.bundle.bundle import Bundle, Files
from common.evaluation.calibration import calibration_table, without_small_bins
from common.evaluation.decision_curve import decision_curve
from common.evaluation.delong import auc_interval, paired_test
from common.evaluation.local import Evaluation, evaluate_locally
from common.evaluation.roc import RocCurve, roc_from_histogram, roc_points
from common.messages.exchanges import EvaluateReply, SumItem
from common.statistics.base import Float, Rows
from common.statistics.class_histogram import (
    ClassHistogram,
    merge_class,
    merge_classes,
    score_edges,
)
from common.statistics.placements import DeLongResult, Placements, delong_unknown
from common.statistics.scores import BinnedCalibration, BrierSums, Confusion, DecisionCounts
from common.transforms import Select
from common.transforms.views import View, table
from server.federation.federation import Federation
from server.phases.participants import shown_counts
from server.phases.strata import strata_findings
from server.phases.strata_cuts import strata_cuts

EXACT = "DeLong, exact (one site)"
OUT_OF_FOLD = "DeLong, exact (pooled out-of-fold rows)"


@dataclass
class Findings:
    """Rows for results.json, without the run's name."""

    performance: list[dict[str, Any]] = field(default_factory=list)
    site_performance: list[dict[str, Any]] = field(default_factory=list)
    delong: list[dict[str, Any]] = field(default_factory=list)
    roc: list[dict[str, Any]] = field(default_factory=list)
    calibration: list[dict[str, Any]] = field(default_factory=list)
    decision_curve: list[dict[str, Any]] = field(default_factory=list)
    strata: list[dict[str, Any]] = field(default_factory=list)
    strata_tests: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)

    def extend(self, other: Findings) -> None:
        """Add the rows of `other`."""
        for name, rows in vars(other).items():
            getattr(self, name).extend(rows)

    def ordered(self, sets: Sequence[str]) -> Findings:
        """The same rows, set by set."""
        place = {name: position for position, name in enumerate(sets)}
        found = {
            name: sorted(rows, key=lambda row: place.get(row.get("set", ""), 0))
            for name, rows in vars(self).items()
        }
        return Findings(**found)


def evaluate_test_sets(
    federation: Federation, bundle: Bundle, files: Files, edges: Float
) -> Findings:
    """Hand out the bundle and evaluate every test set.

    A set at one site is evaluated there, exactly; all others together take two rounds of sums.

    Parameters
    ----------
    files : of the bundle, signed.
    edges : (k, cells + 1), from `score_edges` of the training probabilities, in the bundle's order.
    """
    cuts = strata_cuts(federation)
    replies = federation.evaluate(files, edges, cuts)
    names = tuple(bundle.models)
    sets = [test.name for test in federation.study.test_sets]
    minimum = federation.study.privacy.min_cell
    spread = [name for name in sets if len(federation.sites_with(name)) > 1]
    findings = Findings()
    for subset in sets:
        if subset not in spread:
            (site,) = federation.sites_with(subset)
            _at_one_site(findings, subset, names, bundle.cutoffs, replies[site], minimum)
    summed = [name for name in spread if _may_be_summed(federation, name, replies)]
    for subset in spread:
        if subset not in summed:
            own = [replies[site].counts[subset] for site in federation.sites_with(subset)]
            counts = sum(n for n, _ in own), sum(positives for _, positives in own)
            _withheld(findings, subset, names, bundle.cutoffs, shown_counts(*counts, minimum))
    if summed:
        view = table("scores").then(Select(columns=names))
        findings.extend(evaluate_over_sites(federation, summed, names, view, bundle.cutoffs, edges))
    for subset in spread:
        for site in federation.sites_with(subset):
            part = replies[site].parts.get(subset)
            if part is not None:
                _site_rows(findings, {"set": subset, "site": site}, names, part)
    by_level = strata_findings(federation, names, edges, cuts, replies)
    findings.strata, findings.strata_tests = by_level.strata, by_level.strata_tests
    for site, reply in replies.items():
        notes = [{"site": site, **vars(note)} for note in reply.withheld]
        findings.refusals.extend(notes)
        for note in notes:
            federation.events.tell("withheld", **note)
    return findings.ordered(sets)


def evaluate_over_sites(
    federation: Federation,
    subsets: Sequence[str],
    names: Sequence[str],
    view: View,
    cutoffs: Mapping[str, float],
    edges: Float,
) -> Findings:
    """Every measure of k models on sets spread over sites; two rounds of sums for all together.

    Parameters
    ----------
    subsets : test sets, or "train" where the view gives out-of-fold probabilities.
    names : of the k models, in the order of the view's columns.
    view : ends in k columns of probabilities.
    cutoffs : by model.
    edges : (k, cells + 1), from `score_edges`.
    """
    cuts = np.array([cutoffs[name] for name in names])
    minimum = federation.study.privacy.min_cell
    first = federation.sum_many(
        [
            SumItem(statistic, view, subset)
            for subset in subsets
            for statistic in (
                ClassHistogram(edges=edges),
                Confusion(cutoffs=cuts),
                BinnedCalibration(),
                BrierSums(),
                DecisionCounts(),
            )
        ]
    )
    placements = [
        Placements(
            edges=edges,
            single=histogram.single,
            negatives=merge_class(histogram, 0, minimum),
            positives=merge_class(histogram, 1, minimum),
        )
        for histogram in first[::5]
    ]
    areas = _areas(federation, view, dict(zip(subsets, placements, strict=True)))
    findings = Findings()
    for i, subset in enumerate(subsets):
        histogram, confusion, calibration, brier, decision = first[5 * i : 5 * i + 5]
        if subset in areas:
            delong, methods = areas[subset], _methods(placements[i])
        else:
            delong = delong_unknown(decision.n, decision.positives, len(names))
            methods = [f"withheld: fewer than {minimum} patients of one class"] * len(names)
        evaluation = Evaluation(
            delong=delong,
            histogram=merge_classes(histogram, minimum),
            confusion=confusion,
            calibration=without_small_bins(calibration, minimum),
            brier=brier,
            decision=decision,
        )
        _add(findings, subset, names, evaluation, cutoffs, methods)
    return findings


def _areas(
    federation: Federation, view: View, placements: Mapping[str, Placements]
) -> dict[str, DeLongResult]:
    """Areas by set, without sets of too few patients of one class; one round."""
    minimum = federation.study.privacy.min_cell
    known = {
        subset: one
        for subset, one in placements.items()
        if min(cells.counts.sum(axis=1).min() for cells in (one.negatives, one.positives))
        > minimum - 0.5
    }
    found = federation.sum_many([SumItem(one, view, subset) for subset, one in known.items()])
    return dict(zip(known, found, strict=True))


def evaluate_training(
    names: Sequence[str],
    scores: Float,
    labels: Float,
    cutoffs: Mapping[str, float],
    min_cell: int = 0,
) -> Findings:
    """Out-of-fold performance on the pooled rows the server holds, exactly.

    Parameters
    ----------
    scores : (n, k) out-of-fold probabilities. labels : (n,).
    min_cell : fewest rows of a group of the calibration that is told of.
    """
    rows = Rows(
        values=scores,
        columns=tuple(names),
        label=labels,
        fold=np.zeros(len(labels), dtype=np.int64),
    )
    cuts = np.array([cutoffs[name] for name in names])
    evaluation = evaluate_locally(rows, cuts, score_edges(np.zeros((len(names), 0))), min_cell)
    findings = Findings()
    _measures(findings, "train", names, evaluation, cutoffs, [OUT_OF_FOLD] * len(names))
    for column, model in enumerate(names):
        _curve(findings, {"set": "train", "model": model}, roc_points(scores[:, column], labels))
    return findings


def _at_one_site(
    findings: Findings,
    subset: str,
    names: Sequence[str],
    cutoffs: Mapping[str, float],
    reply: EvaluateReply,
    minimum: int,
) -> None:
    """Rows of a set that its one site evaluated, or what may be said of it."""
    evaluation = reply.evaluations.get(subset)
    if evaluation is not None:
        _add(findings, subset, names, evaluation, cutoffs, [EXACT] * len(names))
        return
    counts = shown_counts(*reply.counts[subset], minimum)
    _withheld(findings, subset, names, cutoffs, counts)


def _may_be_summed(
    federation: Federation, subset: str, replies: Mapping[str, EvaluateReply]
) -> bool:
    """Unmasked, a site's part of a sum is that site's own: all of them must be large enough."""
    if federation.study.masked(subset):
        return True
    return all(subset in replies[site].parts for site in federation.sites_with(subset))


def _withheld(
    findings: Findings,
    subset: str,
    names: Sequence[str],
    cutoffs: Mapping[str, float],
    counts: Mapping[str, int | None],
) -> None:
    """Rows of a set of which no more may be told than its patients and positives, if that."""
    method = "withheld by the site: too few patients, or too few of one class"
    for model in names:
        known = {**counts, "cutoff": float(cutoffs[model])}
        findings.performance.append({"model": model, "set": subset, **known, "method": method})


def _methods(placements: Placements) -> list[str]:
    """How the area of each model came about."""
    classes = (placements.negatives, placements.positives)
    return [
        "DeLong; pairs within a site exact, between sites by summed class-wise histograms"
        f" ({negatives} and {positives} cells)"
        for negatives, positives in zip(
            *(np.count_nonzero(one.counts, axis=1).tolist() for one in classes), strict=True
        )
    ]


def _add(
    findings: Findings,
    subset: str,
    names: Sequence[str],
    evaluation: Evaluation,
    cutoffs: Mapping[str, float],
    methods: Sequence[str],
) -> None:
    """All rows of one set, with the curve through the histogram."""
    _measures(findings, subset, names, evaluation, cutoffs, methods)
    histogram = evaluation.histogram
    for column, model in enumerate(names):
        if np.isfinite(evaluation.delong.auc[column]):
            curve = roc_from_histogram(histogram.edges[column], histogram.counts[column])
            _curve(findings, {"set": subset, "model": model}, curve)


def _measures(
    findings: Findings,
    subset: str,
    names: Sequence[str],
    evaluation: Evaluation,
    cutoffs: Mapping[str, float],
    methods: Sequence[str],
) -> None:
    """All rows of one set but those of its ROC curves."""
    delong = evaluation.delong
    for column, model in enumerate(names):
        key = {"set": subset, "model": model}
        tp = round(float(evaluation.confusion.tp[column]))
        tn = round(float(evaluation.confusion.tn[column]))
        findings.performance.append(
            {
                **key,
                **_area(delong, column),
                "cutoff": float(cutoffs[model]),
                "correct": tp + tn,
                "tp": tp,
                "tn": tn,
                "method": methods[column],
            }
        )
        _calibration(findings, key, evaluation, column)
        if delong.n:
            _decision(findings, key, evaluation, column)
    for a, b in combinations(range(len(names)), 2):
        z, p = paired_test(delong, a, b)
        pair = {"model_a": names[a], "model_b": names[b]}
        findings.delong.append({"set": subset, **pair, "z": z, "p": p})


def _area(delong: DeLongResult, column: int) -> dict[str, Any]:
    auc = float(delong.auc[column])
    negatives = delong.n - delong.positives
    variance = float(delong.covariance[column, column])
    found = auc_interval(auc, variance, negatives, delong.positives)
    counts = {"n": delong.n, "positives": delong.positives}
    interval = {"ci_low": found.low, "ci_high": found.high, "ci_method": found.method}
    return {**counts, "auc": auc, **interval}


def _site_rows(
    findings: Findings, key: dict[str, str], names: Sequence[str], part: DeLongResult
) -> None:
    for column, model in enumerate(names):
        row = {**key, "model": model, **_area(part, column), "method": EXACT}
        findings.site_performance.append(row)


def _curve(findings: Findings, key: dict[str, str], curve: RocCurve) -> None:
    findings.roc.append({**key, "fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()})


def _calibration(
    findings: Findings, key: dict[str, str], evaluation: Evaluation, column: int
) -> None:
    calibration = calibration_table(evaluation.calibration, column)
    rows = [
        {"n": _count(n), "mean_predicted": float(mean), "observed": float(rate)}
        for n, mean, rate in zip(
            calibration.count, calibration.probability, calibration.observed, strict=True
        )
    ]
    brier = float(evaluation.brier[column])
    findings.calibration.append({**key, "bins": rows, "brier": brier})


def _count(n: float) -> int | None:
    """None for a group that is withheld."""
    return int(n) if np.isfinite(n) else None


def _decision(findings: Findings, key: dict[str, str], evaluation: Evaluation, column: int) -> None:
    curve = decision_curve(evaluation.decision, column)
    findings.decision_curve.append(
        {
            **key,
            "thresholds": curve.threshold.tolist(),
            "net_benefit": curve.model.tolist(),
            "treat_all": curve.treat_all.tolist(),
        }
    )
