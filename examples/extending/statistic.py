"""Compare an ordinal column between the classes: Mann-Whitney and cumulative odds, from counts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums


@plain
class OrdinalResult:
    """Comparison of the positive with the negative class, one number per column and cut.

    Parameters
    ----------
    superiority : (p,), probability that a positive lies above a negative, ties counted half.
    odds_ratio : (p, levels - 1), odds of a positive over those of a negative to lie at or above
        level 1, 2, ...; NaN where a class has nobody below or nobody above.
    """

    superiority: Float
    odds_ratio: Float


@plain
class OrdinalCounts:
    """Counts at or above each level of each ordinal column, by class.

    Parameters
    ----------
    levels : number of levels, coded 0 ... levels-1; NaN marks a missing value.

    Examples
    --------
    >>> rows = Rows(
    ...     values=np.array([[0.0], [1.0], [2.0], [2.0]]),
    ...     columns=("grade",),
    ...     label=np.array([0.0, 0.0, 1.0, 1.0]),
    ...     fold=np.zeros(4, dtype=np.int64),
    ... )
    >>> statistic = OrdinalCounts(levels=3)
    >>> statistic.finalise(statistic.from_rows(rows)).superiority
    array([1.])
    """

    levels: int

    kind: ClassVar[str] = "cells"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}
    tally: ClassVar[dict[str, str]] = {"counts": "not negative"}
    about: ClassVar[str] = (
        "How many patients of either outcome lie at or above each level of an ordered column."
    )
    attack: ClassVar[str] = (
        "The difference of two neighbours is a cell, and one can hold a single patient of all"
        " hospitals: the coordinator then knows that someone has this level and this outcome, not"
        " who or where."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"counts": ("columns", "2", "levels")}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Return columns by two classes by levels."""
        return {"counts": (p, 2, self.levels)}

    def from_rows(self, rows: Rows) -> Sums:
        """Count the site's rows at or above each level."""
        above = rows.values[:, :, None] >= np.arange(self.levels)
        classes = [above[rows.label < 0.5].sum(axis=0), above[rows.label > 0.5].sum(axis=0)]
        return {"counts": np.stack(classes, axis=1).astype(np.float64)}

    def finalise(self, sums: Sums) -> OrdinalResult:
        """Compare the classes over all sites."""
        counts = sums["counts"]
        cells = counts - np.append(counts[:, :, 1:], np.zeros((*counts.shape[:2], 1)), axis=2)
        negatives, positives = counts[:, 0], counts[:, 1]
        # of the pairs with a negative at a level: positives above it, and half of those at it
        wins = (cells[:, 0] * (positives - cells[:, 1] / 2.0)).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = counts[:, :, 1:] / (counts[:, :, :1] - counts[:, :, 1:])
            ratio = odds[:, 1] / odds[:, 0]
            superiority = wins / (negatives[:, 0] * positives[:, 0])
        return OrdinalResult(
            superiority=superiority, odds_ratio=np.where(np.isfinite(ratio), ratio, np.nan)
        )
