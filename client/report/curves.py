"""ROC curves of the models on the site's own test patients, with bands of their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from client.report.source import SiteRun
from common.evaluation.delong import auc_interval, exact
from common.evaluation.roc import RocCurve, roc_points
from common.statistics.base import Float

RESAMPLES, SEED = 2000, 20240101


@dataclass(frozen=True)
class SiteCurve:
    """One model on one test set.

    Parameters
    ----------
    low, high : auc's 95 % interval, see `auc_interval`.
    grid, band_low, band_high : false-positive rates, and the band of the sensitivity there.
    """

    subset: str
    model: str
    n: int
    positives: int
    curve: RocCurve
    auc: float
    low: float
    high: float
    grid: Float
    band_low: Float
    band_high: Float


def curves_of(run: SiteRun) -> tuple[list[SiteCurve], list[str]]:
    """Curves of every test set that has patients of both classes; and of which it has not."""
    found: list[SiteCurve] = []
    without: list[str] = []
    for subset in run.test_sets:
        scores = run.table("scores", subset)
        label = {p.patient_id: float(p.label) for p in run.patients(subset)}
        if scores is None:
            without.append(f"{subset}: not evaluated yet")
            continue
        labels = np.array([label[patient] for patient in scores.patients])
        if not 0 < labels.sum() < labels.size:
            without.append(f"{subset}: all patients here are of one class")
            continue
        for place, model in enumerate(scores.columns):
            found.append(_curve(subset, model, scores.values[:, place], labels))
    return found, without


def _curve(subset: str, model: str, scores: Float, labels: Float) -> SiteCurve:
    area = exact(scores[:, None], labels)
    auc = float(area.auc[0])
    positives = int(labels.sum())
    variance = float(area.covariance[0, 0])
    interval = auc_interval(auc, variance, labels.size - positives, positives)
    grid = np.linspace(0.0, 1.0, 101)
    band_low, band_high = band(scores, labels, grid)
    return SiteCurve(
        subset=subset,
        model=model,
        n=labels.size,
        positives=positives,
        curve=roc_points(scores, labels),
        auc=auc,
        low=interval.low,
        high=interval.high,
        grid=grid,
        band_low=band_low,
        band_high=band_high,
    )


def band(scores: Float, labels: Float, grid: Float) -> tuple[Float, Float]:
    """Pointwise 95 % band of the sensitivity at false-positive rates, by bootstrap.

    Patients are drawn anew within each class, 2000 times, with a fixed seed.
    """
    random = np.random.default_rng(SEED)
    positive, negative = scores[labels > 0.5], scores[labels <= 0.5]
    drawn = np.empty((RESAMPLES, grid.size))
    for row in range(RESAMPLES):
        ups = np.sort(random.choice(positive, positive.size))
        downs = np.sort(random.choice(negative, negative.size))
        # cut-off at which so many negatives lie at or above it
        allowed = np.floor(grid * downs.size + 1e-9).astype(np.int64)
        cutoff = np.append(downs[::-1], -np.inf)[allowed]
        drawn[row] = 1.0 - np.searchsorted(ups, cutoff, side="right") / ups.size
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return low, high
