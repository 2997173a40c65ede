"""Test sets and Table 1, against scipy, scikit-learn and DeLong by all pairs on the pooled rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import brier_score_loss

from client.workspace import Workspace
from common.statistics.base import Float
from common.statistics.calibration import CalibrationSums
from common.study.model import Study
from sim.equality import references
from sim.equality.findings import Findings, Step, at_most

ROUNDED = 5.1e-4  # to three decimals
# at one site, patients are joined in groups before anything leaves
JOINED_AREA, JOINED_PART, JOINED_ERROR = 0.01, 0.02, 0.05
CALIBRATION = 2e-3
RING_BYTES = 8
JOINED_BRIER, JOINED_CORRECT = 0.02, 2
# many patients with nearly the same risk lie in one cell, and move over a threshold together
JOINED_BENEFIT = 0.07

Tables = Mapping[str, list[dict[str, Any]]]  # of measures, as results.json has them


def site_scores(
    workspace: Workspace, study: Study, subset: str
) -> tuple[tuple[str, ...], Float, Float]:
    """Return models, scores (n, k) and labels (n,) of a site's part of a test set."""
    table = workspace.run_tables.read("scores", subset)
    labels = {p.patient_id: p.label for p in workspace.cohort.subset(study, subset)}
    label = np.array([labels[patient] for patient in table.patients], dtype=np.float64)
    return table.columns, table.values, label


def pooled_scores(
    sites: Mapping[str, Workspace], study: Study, subset: str
) -> tuple[tuple[str, ...], Float, Float]:
    """Return models, scores and labels over all sites of the set."""
    members = [name for name in study.site_names if name in study.test_set(subset).sites]
    parts = [site_scores(sites[name], study, subset) for name in members]
    return (
        parts[0][0],
        np.vstack([scores for _, scores, _ in parts]),
        np.concatenate([label for _, _, label in parts]),
    )


@dataclass(frozen=True)
class _TestSet:
    """Scores (n, k) and labels (n,) of a set over all its sites, and what the study found."""

    found: Tables
    subset: str
    several: bool
    models: tuple[str, ...]
    scores: Float
    label: Float


def compare_test_sets(
    findings: Findings,
    found: Tables,
    sites: Mapping[str, Workspace],
    study: Study,
    traffic: tuple[int, float],
) -> None:
    """Compare areas, standard errors, paired tests and threshold figures of every test set."""
    share: tuple[int, float] | None = traffic
    for test in study.test_sets:
        several = len(test.sites) > 1
        one = _TestSet(found, test.name, several, *pooled_scores(sites, study, test.name))
        where = f"{len(test.sites)} sites" if several else "one site"
        step = findings.step(f"DeLong, {one.label.size}, {where}", "numpy, all pairs", share)
        share = None
        if several:
            _parts(step, found, sites, study, test.name)
        _areas(step, one)
        step = findings.step(f"thresholds, {test.name}", "sklearn, numpy", None)
        _thresholds(step, one)
        k = len(one.models)
        sums = CalibrationSums(*(np.zeros(k) for _ in range(3))).shapes(k)
        size = sum(math.prod(shape) for shape in sums.values()) * RING_BYTES / 1000.0
        beside = (0, size) if several else None
        step = findings.step(f"calibration, {test.name}", "sklearn, scipy", beside)
        _calibration(step, one)


def _calibration(step: Step, one: _TestSet) -> None:
    """Compare slope, intercepts and ratio; its sums take no round of their own."""
    found, models, scores, label = one.found, one.models, one.scores, one.label
    apart = dict.fromkeys(("slope", "intercept", "in the large", "O:E, relative"), 0.0)
    for i, model in enumerate(models):
        row = _row(found["calibration_fits"], {"set": one.subset, "model": model})
        intercept, slope, large = references.calibration(scores[:, i], label)
        ratio = label.sum() / scores[:, i].sum()
        errors = {
            "slope": row["slope"] - slope,
            "intercept": row["intercept"] - intercept,
            "in the large": row["large"] - large,
            "O:E, relative": row["oe"] / ratio - 1.0,
        }
        known = {name: abs(error) for name, error in errors.items() if math.isfinite(error)}
        apart |= {name: max(apart[name], error) for name, error in known.items()}
    for name, error in apart.items():
        step.add(name, error, at_most(CALIBRATION) if one.several else None)


def _areas(step: Step, one: _TestSet) -> None:
    found, models, scores, label = one.found, one.models, one.scores, one.label
    exact = references.delong(scores, label)
    error = np.sqrt(np.diag(exact.covariance))
    rows = {row["model"]: row for row in found["performance"] if row["set"] == one.subset}
    withheld = [model for model in models if rows[model].get("auc") is None]
    if withheld:
        step.add("areas withheld by a rule", len(withheld))
        return
    auc = max(abs(rows[m]["auc"] - exact.auc[i]) for i, m in enumerate(models))
    own = [rows[m]["se"] for m in models]
    step.add("AUC", auc, at_most(0.002 if one.several else JOINED_AREA))
    step.add(
        "SE, relative",
        np.abs(np.array(own) / error - 1.0).max(),
        at_most(0.03 if one.several else JOINED_ERROR),
    )
    for row in (row for row in found["delong"] if row["set"] == one.subset):
        a, b = models.index(row["model_a"]), models.index(row["model_b"])
        cov = exact.covariance
        z = (exact.auc[a] - exact.auc[b]) / np.sqrt(cov[a, a] + cov[b, b] - 2.0 * cov[a, b])
        step.add(f"z of the paired test, {z:.2f}", abs(row["z"] - z))


def _parts(
    step: Step,
    found: Tables,
    sites: Mapping[str, Workspace],
    study: Study,
    subset: str,
) -> None:
    """Compare each site's own part of the set, evaluated there."""
    largest, parts = 0.0, [row for row in found["site_performance"] if row["set"] == subset]
    for row in parts:
        models, scores, label = site_scores(sites[row["site"]], study, subset)
        exact = references.delong(scores, label)
        i = models.index(row["model"])
        largest = max(largest, abs(row["auc"] - float(exact.auc[i])))
    step.add(f"AUC of {len(parts)} single-site parts", largest, at_most(JOINED_PART))


def _thresholds(step: Step, one: _TestSet) -> None:
    found, models, scores, label = one.found, one.models, one.scores, one.label
    brier, benefit, confusion = 0.0, 0.0, 0.0
    for i, model in enumerate(models):
        key = {"set": one.subset, "model": model}
        own = _row(found["calibration"], key)
        brier = max(brier, abs(own["brier"] - brier_score_loss(label, scores[:, i])))
        curve = _row(found["decision_curve"], key)
        for threshold, value in zip(curve["thresholds"], curve["net_benefit"], strict=True):
            if threshold > 0.5:
                continue  # one false positive there weighs as much as many patients
            called = scores[:, i] >= threshold
            odds = threshold / (1.0 - threshold)
            exact = float((called & (label > 0.5)).mean() - odds * (called & (label < 0.5)).mean())
            benefit = max(benefit, abs(value - exact))
        row = _row(found["performance"], key)
        called = scores[:, i] >= row["cutoff"]
        confusion = max(confusion, abs(row["correct"] - float((called == (label > 0.5)).sum())))
    step.add("Brier score", brier, at_most(ROUNDED if one.several else JOINED_BRIER))
    step.add("net benefit", benefit, at_most(JOINED_BENEFIT))
    step.add("patients called correctly", confusion, at_most(0 if one.several else JOINED_CORRECT))


def _row(rows: list[dict[str, Any]], key: Mapping[str, str]) -> dict[str, Any]:
    return next(row for row in rows if all(row[name] == value for name, value in key.items()))
