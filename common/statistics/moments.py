"""Means, then deviations from centred squares: two passes, as a single one loses all digits."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import DIGITS, exact_column_sums, from_digits, matches


@plain
class MeanResult:
    """Count of values present and their mean, per column; NaN mean where nobody has a value."""

    count: Float
    mean: Float


@plain
class Means:
    """First pass: counts and exact sums of the values present.

    Examples
    --------
    >>> rows = Rows(np.array([[1.0], [2.0], [np.nan]]), ("age",), np.zeros(3), np.zeros(3, int))
    >>> Means().finalise(Means().from_rows(rows)).mean
    array([1.5])
    """

    kind: ClassVar[str] = "rows"
    step: ClassVar[dict[str, float]] = {"count": 0.5, "total": 0.5}
    tally: ClassVar[dict[str, str]] = {"count": "at most rows"}
    about: ClassVar[str] = "For each column, values present and their sum."
    attack: ClassVar[str] = (
        "Totals over all hospitals. With the number of patients known, they are means and"
        " nothing more."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"count": ("columns",), "total": ("columns", "8")}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a vector of length p, and the digits of the sums."""
        return {"count": (p,), "total": (p, DIGITS)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts and sums, missing values left out."""
        present = np.isfinite(rows.values)
        return {
            "count": present.sum(axis=0).astype(np.float64),
            "total": exact_column_sums(np.where(present, rows.values, 0.0)),
        }

    def finalise(self, sums: Sums) -> MeanResult:
        """Return the mean of each column over all sites."""
        with np.errstate(invalid="ignore", divide="ignore"):
            total = from_digits(sums["total"])
            mean = np.where(sums["count"] > 0, total / sums["count"], np.nan)
        return MeanResult(count=sums["count"], mean=mean)


@plain
class DeviationResult:
    """Count present and population standard deviation (ddof = 0) per column.

    A constant column has deviation 0; a column without values NaN.
    """

    count: Float
    deviation: Float


@plain
class CentredSquares:
    """Second pass: squares about the federated mean.

    Parameters
    ----------
    mean : (p,), the result of `Means`. Its rounding is corrected by the sum of the deviations,
        as in the corrected two-pass algorithm (Chan, Golub and LeVeque 1983).

    Examples
    --------
    >>> rows = Rows(np.array([[1.0], [2.0], [np.nan]]), ("age",), np.zeros(3), np.zeros(3, int))
    >>> squares = CentredSquares(mean=np.array([1.5]))
    >>> squares.finalise(squares.from_rows(rows)).deviation
    array([0.5])
    """

    mean: Float

    kind: ClassVar[str] = "rows"
    step: ClassVar[dict[str, float]] = {"count": 0.5, "total": 0.5, "squares": 0.5}
    tally: ClassVar[dict[str, str]] = {"count": "at most rows", "squares": "squares"}
    about: ClassVar[str] = (
        "For each column, squared distances from the mean, summed: the standard deviation."
    )
    attack: ClassVar[str] = (
        "Totals over all hospitals. Someone who knew every patient but one could work out the"
        " last one; no one does who sees only totals."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "count": ("columns",),
        "total": ("columns", "8"),
        "squares": ("columns", "8"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a vector of length p, and the digits of two sums."""
        return {"count": (p,), "total": (p, DIGITS), "squares": (p, DIGITS)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return counts, deviations from the mean and their squares, missing values left out."""
        matches(self.mean, rows, "mean")
        present = np.isfinite(rows.values)
        centred = np.where(present, rows.values - np.nan_to_num(self.mean), 0.0)
        return {
            "count": present.sum(axis=0).astype(np.float64),
            "total": exact_column_sums(centred),
            "squares": exact_column_sums(np.square(centred)),
        }

    def finalise(self, sums: Sums) -> DeviationResult:
        """Return deviations; columns within rounding of constant get 0, by scikit-learn's bound."""
        count = sums["count"]
        safe = np.maximum(count, 1.0)
        total, squares = from_digits(sums["total"]), from_digits(sums["squares"])
        variance = np.maximum(squares - total * total / safe, 0.0) / safe
        rounding = count * np.finfo(np.float64).eps
        blur = rounding * np.nan_to_num(self.mean)
        constant = variance <= rounding * variance + blur * blur
        deviation = np.where(constant, 0.0, np.sqrt(variance))
        return DeviationResult(count=count, deviation=np.where(count > 0, deviation, np.nan))


@plain
class MissingnessResult:
    """Rows over all sites, values present per column, and sites without any value of the column."""

    rows: int
    present: Float
    sites_lacking: Float


@plain
class Missingness:
    """Number of values present, and of sites that have rows but no value at all of a column.

    Examples
    --------
    >>> rows = Rows(np.array([[1.0], [np.nan]]), ("age",), np.zeros(2), np.zeros(2, int))
    >>> Missingness().from_rows(rows)
    {'rows': array([2.]), 'present': array([1.]), 'lacking': array([0.])}
    """

    kind: ClassVar[str] = "rows"
    step: ClassVar[dict[str, float]] = {"rows": 0.5, "present": 0.5, "lacking": 0.5}
    tally: ClassVar[dict[str, str]] = {
        "rows": "rows",
        "present": "at most rows",
        "lacking": "not negative",
    }
    about: ClassVar[str] = "For each column, values present, and how many hospitals have none."
    attack: ClassVar[str] = (
        "It tells how complete the data are. That some hospital lacks a column is visible;"
        " which one is not."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "rows": ("1",),
        "present": ("columns",),
        "lacking": ("columns",),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a number and two vectors of length p."""
        return {"rows": (1,), "present": (p,), "lacking": (p,)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts; a site without rows lacks nothing."""
        there = np.isfinite(rows.values)
        origin = np.zeros(rows.n, dtype=np.int64) if rows.origin is None else rows.origin
        lacking = np.zeros(rows.p)
        for hospital in np.unique(origin):
            lacking += ~there[origin == hospital].any(axis=0)
        return {
            "rows": np.array([float(rows.n)]),
            "present": there.sum(axis=0).astype(np.float64),
            "lacking": lacking,
        }

    def finalise(self, sums: Sums) -> MissingnessResult:
        """Return the counts over all sites."""
        return MissingnessResult(
            rows=round(float(sums["rows"][0])),
            present=sums["present"],
            sites_lacking=sums["lacking"],
        )
