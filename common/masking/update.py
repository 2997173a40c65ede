"""A site's share of a training round as ring elements: changed weights, wide ranges, losses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.masking import weights
from common.masking.fixed_point import from_ring, to_ring
from common.statistics.base import Float

LOSSES = 4
_LOSS_STEP = 2.0**-21
_WIDE_STEP = 2.0**-25  # as fine as the narrow ring of the weights

Weights = NDArray[np.float32]
Ranges = NDArray[np.int64]


def to_update_rings(
    change: Weights, wide: Ranges, losses: Float, sites: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """The narrow ring of all changes, and the wide ring of the wide ranges and the losses.

    Parameters
    ----------
    change : (n,), the site's weighted change of the weights; empty when nothing was trained.
    wide : (k, 2), ranges of weights that take the wide ring: zero in the narrow one.
    losses : (4,), sums.
    sites : how many sites' shares are added.

    Raises
    ------
    OverflowError : a change too large for its ring.
    """
    ranges = wide if change.size else wide[:0]
    taken = [change[start:stop].astype(np.float64) for start, stop in ranges]
    rest = np.concatenate([*taken, losses])
    narrow = change.copy()
    for start, stop in ranges:
        narrow[start:stop] = 0.0
    parameters = weights.to_ring32(narrow, sites=sites) if change.size else _NOTHING.copy()
    return parameters, to_ring(rest, _steps(rest.size), sites)


def from_update_rings(
    parameters: NDArray[np.uint32], rest: NDArray[np.uint64], wide: Ranges
) -> tuple[Weights, Float]:
    """The summed change of the weights (n,), empty when nothing was trained, and losses (4,).

    Raises
    ------
    ValueError : rings that do not fit the ranges.
    """
    ranges = wide if parameters.size else wide[:0]
    if rest.size != rest_size(parameters.size, wide):
        raise ValueError("an update that does not fit its wide ranges")
    numbers = from_ring(rest, _steps(rest.size))
    change = weights.from_ring32(parameters)
    start = 0
    for first, last in ranges:
        change[first:last] = numbers[start : start + last - first]
        start += last - first
    return change, numbers[-LOSSES:]


def rest_size(trained: int, wide: Ranges) -> int:
    """Length of the wide ring of an update of `trained` weights; none are when it is 0."""
    return LOSSES + (int((wide[:, 1] - wide[:, 0]).sum()) if trained else 0)


_NOTHING = np.zeros(0, dtype=np.uint32)


def _steps(size: int) -> Float:
    steps = np.full(size, _WIDE_STEP)
    steps[-LOSSES:] = _LOSS_STEP
    return steps
