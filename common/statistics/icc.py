"""Intraclass correlation of two readings, from analysis-of-variance sums."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import matches


@plain
class IccResult:
    """Per column: patients read twice, ICC(2,1) agreement, ICC(3,1) consistency.

    Both are 0 where the readings do not vary (a constant says nothing about a reader) and NaN where
    fewer than two patients were read twice.
    """

    n: Float
    agreement: Float
    consistency: Float


@plain
class PairedMoments:
    """Sums for the two-way analysis of variance of two readings per patient.

    With s = a + b - 2 mean and d = a - b of readings a and b, five sums suffice (Shrout and Fleiss
    1979, k = 2). Centring with the federated mean keeps the digits that uncentred sums lose.

    Parameters
    ----------
    mean : (p,), federated mean of the columns, on the scale of the rows.

    Examples
    --------
    >>> first, second = np.array([[1.0], [2.0], [4.0]]), np.array([[2.0], [3.0], [5.0]])
    >>> rows = Rows(first, ("energy",), np.zeros(3), np.zeros(3, int), second)
    >>> moments = PairedMoments(mean=np.array([2.5]))
    >>> moments.finalise(moments.from_rows(rows)).consistency
    array([1.])
    """

    mean: Float

    kind: ClassVar[str] = "paired"
    step: ClassVar[dict[str, float]] = {
        "count": 0.5,
        "sum": 2.0**-24,
        "difference": 2.0**-24,
        "sum_squares": 2.0**-24,
        "difference_squares": 2.0**-24,
    }
    tally: ClassVar[dict[str, str]] = {
        "count": "at most rows",
        "sum_squares": "not negative",
        "difference_squares": "not negative",
    }
    about: ClassVar[str] = (
        "For each feature, how far two contours of the same tumour agree: five sums."
    )
    attack: ClassVar[str] = (
        "Few patients are contoured twice, so the sums are over few; they hold no patient's"
        " values. Hospitals with fewer than the threshold refuse."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "count": ("columns",),
        "sum": ("columns",),
        "difference": ("columns",),
        "sum_squares": ("columns",),
        "difference_squares": ("columns",),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare five vectors of length p."""
        return dict.fromkeys(self.step, (p,))

    def from_rows(self, rows: Rows) -> Sums:
        """Return the sums over patients that have both readings of the column.

        Raises
        ------
        ValueError : the rows carry no second reading.
        """
        matches(self.mean, rows, "mean")
        if rows.paired is None:
            raise ValueError("the rows carry no second reading")
        both = np.isfinite(rows.values) & np.isfinite(rows.paired)
        centre = np.nan_to_num(self.mean)
        first = np.where(both, rows.values - centre, 0.0)
        second = np.where(both, rows.paired - centre, 0.0)
        total, difference = first + second, first - second
        return {
            "count": both.sum(axis=0).astype(np.float64),
            "sum": total.sum(axis=0),
            "difference": difference.sum(axis=0),
            "sum_squares": np.square(total).sum(axis=0),
            "difference_squares": np.square(difference).sum(axis=0),
        }

    def finalise(self, sums: Sums) -> IccResult:
        """Return both coefficients for every column."""
        n = sums["count"]
        safe = np.maximum(n, 2.0)
        between = _spread(sums["sum_squares"], sums["sum"], safe) / (safe - 1.0)
        error = _spread(sums["difference_squares"], sums["difference"], safe) / (safe - 1.0)
        readers = sums["difference"] ** 2 / (2.0 * safe)
        agreement = between + error + 2.0 * (readers - error) / safe
        # rounding of a constant column must not pass for variation between patients
        rounding = (safe * np.finfo(np.float64).eps * np.nan_to_num(self.mean)) ** 2
        flat = between + error + readers <= 4.0 * rounding
        return IccResult(
            n=n,
            agreement=_ratio(between - error, agreement, flat, n),
            consistency=_ratio(between - error, between + error, flat, n),
        )


def _spread(squares: Float, total: Float, n: Float) -> Float:
    return np.maximum(squares - total**2 / n, 0.0) / 2.0


def _ratio(top: Float, bottom: Float, flat: NDArray[np.bool_], n: Float) -> Float:
    ratio = np.divide(top, bottom, out=np.zeros_like(top), where=~flat & (bottom > 0))
    return np.where(n >= 2, ratio, np.nan)
