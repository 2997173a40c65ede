"""Histograms of scores by class, their edges, and the joining of small cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np

from common.messages.limits import Limits, patients, shares
from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import complete, matches
from common.statistics.histogram import cell_counts, cell_of
from common.statistics.scores import THRESHOLDS
from common.utils import portable
from common.utils.halving import halved

QUANTILES: Float = np.arange(1, 50) / 50.0
# confident models crowd their probabilities next to 0 and 1; next to 1 a double
# resolves 2**-53, next to 0 far less
TAILS: Float = portable.powers_of_ten(-np.arange(2.5, 16.0, 0.5))
NEXT_TO_ONE: Float = np.ldexp(1.0, np.array([-52, -53]))
NEXT_TO_ZERO: Float = portable.powers_of_ten([-16, -20, -25, -31, -39, -49, -61, -76, -95])
FIXED: Float = np.concatenate([THRESHOLDS, TAILS, NEXT_TO_ZERO, 1.0 - TAILS, 1.0 - NEXT_TO_ONE])
MOST_CELLS = FIXED.size + QUANTILES.size + 1

# of the cells of a histogram, an empty join has at least one of so many parts
EMPTY = 8
# a part with this share of a cell's rows stands for the cell
MAIN = 2.0 / 3.0


@plain
class ClassHistogramResult:
    """Scores of k models by class and cell.

    Parameters
    ----------
    edges : (k, cells + 1); a column with fewer cells than others ends in empty cells at +infinity.
    counts : (k, 2, cells), the negatives, then the positives.
    single : (k, cells), 1.0 where all scores of the cell seem to be one value, else 0.0.
    """

    edges: Annotated[Float, Limits(("models", "edges"))]
    counts: Annotated[Float, patients("models", 2, "cells")]
    single: Annotated[Float, shares("models", "cells", decimals=0)]


@plain
class ClassCells:
    """One class of k models in cells that each hold none or enough rows.

    Parameters
    ----------
    edges : (k, cells + 1). counts : (k, cells).
    lower, upper : (k, cells), within 0 to 1: assumed range of the rows of a cell: the whole cell,
        or the part of it that holds nearly all of them.
    """

    edges: Float
    counts: Float
    lower: Float
    upper: Float


@plain
class ClassHistogram:
    """Scores of each class per cell for every column (one per model), and whether they repeat.

    `pairs` counts neighbours among a site's sorted scores of one cell, `unequal` those that differ.

    Parameters
    ----------
    edges : (k, cells + 1), not decreasing; end cells reach to infinity.

    Examples
    --------
    >>> scores, label = np.array([[0.1], [0.4], [0.7]]), np.array([0.0, 0.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.zeros(3, int))
    >>> histogram = ClassHistogram(edges=np.array([[0.0, 0.5, 1.0]]))
    >>> histogram.finalise(histogram.from_rows(rows)).counts.tolist()
    [[[2.0, 0.0], [0.0, 1.0]]]
    """

    edges: Float

    kind: ClassVar[str] = "score_histogram"
    step: ClassVar[dict[str, float]] = {"counts": 0.5, "pairs": 0.5, "unequal": 0.5}
    tally: ClassVar[dict[str, str]] = {
        "counts": "cells of classes",
        "pairs": "cells",
        "unequal": "cells",
    }
    about: ClassVar[str] = (
        "For each model, patients of either outcome in each interval of the score, and whether"
        " their scores are equal."
    )
    attack: ClassVar[str] = (
        "Intervals are narrow, and one can hold a single patient of all hospitals: the"
        " coordinator then knows that someone with this outcome has a score in this interval,"
        " not who or where. Small cells are joined before hospitals or the report see them. It"
        " is asked again for the patients of each level of a stratum, in coarse intervals that"
        " hold several patients of either outcome in the whole set, but may hold one of a level."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "counts": ("models", "2", "cells"),
        "pairs": ("models", "cells"),
        "unequal": ("models", "cells"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare columns by two classes by cells, and two matrices, columns by cells."""
        cells = self.edges.shape[1] - 1
        return {"counts": (p, 2, cells), "pairs": (p, cells), "unequal": (p, cells)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts; ValueError on missing scores or edges for other columns."""
        matches(self.edges, rows, "edges")
        scores, positive = complete(rows), rows.label > 0.5
        sums = {name: np.zeros(shape) for name, shape in self.shapes(rows.p).items()}
        for column, edges in enumerate(self.edges):
            own = scores[:, column]
            sums["counts"][column, 0] = cell_counts(own[~positive], edges)
            sums["counts"][column, 1] = cell_counts(own[positive], edges)
            sums["pairs"][column] = np.maximum(cell_counts(own, edges) - 1.0, 0.0)
            sums["unequal"][column] = np.maximum(cell_counts(np.unique(own), edges) - 1.0, 0.0)
        return sums

    def finalise(self, sums: Sums) -> ClassHistogramResult:
        """Return the counts over all sites.

        A cell without pairs is assumed to be like most cells with pairs of its column.
        """
        seen, equal = sums["pairs"] > 0.5, sums["unequal"] < 0.5
        mostly = (seen & equal).sum(axis=1) > 0.5 * seen.sum(axis=1)
        single = np.where(seen, equal, mostly[:, None])
        return ClassHistogramResult(
            edges=self.edges, counts=sums["counts"], single=single.astype(np.float64)
        )


def score_edges(quantiles: Float) -> Float:
    """Return edges (k, cells + 1) for probabilities: thresholds, tails, quantiles of each model.

    Thresholds alone leave a model whose probabilities crowd into a narrow range with few cells.

    Parameters
    ----------
    quantiles : (k, q) of each model's training probabilities, for instance at `QUANTILES`.
    """
    return _padded([np.union1d(FIXED, own[(own > 0) & (own < 1)]) for own in quantiles])


def merge_class(histogram: ClassHistogramResult, label: int, minimum: int) -> ClassCells:
    """Join the cells of one class (0 or 1) by halves until each holds at least `minimum`.

    A class of fewer than `minimum` rows becomes one cell. Only wide joins may be empty: hospitals
    see them, and who knows the score of another's patient knows which class it is not of.
    """
    edges = _merged(histogram.edges, histogram.counts[:, [label]], minimum)
    counts = _sums(histogram, edges)[:, label]
    bounds = np.clip(edges, 0.0, 1.0)
    lower, upper = bounds[:, :-1].copy(), bounds[:, 1:].copy()
    for column, former in enumerate(np.clip(histogram.edges, 0.0, 1.0)):
        held = histogram.counts[column, label]
        cell = cell_of(histogram.edges[column, :-1], edges[column])
        whole = counts[column, cell]
        main = np.flatnonzero((held >= MAIN * whole) & (held > minimum - 0.5) & (held > 0.5))
        lower[column, cell[main]] = former[main]
        upper[column, cell[main]] = former[main + 1]
    return ClassCells(edges=edges, counts=counts, lower=lower, upper=upper)


def merge_classes(histogram: ClassHistogramResult, minimum: int) -> ClassHistogramResult:
    """Join cells by halves until each holds at least `minimum` of each class, wide ones or none.

    Joined cells no longer hold a single value.
    """
    edges = _merged(histogram.edges, histogram.counts, minimum)
    counts = _sums(histogram, edges)
    return ClassHistogramResult(edges=edges, counts=counts, single=np.zeros(counts[:, 0].shape))


def _merged(edges: Float, counts: Float, minimum: int) -> Float:
    pairs = zip(edges, counts, strict=True)
    return _padded([_kept(own, held, minimum) for own, held in pairs])


def _kept(edges: Float, counts: Float, minimum: int) -> Float:
    """Return the inner edges that stay, for counts (classes, cells)."""
    if minimum <= 1:
        return edges[1:-1][np.isfinite(edges[1:-1])]
    cells = int(np.isfinite(edges).sum())
    ends = halved(counts, minimum, empty=max(cells // EMPTY, 1))
    inner = edges[np.array(ends[:-1], dtype=np.int64)]
    return inner[np.isfinite(inner)]


def _sums(histogram: ClassHistogramResult, edges: Float) -> Float:
    """Return counts (k, 2, cells) on a subset of the histogram's edges."""
    counts = np.zeros((edges.shape[0], 2, edges.shape[1] - 1))
    for column, merged in enumerate(edges):
        cell = cell_of(histogram.edges[column, :-1], merged)
        for label in (0, 1):
            held = histogram.counts[column, label]
            counts[column, label] = np.bincount(cell, weights=held, minlength=merged.size - 1)
    return counts


def _padded(inner: Sequence[Float]) -> Float:
    edges = np.full((len(inner), max([0, *(own.size for own in inner)]) + 2), np.inf)
    edges[:, 0] = -np.inf
    for column, own in enumerate(inner):
        edges[column, 1 : own.size + 1] = own
    return edges
