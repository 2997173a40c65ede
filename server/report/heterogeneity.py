"""AUC over hospitals: a random-effects summary, and what a new hospital may expect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import scipy

from common.evaluation.delong import binormal_variance, logit_estimate
from common.evaluation.random_effects import (
    FEWEST,
    FEWEST_PREDICTED,
    RandomEffects,
    random_effects,
)
from common.html.pages import Cell, Line
from server.report import words
from server.report.performance_records import LeaveOneOut, SitePerformance
from server.report.schema import Results

HETEROGENEITY_COLUMNS = (
    *("run", "set", "model", "hospitals", "auc", "ci_low", "ci_high"),
    *("tau_logit", "i2", "prediction_low", "prediction_high", "horizon"),
)


def summary_of(
    rows: Iterable[SitePerformance | LeaveOneOut],
) -> tuple[int, RandomEffects] | None:
    """Return the number of hospitals and the summary, on the logit; None for fewer than three.

    Parameters
    ----------
    rows : of one model and set, one a hospital.
    """
    known = [pair for row in rows if (pair := _on_logit(row)) is not None]
    if len(known) < FEWEST:
        return None
    values, variances = np.array(known).T
    return len(known), random_effects(values, variances)


def summary_lines(
    rows: Sequence[SitePerformance] | Sequence[LeaveOneOut], shown: Sequence[str]
) -> Iterator[Line]:
    """Yield two rows under the hospitals of a set: their mean, and a new hospital's range."""
    found = {model: summary_of(row for row in rows if row.model == model) for model in shown}
    if not any(found.values()):
        return
    means, expected = [], []
    for summary in found.values():
        if summary is None:
            means.append(Cell(words.MISSING))
            expected.append(Cell(words.MISSING))
            continue
        one = summary[1]
        means.append(Cell(words.auc(_area(one.mean)), _span(one.low, one.high), "mean"))
        spread = f"tau {one.tau:.2f}, I\N{SUPERSCRIPT TWO} {100 * one.i2:.0f} %"
        reach = words.MISSING
        if summary[0] >= FEWEST_PREDICTED:
            reach = _span(one.predicted_low, one.predicted_high)
        expected.append(Cell(reach, spread, "expected"))
    yield Line("Mean over hospitals", (Cell(""), *means), "mean", pinned=True)
    yield Line("Expected at a new hospital", (Cell(""), *expected), "expected", pinned=True)


def heterogeneity_rows(results: Results) -> Iterator[list[str | int | float | None]]:
    """Yield the values of `HETEROGENEITY_COLUMNS`, of every run, set and model."""
    ordered = sorted(results.site_performance, key=_about)
    for (run, name, model, horizon), rows in groupby(ordered, key=_about):
        if (summary := summary_of(rows)) is None:
            continue
        count, one = summary
        ends = [_area(end) for end in (one.mean, one.low, one.high)]
        reach: list[float | None] = [None, None]
        if count >= FEWEST_PREDICTED:
            reach = [_area(end) for end in (one.predicted_low, one.predicted_high)]
        yield [run, name, model, count, *ends, one.tau, one.i2, *reach, horizon or None]


def _about(row: SitePerformance) -> tuple[str, str, str, float]:
    return row.run, row.set, row.model, row.horizon or 0.0


def _on_logit(row: SitePerformance | LeaveOneOut) -> tuple[float, float] | None:
    """Return the logit of an AUC and its variance; None where the AUC is withheld."""
    if row.auc is None or row.ci_low is None or row.ci_high is None:
        return None
    counts = row.n - row.positives, row.positives
    # results of other studies may have no standard error
    variance = binormal_variance(row.auc, *counts) if row.se is None else row.se**2
    return logit_estimate(row.auc, variance, *counts)


def _area(logit: float) -> float:
    return float(scipy.special.expit(logit))


def _span(low: float, high: float) -> str:
    return words.interval(_area(low), _area(high))
