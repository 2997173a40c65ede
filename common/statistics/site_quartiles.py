"""Quartiles of a set that one site holds alone, rounded before they leave."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import DIGITS, LIMIT, exact_column_sums, from_digits

SHARES: Float = np.array([0.25, 0.5, 0.75])
# a quarter of the patients lies on either side of the quartiles
QUARTERS = 4
UNKNOWN_DECIMALS = -1
# values are rounded by at most this share of the distance between the quartiles
LARGEST_STEP = 0.01


@plain
class SiteQuartilesResult:
    """First quartile, median and third quartile (p, 3); NaN for a column that is withheld."""

    quartiles: Float


@plain
class SiteQuartiles:
    """Median and quartiles of each column, published by the one site that holds the set.

    A histogram whose small cells are joined cannot say where a quartile lies. The site computes the
    three numbers itself (linear interpolation, numpy's default) and publishes no more digits than a
    table needs: values of a column with recorded decimals as they are, others rounded towards the
    middle to a power of ten of at most a hundredth of q3 - q1.

    Parameters
    ----------
    decimals : (p,), recorded decimals of each column; -1 where the study does not say.
    fewest : a column with fewer values is withheld.
    minimum : so is one in which fewer than this many values lie in a quarter.

    Examples
    --------
    >>> rows = Rows(np.arange(40.0)[:, None], ("age",), np.zeros(40), np.zeros(40, int))
    >>> quartiles = SiteQuartiles(decimals=np.array([0]), fewest=10, minimum=5)
    >>> quartiles.finalise(quartiles.from_rows(rows)).quartiles
    array([[ 9.75, 19.5 , 29.25]])
    """

    decimals: Int
    fewest: int
    minimum: int

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "quartiles"
    step: ClassVar[dict[str, float]] = {"present": 0.5, "quartiles": 0.5}
    tally: ClassVar[dict[str, str]] = {"present": "at most rows"}
    about: ClassVar[str] = (
        "Median and quartiles of each column of a set that one hospital holds alone (Table 1)."
    )
    attack: ClassVar[str] = (
        "They are that hospital's own, in the clear, and each lies within a hundredth of the"
        " distance between the quartiles of a patient's value, or of the middle of two, as in"
        " any paper. They are given only where enough patients lie in every quarter; another"
        " column or more digits than the study's are refused."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "present": ("columns",),
        "quartiles": ("columns", "3", "8"),
    }
    alone: ClassVar[bool] = True

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a vector of length p, and the digits of three numbers per column."""
        return {"present": (p,), "quartiles": (p, SHARES.size, DIGITS)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return quartiles of the site's rows, zeros for a column that is withheld."""
        if self.decimals.size != rows.p:
            raise ValueError(f"decimals of {self.decimals.size} columns for {rows.p}")
        present, quartiles = np.zeros(rows.p), np.zeros((rows.p, SHARES.size, DIGITS))
        fewest = max(self.fewest, QUARTERS * self.minimum, 1)
        for column, decimals in enumerate(self.decimals.tolist()):
            values = rows.values[:, column]
            values = values[np.isfinite(values)]
            if values.size < fewest or np.abs(values).max() >= LIMIT:
                continue
            found = np.quantile(values, SHARES)
            if decimals == UNKNOWN_DECIMALS:
                found = rounded_quartiles(found)
            digits = exact_column_sums(found[None, :])
            if np.array_equal(from_digits(digits), found):
                present[column], quartiles[column] = 1.0, digits
        return {"present": present, "quartiles": quartiles}

    def finalise(self, sums: Sums) -> SiteQuartilesResult:
        """Return the three numbers of each column that is not withheld."""
        present = sums["present"] > 0.5
        numbers = from_digits(sums["quartiles"].reshape(-1, DIGITS)).reshape(-1, SHARES.size)
        return SiteQuartilesResult(quartiles=np.where(present[:, None], numbers, np.nan))


def rounded_quartiles(quartiles: Float) -> Float:
    """Round quartiles towards the middle, to a power of ten of at most 1 % of their distance.

    They stay in order and within the data. Where the quartiles are equal, at least half of the
    patients share the value, which is not rounded.

    >>> rounded_quartiles(np.array([1.23456, 2.34567, 8.76543])).tolist()
    [1.24, 2.35, 8.76]
    """
    low, middle, high = quartiles.tolist()
    if not high > low:
        return quartiles
    step = Fraction(10) ** Decimal(LARGEST_STEP * (high - low)).adjusted()
    up = [True, middle <= low + (high - low) / 2.0, False]
    return np.array(
        [
            float((math.ceil if upwards else math.floor)(Fraction(value) / step) * step)
            for value, upwards in zip((low, middle, high), up, strict=True)
        ]
    )
