"""Sums for Table 1: groups of a continuous column, and counts of a set at one site alone."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from common.evaluation.joined_scores import joined_ranks
from common.evaluation.suppression import suppress
from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.counts import LevelCounts
from common.statistics.exact import DIGITS, exact_column_sums, from_digits, matches
from common.statistics.histogram import Histogram, HistogramResult, cell_counts


@plain
class GroupResult:
    """Values present, their mean, and squares about it, per column; NaN mean without values."""

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
    minimum : a site with fewer values of a column gives none of them: a group that one site alone
        holds is that site's own table.

    Examples
    --------
    >>> rows = Rows(np.array([[1.0], [3.0]]), ("age",), np.zeros(2), np.zeros(2, int))
    >>> group = GroupSums(centre=np.array([2.5]), minimum=2)
    >>> result = group.finalise(group.from_rows(rows))
    >>> result.mean, result.squares
    (array([2.]), array([2.]))
    """

    centre: Float
    minimum: int = 0

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "rows"
    step: ClassVar[dict[str, float]] = {"n": 0.5, "total": 0.5, "squares": 0.5}
    tally: ClassVar[dict[str, str]] = {"n": "at most rows", "squares": "squares"}
    about: ClassVar[str] = (
        "For each column of one set of patients: values present, their sum and squares (Table 1)."
    )
    attack: ClassVar[str] = (
        "Of a set that one hospital holds alone these are that hospital's mean and standard"
        " deviation, in the clear; then they leave only with enough values. Else they are"
        " totals."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "n": ("columns",),
        "total": ("columns", "8"),
        "squares": ("columns", "8"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a vector of length p, and the digits of two sums."""
        return {"n": (p,), "total": (p, DIGITS), "squares": (p, DIGITS)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums, missing values left out."""
        matches(self.centre, rows, "centre")
        present = np.isfinite(rows.values)
        present &= present.sum(axis=0) >= self.minimum
        centred = np.where(present, rows.values - np.nan_to_num(self.centre), 0.0)
        return {
            "n": present.sum(axis=0).astype(np.float64),
            "total": exact_column_sums(centred),
            "squares": exact_column_sums(np.square(centred)),
        }

    def finalise(self, sums: Sums) -> GroupResult:
        """Return the mean and squares about it, over all sites."""
        n = sums["n"]
        shift = from_digits(sums["total"]) / np.maximum(n, 1.0)
        mean = np.where(n > 0, np.nan_to_num(self.centre) + shift, np.nan)
        squares = from_digits(sums["squares"]) - n * shift**2
        return GroupResult(n=n, mean=mean, squares=np.maximum(squares, 0.0))


@plain
class ProtectedCountResult:
    """Counts (p, levels + 1), patients without a value last; 0 where `hidden` (same shape)."""

    counts: Float
    hidden: NDArray[np.bool_]


@plain
class ProtectedLevelCounts:
    """Level counts of a set that one site holds alone: small cells do not leave it.

    A sum over one site is that site's own table, so the site withholds cells itself: a withheld
    cell counts 0 in `counts` and 1 in `hidden`.

    Parameters
    ----------
    levels : codes are 0 ... levels-1.
    minimum : smallest count that may leave, see `common.evaluation.suppression`.

    Examples
    --------
    >>> sex = np.repeat([[0.0], [1.0]], [20, 2], axis=0)
    >>> rows = Rows(sex, ("sex",), np.zeros(22), np.zeros(22, int))
    >>> ProtectedLevelCounts(levels=2, minimum=5).from_rows(rows)["hidden"]
    array([[1., 1., 0.]])
    """

    levels: int
    minimum: int

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "cells"
    step: ClassVar[dict[str, float]] = {"counts": 0.5, "hidden": 0.5}
    tally: ClassVar[dict[str, str]] = {"counts": "cells", "hidden": "not negative"}
    about: ClassVar[str] = (
        "The same as level counts for a set that one hospital holds alone, with small cells"
        " withheld before they leave."
    )
    attack: ClassVar[str] = (
        "It is that hospital's own table, in the clear. Withheld cells cannot be computed from"
        " row totals, as a second one is withheld with them."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "counts": ("columns", "levels + 1"),
        "hidden": ("columns", "levels + 1"),
    }
    alone: ClassVar[bool] = True

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare two matrices, columns by levels and patients without a value."""
        return dict.fromkeys(self.step, (p, self.levels + 1))

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts without those withheld."""
        counts = np.zeros((rows.p, self.levels + 1))
        counts[:, :-1] = LevelCounts(levels=self.levels).from_rows(rows)["counts"]
        counts[:, -1] = rows.n - counts.sum(axis=1)
        hidden = np.zeros(counts.shape, dtype=bool)
        for column in range(rows.p):
            hidden[column] = suppress(counts[column], self.minimum)
        return {"counts": np.where(hidden, 0.0, counts), "hidden": hidden.astype(np.float64)}

    def finalise(self, sums: Sums) -> ProtectedCountResult:
        """Return the counts and the gaps of the site."""
        return ProtectedCountResult(counts=sums["counts"], hidden=sums["hidden"] > 0.5)


def averaged(values: Float, minimum: int) -> Float:
    """Replace each value by the mean of a group of at least `minimum` neighbouring ones.

    A value that `minimum` share stays, and takes in fewer that lie between it and the next such.

    Parameters
    ----------
    values : (n,), finite.

    References
    ----------
    Microaggregation: Domingo-Ferrer and Mateo-Sanz 2002, IEEE TKDE 14:189-201.

    Examples
    --------
    >>> averaged(np.array([7.0, 1.0, 2.0, 9.0, 3.0, 8.0]), 3)
    array([8., 2., 2., 8., 2., 8.])
    """
    if minimum <= 1:
        return values
    known, place, times = np.unique(values, return_inverse=True, return_counts=True)
    shared, found = known[times >= minimum], values.copy()
    below = np.searchsorted(shared, values, side="right")
    alone = times[place] < minimum
    for run in np.unique(below[alone]).tolist():
        own = np.flatnonzero(alone & (below == run))
        if own.size < minimum and shared.size:
            found[own] = shared[max(run - 1, 0)]
            continue
        group = joined_ranks(values[own, None], minimum)[:, 0].astype(np.int64)
        found[own] = (np.bincount(group, weights=values[own]) / np.bincount(group))[group]
    return found


@plain
class JoinedHistogram:
    """Histogram of a set that one site holds alone: no cell with few rows leaves it.

    Rows are counted where the mean of their group lies. Cells joined with their neighbours would
    have to say where a join begins, ends or has its middle, which is where a row is; and in finer
    cells, asked for later, other rows.

    Parameters
    ----------
    edges : (p, cells + 1), not decreasing; end cells reach to infinity.
    minimum : fewest rows of a group, see `averaged`; fewer rows in all are in the middle cell.

    Examples
    --------
    >>> values = np.repeat([[1.0], [3.0], [5.0]], [1, 4, 5], axis=0)
    >>> rows = Rows(values, ("age",), np.zeros(10), np.zeros(10, int))
    >>> JoinedHistogram(edges=np.array([[0.0, 2.0, 4.0, 6.0]]), minimum=3).from_rows(rows)
    {'counts': array([[0., 5., 5.]])}
    """

    edges: Float
    minimum: int

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "rank_histogram"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}
    tally: ClassVar[dict[str, str]] = {"counts": "cells"}
    about: ClassVar[str] = (
        "The same for a set that one hospital holds alone: patients with neighbouring values are"
        " counted together, at their mean."
    )
    attack: ClassVar[str] = (
        "It is that hospital's own table, in the clear. A cell shows the mean of a few patients'"
        " values and nobody's own, unless the whole set has few patients."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"counts": ("columns", "cells")}
    alone: ClassVar[bool] = True

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare one matrix, columns by cells."""
        return Histogram(edges=self.edges).shapes(p)

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's joined counts."""
        matches(self.edges, rows, "edges")
        counts = np.zeros(self.shapes(rows.p)["counts"])
        for column, own in enumerate(rows.values.T):
            present = own[np.isfinite(own)]
            if 0 < present.size < self.minimum:
                counts[column, counts.shape[1] // 2] = present.size
            else:
                counts[column] = cell_counts(averaged(present, self.minimum), self.edges[column])
        return {"counts": counts}

    def finalise(self, sums: Sums) -> HistogramResult:
        """Return the joined counts."""
        return HistogramResult(edges=self.edges, counts=sums["counts"])
