"""Numbers as integers of the ring Z_2^64, where sums are exact in any order and masks cancel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float

Ring = NDArray[np.uint64]
# one bit for the sign, one of head room against rounding of the bound itself
_BITS = 62


def steps_of(statistic: Any, p: int) -> Float:
    """Declared rounding of every number of a flattened sum, for a table of `p` columns."""
    parts = [
        np.full(int(np.prod(shape, dtype=np.int64)), statistic.step[name])
        for name, shape in statistic.shapes(p).items()
    ]
    return np.concatenate([np.zeros(0), *parts])


def to_ring(values: Float, steps: Float, sites: int) -> Ring:
    """Nearest multiples of twice the step, as ring elements.

    Parameters
    ----------
    values : (n,).
    steps : (n,), largest rounding allowed; powers of two.
    sites : how many such vectors will be added.

    Raises
    ------
    OverflowError : a number so large that the sum over the sites might wrap around.
    """
    multiples = np.rint(values / (2.0 * steps))
    largest = 2.0**_BITS / max(sites, 1)
    if not (np.abs(multiples) < largest).all():
        raise OverflowError(f"a number is too large for the fixed point of {sites} sites")
    return multiples.astype(np.int64).view(np.uint64)


def from_ring(total: Ring, steps: Float) -> Float:
    """The numbers that a sum of ring elements (n,) stands for."""
    return total.view(np.int64).astype(np.float64) * (2.0 * steps)
