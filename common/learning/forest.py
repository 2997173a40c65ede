"""Random forests grown level by level from class counts, many forests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.messages.plain import plain
from common.statistics.base import Float, Int
from common.statistics.forest import NodeCountResult, NodeCounts
from common.transforms.base import Columns
from common.transforms.forest import Forest


@plain
class ForestProblem:
    """One forest to grow.

    Parameters
    ----------
    min_samples_leaf : least weight of rows on each side of a split.
    max_features : columns considered for a split, drawn anew for every node.
    excluded : fold that takes no part; -1 for none.
    """

    min_samples_leaf: int
    max_features: int
    excluded: int = -1


class ForestBatch:
    """Grower of many forests, one level per round: send `request`, pass its outcome to `update`.

    Breiman's random forest (2001) with the Gini splits of scikit-learn's DecisionTreeClassifier, at
    the edges of bins. Unlike scikit-learn, `min_samples_leaf` counts a row as often as it is drawn,
    and a node whose drawn columns allow no split becomes a leaf.

    Parameters
    ----------
    edges : (p, bins + 1), not decreasing; end bins reach to infinity.
    problems : forests to grow.
    draws : bootstrap draw of each tree of a forest, -1 for the rows as they are; forests share
        draws, so that they differ by their settings alone.
    max_depth : levels of splits, and rounds at most.
    seed : of draws and columns.

    Raises
    ------
    ValueError : no trees, no levels, a single bin, or a problem that asks for no row or no column.
    """

    def __init__(
        self,
        edges: Float,
        problems: Sequence[ForestProblem],
        *,
        draws: Sequence[int],
        max_depth: int,
        seed: int,
        monotone: bool = False,
    ) -> None:
        if not draws or max_depth < 1 or edges.shape[1] < 3:
            raise ValueError("a forest needs at least one tree, one level and two bins")
        if any(min(one.min_samples_leaf, one.max_features) < 1 for one in problems):
            raise ValueError("min_samples_leaf and max_features must be at least 1")
        self._edges, self._seed, self._max_depth = edges, seed, max_depth
        self._trees, trees = len(draws), len(draws) * len(problems)
        self._draw = np.tile(np.array(draws, dtype=np.int64), len(problems))
        self._excluded = self._each([one.excluded for one in problems])
        self._least = self._each([one.min_samples_leaf for one in problems])
        self._looks = np.minimum(self._each([one.max_features for one in problems]), len(edges))
        inner = 2**max_depth - 1
        self._feature = np.full((trees, inner), -1, dtype=np.int64)
        self._threshold = np.zeros((trees, inner))
        self._weight = np.zeros((trees, 2 * inner + 1, 2))
        self._monotone = monotone
        self._low, self._high = np.zeros((trees, 2 * inner + 1)), np.ones((trees, 2 * inner + 1))
        self._open = np.zeros((trees, inner), dtype=np.bool_)
        self._open[:, 0] = True
        self._random = np.random.default_rng(seed)
        self.rounds = 0
        self._ask()

    def _each(self, setting: Sequence[int]) -> Int:
        return np.repeat(np.array(setting, dtype=np.int64), self._trees)

    @property
    def converged(self) -> bool:
        """True when no node is left to split."""
        return self._tree.size == 0

    def request(self) -> NodeCounts:
        """Return the next question, about the nodes of one level; ValueError when all are grown."""
        if self.converged:
            raise ValueError("all forests have grown")
        return NodeCounts(
            edges=self._edges,
            feature=self._feature,
            threshold=self._threshold,
            excluded=self._excluded,
            draw=self._draw,
            seed=self._seed,
            tree=self._tree,
            node=self._node,
            column=self._column,
        )

    def update(self, result: NodeCountResult) -> None:
        """Take the outcome of the last request; ValueError when its size differs."""
        if result.counts.shape != (self._tree.size, 2, self._edges.shape[1] - 1):
            raise ValueError("the outcome does not belong to the last request")
        total = result.counts.sum(axis=2)
        self._weight[self._tree, self._node] = total
        gain, cut, left = best_cuts(result.counts, self._least[self._tree], self._monotone)
        gain[~self._splittable(total, self._tree)] = -np.inf
        best = _best_of_each(gain, self._tree * self._weight.shape[1] + self._node)
        best = best[np.isfinite(gain[best])]
        tree, node, column = self._tree[best], self._node[best], self._column[best]
        # assign, do not modify in place: `request` hands these arrays out
        self._feature, self._threshold = self._feature.copy(), self._threshold.copy()
        self._feature[tree, node] = column
        self._threshold[tree, node] = self._edges[column, cut[best] + 1]
        self._open = np.zeros_like(self._open)
        self.rounds += 1
        for child, weight in ((2 * node + 1, left[best]), (2 * node + 2, (total - left)[best])):
            self._weight[tree, child] = weight
            if self.rounds < self._max_depth:
                self._open[tree, child] = self._splittable(weight, tree)
        if self._monotone:
            self._bound(tree, node, left[best], (total - left)[best])
        self._ask()

    def _bound(self, tree: Int, node: Int, left: Float, right: Float) -> None:
        """Keep all leaves under the left child below those under the right one, as scikit-learn."""
        shares = [one[:, 1] / np.maximum(one.sum(axis=1), 1.0) for one in (left, right)]
        middle = np.clip(
            (shares[0] + shares[1]) / 2.0, self._low[tree, node], self._high[tree, node]
        )
        for child, low, high in (
            (2 * node + 1, self._low[tree, node], middle),
            (2 * node + 2, middle, self._high[tree, node]),
        ):
            self._low[tree, child], self._high[tree, child] = low, high

    def forest(self, problem: int, columns: Columns, name: str) -> Forest:
        """Return the forest of one problem as grown so far; 0.5 where a tree has drawn no row."""
        own = slice(problem * self._trees, (problem + 1) * self._trees)
        weight = self._weight[own].sum(axis=2)
        positive = self._weight[own, :, 1]
        return Forest(
            columns=columns,
            feature=self._feature[own],
            threshold=self._threshold[own],
            value=np.clip(
                np.where(weight > 0, positive / np.maximum(weight, 1.0), 0.5),
                self._low[own],
                self._high[own],
            ),
            name=name,
        )

    def _splittable(self, weight: Float, tree: Int) -> NDArray[np.bool_]:
        enough = weight.sum(axis=1) >= 2 * self._least[tree]
        return np.asarray(enough & (weight > 0).all(axis=1))

    def _ask(self) -> None:
        """Ask about the open nodes: as many columns each as the problem considers."""
        level = slice(2**self.rounds - 1, 2 ** (self.rounds + 1) - 1)
        tree, place = np.nonzero(self._open[:, level])
        order = self._random.random((self._trees, 2**self.rounds, len(self._edges)))
        ranking = np.argsort(order, axis=2, kind="stable")[tree % self._trees, place]
        looked = np.arange(len(self._edges)) < self._looks[tree][:, None]
        self._tree = np.repeat(tree, self._looks[tree])
        self._node = np.repeat(place + level.start, self._looks[tree])
        self._column = ranking[looked]


def best_cuts(counts: Float, least: Int, monotone: bool = False) -> tuple[Float, Int, Float]:
    """Return the best Gini split of each histogram: gain (q,), cut (q,), left weights (q, 2).

    The left side takes the bins up to `cut`, included; among cuts through the same empty bins it is
    the middle one, as in scikit-learn. The left weights are by class. The gain lacks constants and
    is -infinity where there is no split.

    Parameters
    ----------
    counts : (q, 2, bins).
    least : int64 (q,), least weight on either side.
    monotone : allow only cuts with at least as large a share of positives on the right.
    """
    lefts = np.cumsum(counts, axis=2)[:, :, :-1]
    rights = counts.sum(axis=2, keepdims=True) - lefts
    n_left, n_right = lefts.sum(axis=1), rights.sum(axis=1)
    allowed = (n_left >= least[:, None]) & (n_right >= least[:, None])
    if monotone:
        allowed &= lefts[:, 1] * n_right <= rights[:, 1] * n_left
    purity = np.square(lefts).sum(axis=1) / np.maximum(n_left, 1.0)
    purity += np.square(rights).sum(axis=1) / np.maximum(n_right, 1.0)
    gains = np.where(allowed, purity, -np.inf)
    question, first = np.arange(len(counts)), np.argmax(gains, axis=1)
    last = (n_left <= n_left[question, first][:, None]).sum(axis=1) - 1
    return gains[question, first], (first + last + 1) // 2, lefts[question, :, first]


def _best_of_each(gain: Float, group: Int) -> Int:
    """Return the index of the largest gain in each run of equal `group`, the first on a tie."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return np.lexsort((-gain, group))[starts]
