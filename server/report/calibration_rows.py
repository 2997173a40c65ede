"""Rows of results.json on calibration: ratios, intercepts, slopes, and recalibration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from common.evaluation.calibration_curve import CalibrationCurve
from common.evaluation.calibration_fit import FEWEST_GROUPED, CalibrationFit
from common.evaluation.level_areas import LevelAreas
from common.evaluation.local import Evaluation
from common.evaluation.recalibration import WAYS
from common.utils.portable import Z_95

GROUPED = (
    f"intercept and slope withheld: fewer than {FEWEST_GROUPED} patients of one outcome, of whom"
    " this hospital gives figures in groups"
)
NO_SLOPE = "no slope: the risks separate the outcomes, or are all equal"

Row = dict[str, Any]


def set_fits(
    subset: str, models: Sequence[str], evaluation: Evaluation, joined: bool
) -> Iterator[Row]:
    """Yield the calibration of each model on a whole set.

    Parameters
    ----------
    joined : one hospital gave it, from groups of patients.
    """
    for i, model in enumerate(models):
        yield {"set": subset, "model": model, **fit_row(evaluation.fit, i, joined)}


def site_fits(
    found: Mapping[str, Mapping[str, CalibrationFit]], models: Sequence[str], joined: bool
) -> Iterator[Row]:
    """Yield the calibration of each model at each hospital of a set that several share."""
    for subset, fits in found.items():
        for site, fit in fits.items():
            for i, model in enumerate(models):
                yield {
                    "set": subset,
                    "site": site,
                    "model": model,
                    **fit_row(fit, i, joined),
                }


def level_fit(levels: LevelAreas, level: int, column: int, joined: bool) -> Row:
    """Return the calibration of a model in a level; nothing where the level is withheld."""
    fit = levels.fits[level]
    return fit_row(fit, column, joined) if fit.n else {}


def fit_row(fit: CalibrationFit, column: int, joined: bool) -> Row:
    """Return the figures of one model with their 95 % intervals.

    Wald's of intercepts and slope. That of the ratio of observed to expected numbers is on its
    logarithm, with variance (1 - o / n) / o (Debray et al. 2017, BMJ 356:i6460).
    """
    observed, expected = fit.positives, float(fit.expected[column])
    ratio, error = math.nan, math.nan
    if expected > 0.0 and observed:
        ratio, error = observed / expected, math.sqrt((1.0 - observed / fit.n) / observed)
    few = min(observed, fit.n - observed) < FEWEST_GROUPED
    note = ""
    if not math.isfinite(fit.slope[column]):
        note = GROUPED if joined and few else NO_SLOPE
    return {
        "n": fit.n,
        "positives": observed,
        "expected": expected,
        "oe": ratio,
        "oe_low": ratio * math.exp(-Z_95 * error),
        "oe_high": ratio * math.exp(Z_95 * error),
        **_estimate("large", fit.large, fit.large_error, column),
        **_estimate("intercept", fit.intercept, fit.intercept_error, column),
        **_estimate("slope", fit.slope, fit.slope_error, column),
        "note": note,
    }


def _estimate(name: str, values: Any, errors: Any, column: int) -> Row:
    value, half = float(values[column]), Z_95 * float(errors[column])
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def recalibration_rows(subset: str, models: Sequence[str], evaluation: Evaluation) -> Iterator[Row]:
    """Yield a row a model and way of recalibration, with the intercept and slope it applies."""
    fit, found = evaluation.fit, evaluation.smooth.recalibrated
    for i, model in enumerate(models):
        lines = ((0.0, 1.0), (fit.large[i], 1.0), (fit.intercept[i], fit.slope[i]))
        for way, (name, (intercept, slope)) in enumerate(zip(WAYS, lines, strict=True)):
            if not np.isfinite([intercept, slope]).all():
                continue
            yield {
                "set": subset,
                "model": model,
                "way": name,
                "intercept": float(intercept),
                "slope": float(slope),
                "brier": float(found.brier[i, way]),
                "net_benefit": float(found.net_benefit[i, way]),
            }


def curve_of(curve: CalibrationCurve, column: int) -> Row | None:
    """Return the flexible curve of a model; None where it has none."""
    if not np.isfinite(curve.observed[column]).all():
        return None
    return {name: own[column].tolist() for name, own in vars(curve).items()}
