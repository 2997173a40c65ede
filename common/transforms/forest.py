"""A random forest as plain arrays."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows
from common.statistics.forest import reached
from common.transforms.base import Columns, Transform, expect, replace


@plain
class Forest(Transform):
    """Mean over the trees of the share of positives in the node that a row ends in.

    Nodes stand in heap order: the children of node i are 2i + 1 (below the threshold) and 2i + 2.

    Parameters
    ----------
    columns : the p input columns.
    feature : int64 (trees, 2^depth - 1), column that a node splits on, -1 where it does not split.
    threshold : float64 (trees, 2^depth - 1).
    value : float64 (trees, 2^(depth + 1) - 1), share of positives in every node.
    name : the output column.

    Examples
    --------
    >>> rows = Rows(np.array([[50.0], [70.0]]), ("age",), np.zeros(2), np.zeros(2, int))
    >>> split = {"feature": np.array([[0]]), "threshold": np.array([[60.0]])}
    >>> Forest(("age",), **split, value=np.array([[0.5, 0.1, 0.9]]), name="rf").apply(rows).values
    array([[0.1],
           [0.9]])
    """

    columns: Columns
    feature: Int
    threshold: Float
    value: Float
    name: str

    place: ClassVar[float] = 7
    over: ClassVar[tuple[str, ...]] = ("models",)
    probability: ClassVar[bool] = True

    def apply(self, rows: Rows) -> Rows:
        """Return the probability of the positive class; NaN where a value is missing."""
        expect(rows, self.columns, "Forest")
        node = reached(rows.values, self.feature, self.threshold)
        probability = self.value[np.arange(self.value.shape[0]), node].mean(axis=1)
        probability[~np.isfinite(rows.values).all(axis=1)] = np.nan
        return replace(rows, probability[:, None], (self.name,))

    def outputs(self) -> Columns:
        """Return its only column."""
        return (self.name,)

    def restrict(self, wanted: Columns) -> tuple[Forest, Columns]:
        """Return the same step."""
        return self, self.columns
