"""Class counts per bin at the open nodes of many trees, from which forests are grown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import scipy

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import complete, matches
from common.statistics.histogram import cell_of

# far below the resolution of a model, far above rounding, too fine to find a row by trying values
_GRID = 2.0**32
PAIRS_AT_ONCE = 1_000_000


def reached(values: Float, feature: Int, threshold: Float) -> Int:
    """Return the node in which each row ends in each tree, (n, m).

    Nodes stand in heap order: the children of node i are 2i + 1 (below the threshold) and 2i + 2.

    Parameters
    ----------
    values : (n, p), finite.
    feature : int64 (m, 2^depth - 1), column that a node splits on, -1 where it does not split.
    threshold : (m, 2^depth - 1).
    """
    trees, inner = feature.shape
    tree, row = np.arange(trees), np.arange(values.shape[0])[:, None]
    node = np.zeros((values.shape[0], trees), dtype=np.int64)
    for _ in range(inner.bit_length()):
        at = np.minimum(node, inner - 1)
        column = np.where(node < inner, feature[tree, at], -1)
        right = values[row, column] >= threshold[tree, at]
        node = np.where(column >= 0, 2 * node + 1 + right, node)
    return node


def bootstrap_weights(rows: Rows, seed: int, draws: int) -> Int:
    """Return each row's count in each bootstrap draw, int64 (n, draws): Poisson with mean 1.

    A Poisson number for each row, instead of n rows out of n, is the online bootstrap (Oza and
    Russell 2001). It is a hash of seed, values, label and fold, so it depends neither on the site
    of a row nor on its neighbours; rows equal in all of these share their numbers.
    """
    grid = np.rint(complete(rows) * _GRID)
    content = np.column_stack([grid, rows.label, rows.fold]).astype("<i8")
    key = f"{seed}:".encode()
    stream = b"".join(hashlib.shake_128(key + row.tobytes()).digest(4 * draws) for row in content)
    number = np.frombuffer(stream, dtype="<u4").reshape(rows.n, draws)
    weights = scipy.stats.poisson.cdf(np.arange(16), 1.0)
    return np.searchsorted(weights, (number + 0.5) / 2.0**32).astype(np.int64)


@plain
class NodeCountResult:
    """Weighted rows per question, class and bin, (q, 2, bins), negatives first."""

    counts: Float


@plain
class NodeCounts:
    """Weighted class counts per bin of one column at one node of one tree, for every question.

    Rows with fold -1 take no part.

    Parameters
    ----------
    edges : (p, bins + 1), not decreasing; end bins reach to infinity.
    feature, threshold : (m, 2^depth - 1), the trees as grown so far, as `reached` takes them.
    excluded : int64 (m,), fold whose rows a tree does not see; -1 for none.
    draw : int64 (m,), bootstrap draw of a tree; -1 when every row counts once.
    seed : of the draws.
    tree, node, column : int64 (q,), the questions, all different.

    Examples
    --------
    >>> values, label = np.array([[1.0], [1.5], [4.0]]), np.array([0.0, 0.0, 1.0])
    >>> rows, one = Rows(values, ("age",), label, np.zeros(3, int)), np.zeros(1, int)
    >>> grown = {"feature": np.array([[-1]]), "threshold": np.zeros((1, 1))}
    >>> asked = {"tree": one, "node": one, "column": one}
    >>> edges = np.array([[0.0, 2.0, 5.0]])
    >>> NodeCounts(edges, **grown, excluded=one - 1, draw=one - 1, seed=1, **asked).from_rows(rows)
    {'counts': array([[[2., 0.],
            [0., 1.]]])}
    """

    edges: Float
    feature: Int
    threshold: Float
    excluded: Int
    draw: Int
    seed: int
    tree: Int
    node: Int
    column: Int

    kind: ClassVar[str] = "bin_counts"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}
    tally: ClassVar[dict[str, str]] = {"counts": "not negative"}
    about: ClassVar[str] = (
        "Patients of either outcome in the intervals of one model's probability, in the"
        " branches of decision trees."
    )
    attack: ClassVar[str] = (
        "A deep branch holds few patients. Many trees asked together could be combined to"
        " single out a patient's probabilities and outcome, as rows would; depth and intervals"
        " are limited, and counts are totals over all hospitals."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"counts": ("questions", "2", "cells")}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare questions by two classes by bins."""
        return {"counts": (self.tree.size, 2, self.edges.shape[1] - 1)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts; ValueError on missing values or edges for other columns."""
        matches(self.edges, rows, "edges")
        shape = self.shapes(rows.p)["counts"]
        rows = _in_folds(rows)
        values, positive = complete(rows), rows.label > 0.5
        weights = self._weights(rows)
        cells = [cell_of(values[:, j], edges) for j, edges in enumerate(self.edges)]
        asked = self._asked(rows.p)
        counts = np.zeros(int(np.prod(shape)))
        for trees in self._groups(rows.n):
            node = reached(values, self.feature[trees], self.threshold[trees])
            weight = weights[:, self.draw[trees]]
            weight = weight * (rows.fold[:, None] != self.excluded[trees])
            for column in range(rows.p):
                question = asked[column, trees, node]
                hit = (question >= 0) & (weight > 0)
                row = np.nonzero(hit)[0]
                place = (2 * question[hit] + positive[row]) * shape[2] + cells[column][row]
                counts += np.bincount(place, weights=weight[hit], minlength=counts.size)
        return {"counts": counts.reshape(shape)}

    def finalise(self, sums: Sums) -> NodeCountResult:
        """Return the counts over all sites."""
        return NodeCountResult(counts=sums["counts"])

    def _weights(self, rows: Rows) -> Int:
        """Return weights (n, draws + 1); the last column, at index -1, counts every row once."""
        draws = int(self.draw.max(initial=-1)) + 1
        ones = np.ones((rows.n, 1), dtype=np.int64)
        return np.hstack([bootstrap_weights(rows, self.seed, draws), ones])

    def _asked(self, p: int) -> Int:
        """Return the question about each column at each node of each tree, -1 for none."""
        trees, inner = self.feature.shape
        asked = np.full((p, trees, 2 * inner + 1), -1, dtype=np.int64)
        asked[self.column, self.tree, self.node] = np.arange(self.tree.size)
        return asked

    def _groups(self, n: int) -> Iterator[Int]:
        """Yield groups of trees that fit into memory with all rows."""
        size = max(PAIRS_AT_ONCE // max(n, 1), 1)
        for start in range(0, self.feature.shape[0], size):
            yield np.arange(start, min(start + size, self.feature.shape[0]))


def _in_folds(rows: Rows) -> Rows:
    used = rows.fold >= 0
    return Rows(
        values=rows.values[used],
        columns=rows.columns,
        label=rows.label[used],
        fold=rows.fold[used],
    )
