"""Numbers as integers of a ring Z_2^64 or Z_2^32: sums are exact in any order, masks cancel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float

# of each width, one bit for the sign and one of head room against rounding of the bound itself
_WIDTHS: dict[int, tuple[type[np.signedinteger[Any]], type[np.unsignedinteger[Any]]]] = {
    64: (np.int64, np.uint64),
    32: (np.int32, np.uint32),
}


def to_ring(values: Float, steps: Float, sites: int, bits: int = 64) -> NDArray[Any]:
    """Nearest multiples of twice the step, as ring elements.

    Parameters
    ----------
    values : (n,).
    steps : (n,), largest rounding allowed; powers of two.
    sites : how many such vectors will be added.
    bits : 64 or 32, width of the ring.

    Raises
    ------
    OverflowError : a number so large that the sum over the sites might wrap around.
    """
    signed, unsigned = _WIDTHS[bits]
    multiples = np.rint(values / (2.0 * steps))
    largest = 2.0 ** (bits - 2) / max(sites, 1)
    if not (np.abs(multiples) < largest).all():
        raise OverflowError(f"a number is too large for the fixed point of {sites} sites")
    return multiples.astype(signed).view(unsigned)


def from_ring(total: NDArray[Any], steps: Float) -> Float:
    """The numbers that a sum of ring elements (n,) stands for; the width is that of `total`."""
    signed, _ = _WIDTHS[8 * total.itemsize]
    return total.view(signed).astype(np.float64) * (2.0 * steps)
