"""A scikit-learn stacker without pickle."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.plain import plain
from common.statistics.base import Rows
from common.transforms.base import Columns, expect, replace


@plain
class Stack:
    """A scikit-learn classifier over the base models' probabilities, as skops bytes (no pickle)."""

    columns: Columns
    blob: NDArray[np.uint8]
    name: str

    def apply(self, rows: Rows) -> Rows:
        """The stacker's probability of the positive class."""
        expect(rows, self.columns, "Stack")
        if rows.n == 0:
            return replace(rows, np.zeros((0, 1)), (self.name,))
        probability = self.load().predict_proba(rows.values)[:, 1]
        return replace(rows, np.asarray(probability, dtype=np.float64)[:, None], (self.name,))

    def load(self) -> Any:
        """The estimator; ValueError where the bytes hold a type that is not trusted."""
        return _estimator(self.blob.tobytes())

    def outputs(self) -> Columns:
        """Its one column."""
        return (self.name,)

    def restrict(self, wanted: Columns) -> tuple[Stack, Columns]:
        """The same step."""
        return self, self.columns


# what scikit-learn's forest, boosting and calibration hold beyond skops' own list
TRUSTED_TYPES = (
    "sklearn.tree._tree.Tree",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
)


@lru_cache(maxsize=4)
def _estimator(blob: bytes) -> Any:
    """Read a stacker; only scikit-learn's own types, as listed, are trusted."""
    from skops.io import get_untrusted_types, loads

    unknown = sorted(set(get_untrusted_types(data=blob)) - set(TRUSTED_TYPES))
    if unknown:
        raise ValueError(f"the stacker holds a type that is not trusted: {unknown[0]}")
    return loads(blob, trusted=list(TRUSTED_TYPES))
