"""Sums of one study set's continuous columns, for means, deviations and analysis of variance."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.packing import matches


@plain
class GroupResult:
    """Per column: values present, their mean, and squares about it; NaN mean without values."""

    n: Float
    mean: Float
    squares: Float

    @property
    def deviation(self) -> Float:
        """Sample standard deviation (ddof = 1); NaN below two values."""
        spread = np.sqrt(self.squares / np.maximum(self.n - 1.0, 1.0))
        return np.where(self.n >= 2, spread, np.nan)


@plain
class GroupSums:
    """Count, deviations and squares of one group (a study set, a class) about a given centre.

    Parameters
    ----------
    centre : (p,), a number near the means, such as the federated mean of all groups.
    """

    centre: Float

    rule: ClassVar[str] = "rows"
    step: ClassVar[dict[str, float]] = {"n": 0.5, "total": 2.0**-30, "squares": 2.0**-30}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Three vectors of length p."""
        return dict.fromkeys(self.step, (p,))

    def from_rows(self, rows: Rows) -> Sums:
        """Sums of the site, missing values left out."""
        matches(self.centre, rows, "centre")
        present = np.isfinite(rows.values)
        centred = np.where(present, rows.values - np.nan_to_num(self.centre), 0.0)
        return {
            "n": present.sum(axis=0).astype(np.float64),
            "total": centred.sum(axis=0),
            "squares": np.square(centred).sum(axis=0),
        }

    def finalise(self, sums: Sums) -> GroupResult:
        """Mean and squares about it, over all sites."""
        n = sums["n"]
        shift = sums["total"] / np.maximum(n, 1.0)
        mean = np.where(n > 0, np.nan_to_num(self.centre) + shift, np.nan)
        return GroupResult(n=n, mean=mean, squares=np.maximum(sums["squares"] - n * shift**2, 0.0))
