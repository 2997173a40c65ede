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

    Empty bins have NaN means.
    """

    edges: Float
    count: Float
    probability: Float
    observed: Float


def calibration_table(result: BinnedCalibrationResult, column: int) -> CalibrationTable:
    """Return the table of the model in `column`.

    Examples
    --------
    >>> from common.statistics.base import Rows
    >>> from common.statistics.scores import BinnedCalibration
    >>> label = np.array([0.0, 1.0])
    >>> rows = Rows(np.array([[0.2], [0.6]]), ("model",), label, np.zeros(2, int))
    >>> sums = BinnedCalibration()
    >>> table = calibration_table(sums.finalise(sums.from_rows(rows)), 0)
    >>> table.count[[2, 6]].tolist(), table.observed[[2, 6]].tolist()
    ([1.0, 1.0], [0.0, 1.0])
    """
    count = result.count[column]
    probability, positives = result.probability[column], result.positives[column]
    filled = count > 0
    empty = np.full(BINS, np.nan)
    return CalibrationTable(
        edges=np.arange(BINS + 1) / BINS,
        count=count,
        probability=np.divide(probability, count, out=empty.copy(), where=filled),
        observed=np.divide(positives, count, out=empty.copy(), where=filled),
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
