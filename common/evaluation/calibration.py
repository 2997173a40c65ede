"""Calibration tables from binned sums."""

from __future__ import annotations

import numpy as np

from common.evaluation.suppression import suppress
from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.scores import BINS, BinnedCalibrationResult


@plain
class CalibrationTable:
    """Calibration of one model: bin edges (11,), and rows, mean probability and rate of 10 bins.

    Empty bins have NaN means. `expected_error` is the mean over rows of |rate - probability| of
    their bin, `in_the_large` the mean probability minus the overall rate.
    """

    edges: Float
    count: Float
    probability: Float
    observed: Float
    expected_error: float
    in_the_large: float


def calibration_table(result: BinnedCalibrationResult, column: int) -> CalibrationTable:
    """Return the table of the model in `column`; measures are NaN without rows.

    Examples
    --------
    >>> from common.statistics.base import Rows
    >>> from common.statistics.scores import BinnedCalibration
    >>> label = np.array([0.0, 1.0])
    >>> rows = Rows(np.array([[0.2], [0.6]]), ("model",), label, np.zeros(2, int))
    >>> sums = BinnedCalibration()
    >>> table = calibration_table(sums.finalise(sums.from_rows(rows)), 0)
    >>> round(table.expected_error, 3), round(table.in_the_large, 3)
    (0.3, -0.1)
    """
    count = result.count[column]
    probability, positives = result.probability[column], result.positives[column]
    filled = count > 0
    total = float(count.sum())
    gap = np.abs(positives - probability).sum()
    offset = probability.sum() - positives.sum()
    empty = np.full(BINS, np.nan)
    return CalibrationTable(
        edges=np.arange(BINS + 1) / BINS,
        count=count,
        probability=np.divide(probability, count, out=empty.copy(), where=filled),
        observed=np.divide(positives, count, out=empty.copy(), where=filled),
        expected_error=float(gap) / total if total else float("nan"),
        in_the_large=float(offset) / total if total else float("nan"),
    )


def without_small_bins(result: BinnedCalibrationResult, minimum: int) -> BinnedCalibrationResult:
    """Replace bins of few rows by NaN, and a second bin where these follow from the total.

    A bin of one row shows that row's probability and outcome.
    """
    hidden = np.array([suppress(np.append(own, 0.0), minimum)[:-1] for own in result.count])
    hidden = hidden.reshape(result.count.shape)
    return BinnedCalibrationResult(
        count=np.where(hidden, np.nan, result.count),
        probability=np.where(hidden, np.nan, result.probability),
        positives=np.where(hidden, np.nan, result.positives),
    )
