"""Network weights as integers of the ring Z_2^32: half the traffic of Z_2^64.

The sum is of weighted changes: (own patients / all patients) x (local - global weights). On the
default grid of 2^-24 a change is rounded by 2^-25 = 3e-8 at most, which is what float32 itself does
to a weight between 0.5 and 1; the sum over 64 sites is off by 1.4e-7 (one standard deviation), and
by 1.9e-6 at most. The sum may reach +-128, so a site's share +-128 / sites: 32 with 4 sites, 12.8
with 10, 2 with 64. Where sites are of one size, that is a change of a single weight by 128. A grid
four times as coarse takes four times as much.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

STEP = 2.0**-25
Ring32 = NDArray[np.uint32]
_HALF = 2.0**31
_CHUNK = 2**17


def to_ring32(
    values: NDArray[np.float32] | NDArray[np.float64],
    step: float = STEP,
    sites: int = 64,
    *,
    out: Ring32 | None = None,
) -> Ring32:
    """Return the nearest multiples of twice the step, as ring elements.

    Parameters
    ----------
    values : (n,), float32 or float64.
    step : largest rounding allowed, a power of two.
    sites : number of such vectors to be added.
    out : (n,), destination; `values.view(np.uint32)` = in place, if they are float32.

    Raises
    ------
    OverflowError : a number so large (or not a number) that the sum might wrap around.
    ValueError, TypeError : step, shape or dtype are not as above.
    """
    if values.dtype not in (np.float32, np.float64):
        raise TypeError(f"weights are float32 or float64, not {values.dtype}")
    if values.ndim != 1:
        raise ValueError(f"weights are one vector, not {values.shape}")
    grid = _grid(step)
    largest = _HALF / max(sites, 1)
    ring = np.empty(values.size, dtype=np.uint32) if out is None else out
    if ring.shape != values.shape or ring.dtype != np.uint32:
        raise ValueError(f"weights of shape {values.shape} into {ring.dtype} of {ring.shape}")
    signed = ring.view(np.int32)
    buffer = np.empty(min(_CHUNK, values.size), dtype=values.dtype)
    scale, bound = values.dtype.type(1.0 / grid), values.dtype.type(largest)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        multiples = buffer[: part.size]
        with np.errstate(over="ignore", invalid="ignore"):  # the next check catches inf and NaN
            np.multiply(part, scale, out=multiples)
        np.rint(multiples, out=multiples)
        # strictly below: `bound` may have been rounded up, but no float lies between
        if not (multiples.max() < bound and multiples.min() > -bound):
            raise OverflowError(
                f"a change of the weights is not within +-{largest * grid:g}, the range of the"
                f" fixed point of {sites} sites: lower the learning rate, or use a coarser step"
            )
        np.copyto(signed[start : start + _CHUNK], multiples, casting="unsafe")
    return ring


def from_ring32(total: Ring32, step: float = STEP) -> NDArray[np.float32]:
    """Return the float32 numbers (n,) nearest to those that a sum of ring elements represents."""
    numbers = total.view(np.int32).astype(np.float32)
    numbers *= np.float32(_grid(step))
    return numbers


def _grid(step: float) -> float:
    if step <= 0 or math.frexp(step)[0] != 0.5:
        raise ValueError("the step of a fixed point is a power of two")
    return 2.0 * step
