"""Fitted stacker as a step, without pickle and without objects of scikit-learn."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from common.messages.plain import plain
from common.statistics.base import Rows
from common.transforms.base import Columns, Transform, expect, replace
from common.transforms.stackers import Stacker, read_stacker


@plain
class Stack(Transform):
    """Classifier over the base models' probabilities, as skops bytes (no pickle).

    Examples
    --------
    >>> from skops.io import dumps
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> scores, label = np.array([[0.1], [0.2], [0.8], [0.9]]), np.array([0, 0, 1, 1])
    >>> fitted = RandomForestClassifier(5, random_state=1, bootstrap=False).fit(scores, label)
    >>> rows = Rows(scores, ("svm",), label * 1.0, np.zeros(4, int))
    >>> Stack(("svm",), np.frombuffer(dumps(fitted), np.uint8), "stack").apply(rows).values.ravel()
    array([0., 0., 1., 1.])
    """

    columns: Columns
    blob: NDArray[np.uint8]
    name: str

    place: ClassVar[float] = 7
    over: ClassVar[tuple[str, ...]] = ("models",)
    probability: ClassVar[bool] = True

    def apply(self, rows: Rows) -> Rows:
        """Return the stacker's probability of the positive class.

        Raises
        ------
        ValueError : no stacker that this release reads, one that gives no probabilities, or missing
            values.
        """
        expect(rows, self.columns, "Stack")
        if rows.n == 0:
            return replace(rows, np.zeros((0, 1)), (self.name,))
        if not np.isfinite(rows.values).all():
            raise ValueError("Stack: missing values")
        with np.errstate(all="ignore"):
            probability = self.load().probability(rows.values)
        if not ((probability >= 0.0) & (probability <= 1.0)).all():
            raise ValueError("Stack: the stacker gives no probabilities")
        return replace(rows, probability[:, None], (self.name,))

    def load(self) -> Stacker:
        """Return the classifier; ValueError where the bytes hold none."""
        return _stacker(self.blob.tobytes(), len(self.columns))

    def outputs(self) -> Columns:
        """Return its only column."""
        return (self.name,)

    def restrict(self, wanted: Columns) -> tuple[Stack, Columns]:
        """Return the same step."""
        return self, self.columns


@lru_cache(maxsize=4)
def _stacker(blob: bytes, columns: int) -> Stacker:
    return read_stacker(blob, columns)
