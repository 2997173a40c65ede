"""A stacker that scikit-learn fitted, without pickle and without an object of scikit-learn's."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from common.messages.plain import plain
from common.statistics.base import Rows
from common.transforms.base import Columns, expect, replace
from common.transforms.stackers import Stacker, read_stacker


@plain
class Stack:
    """A classifier over the base models' probabilities, as skops bytes (no pickle)."""

    columns: Columns
    blob: NDArray[np.uint8]
    name: str

    def apply(self, rows: Rows) -> Rows:
        """The stacker's probability of the positive class.

        Raises
        ------
        ValueError : no stacker that this release reads, or none whose answer is a probability; or
            missing values.
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
        """The classifier; ValueError where the bytes hold no such one."""
        return _stacker(self.blob.tobytes(), len(self.columns))

    def outputs(self) -> Columns:
        """Its one column."""
        return (self.name,)

    def restrict(self, wanted: Columns) -> tuple[Stack, Columns]:
        """The same step."""
        return self, self.columns


@lru_cache(maxsize=4)
def _stacker(blob: bytes, columns: int) -> Stacker:
    return read_stacker(blob, columns)
