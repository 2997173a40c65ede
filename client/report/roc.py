"""Draw ROC curves of a hospital's own test patients, each with its band."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from client.report.site_run import SiteRun
from common.evaluation.delong import auc_interval, exact
from common.evaluation.roc import RocCurve, roc_points
from common.html.drawing import BLACK, LIGHT, Drawing, draw, style_of
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
    """Return the curves of the test sets with both classes, and reasons for those without."""
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
            found.append(curve_of(subset, model, scores.values[:, place], labels))
    return found, without


def curve_of(subset: str, model: str, scores: Float, labels: Float) -> SiteCurve:
    """Return the curve of one model, of scores (n,) and labels (n,), with its band."""
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
    """Return the pointwise 95 % band of the sensitivity at false-positive rates, by bootstrap.

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


def roc_of(curve: SiteCurve, title: str) -> Drawing:
    """Draw one model's curve with its band."""
    paint = partial(_paint_roc, curve=curve)
    name = f"roc-{curve.subset}-{curve.model}"
    return draw("roc", name, title, paint, width=3.0, height=3.1)


def _paint_roc(axes: Axes, curve: SiteCurve) -> None:
    colour = style_of(curve.model)[0]
    axes.fill_between(curve.grid, curve.band_low, curve.band_high, color=colour, alpha=0.2, lw=0)
    axes.plot([0, 1], [0, 1], color=LIGHT, lw=1)
    axes.plot(curve.curve.fpr, curve.curve.tpr, color=colour, lw=1.8)
    area = f"AUC {curve.auc:.3f}\n({curve.low:.3f}\N{EN DASH}{curve.high:.3f})"
    axes.text(0.97, 0.05, area, ha="right", va="bottom", color=BLACK, fontsize=8.5)
    ticks, labels = [0, 0.5, 1], ["0", "50", "100"]
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.set(xlabel="False alarms, %", ylabel="Sensitivity, %")
