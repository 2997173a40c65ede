"""Means, then deviations from centred squares: two passes, as one pass loses all digits."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.packing import matches


@plain
class MeanResult:
    """Count of values present and their mean, per column; NaN mean where nobody has a value."""

    count: Float
    mean: Float


@plain
class Means:
    """First pass: sums and counts of the values present."""

    rule: ClassVar[str] = "rows"
    step: ClassVar[dict[str, float]] = {"count": 0.5, "total": 2.0**-20}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Two vectors of length p."""
        return {"count": (p,), "total": (p,)}

    def from_rows(self, rows: Rows) -> Sums:
        """Counts and sums over the rows, missing values left out."""
        present = np.isfinite(rows.values)
        return {
            "count": present.sum(axis=0).astype(np.float64),
            "total": np.where(present, rows.values, 0.0).sum(axis=0),
        }

    def finalise(self, sums: Sums) -> MeanResult:
        """Mean of each column over all sites."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(sums["count"] > 0, sums["total"] / sums["count"], np.nan)
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
    mean : (p,), the result of `Means`. What rounding left in it is corrected by the sum of the
        deviations, as in the corrected two-pass algorithm (Chan, Golub and LeVeque 1983).
    """

    mean: Float

    rule: ClassVar[str] = "rows"
    step: ClassVar[dict[str, float]] = {"count": 0.5, "total": 2.0**-30, "squares": 2.0**-30}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Three vectors of length p."""
        return {"count": (p,), "total": (p,), "squares": (p,)}

    def from_rows(self, rows: Rows) -> Sums:
        """Counts, deviations from the mean and their squares, missing values left out."""
        matches(self.mean, rows, "mean")
        present = np.isfinite(rows.values)
        centred = np.where(present, rows.values - np.nan_to_num(self.mean), 0.0)
        return {
            "count": present.sum(axis=0).astype(np.float64),
            "total": centred.sum(axis=0),
            "squares": np.square(centred).sum(axis=0),
        }

    def finalise(self, sums: Sums) -> DeviationResult:
        """Deviation; columns within rounding of constant get 0, by scikit-learn's bound."""
        count = sums["count"]
        safe = np.maximum(count, 1.0)
        variance = np.maximum(sums["squares"] - sums["total"] ** 2 / safe, 0.0) / safe
        rounding = count * np.finfo(np.float64).eps
        constant = variance <= rounding * variance + (rounding * np.nan_to_num(self.mean)) ** 2
        deviation = np.where(constant, 0.0, np.sqrt(variance))
        return DeviationResult(count=count, deviation=np.where(count > 0, deviation, np.nan))


@plain
class MissingnessResult:
    """Rows over all sites, values present per column, sites that lack the column wholly."""

    rows: int
    present: Float
    sites_lacking: Float


@plain
class Missingness:
    """How many values are there, and how many sites have rows but no value at all of a column."""

    rule: ClassVar[str] = "rows"
    step: ClassVar[dict[str, float]] = {"rows": 0.5, "present": 0.5, "lacking": 0.5}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """A number and two vectors of length p."""
        return {"rows": (1,), "present": (p,), "lacking": (p,)}

    def from_rows(self, rows: Rows) -> Sums:
        """Counts; a site without rows lacks nothing."""
        present = np.isfinite(rows.values).sum(axis=0).astype(np.float64)
        lacking = (present == 0) & (rows.n > 0)
        return {
            "rows": np.array([float(rows.n)]),
            "present": present,
            "lacking": lacking.astype(np.float64),
        }

    def finalise(self, sums: Sums) -> MissingnessResult:
        """The counts over all sites."""
        return MissingnessResult(
            rows=round(float(sums["rows"][0])),
            present=sums["present"],
            sites_lacking=sums["lacking"],
        )


_OCTAVES = np.arange(-64, 65, 8)


@plain
class Magnitudes:
    """Counts of values by size in steps of 2^8: the power of two that makes fixed point safe.

    A first look before `Means`: columns run from 1e-6 to 1e15, and one fixed-point step cannot suit
    all. Zeros fall into the lowest cell.
    """

    rule: ClassVar[str] = "rank_histogram"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Counts (p, 18): below 2^-64, sixteen cells of eight octaves, 2^64 and above."""
        return {"counts": (p, _OCTAVES.size + 1)}

    def from_rows(self, rows: Rows) -> Sums:
        """Counts per cell of the absolute value, missing values left out."""
        counts = np.zeros((rows.p, _OCTAVES.size + 1))
        cell = np.searchsorted(2.0**_OCTAVES, np.abs(rows.values), side="right")
        present = np.isfinite(rows.values)
        for index in range(_OCTAVES.size + 1):
            counts[:, index] = ((cell == index) & present).sum(axis=0)
        return {"counts": counts}

    def finalise(self, sums: Sums) -> Float:
        """Scale (p,): the power of two that brings the largest occupied cell to at most 1."""
        occupied = sums["counts"] > 0.5
        last = occupied.shape[1] - 1 - np.argmax(occupied[:, ::-1], axis=1)
        # the lowest cell also holds exact zeros: a column of zeros keeps its unit
        upper = np.append(_OCTAVES, _OCTAVES[-1] + 8)[last].astype(np.float64)
        return np.where((last > 0) & occupied.any(axis=1), 2.0**-upper, 1.0)
