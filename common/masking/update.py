"""A site's share of a training round as ring elements: changed weights, wide ranges, sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.masking import weights
from common.masking.fixed_point import from_ring, to_ring
from common.statistics.base import Float

# training loss and count, held-out loss and count, steps times the site's share
SUMS = 5
_SUM_STEP = 2.0**-21
_WIDE_STEP = 2.0**-25  # as fine as the narrow ring of the weights

Weights = NDArray[np.float32]
Ranges = NDArray[np.int64]


@dataclass(frozen=True)
class Update:
    """Result of a round, at a site or summed over all.

    Parameters
    ----------
    change : (n,), of the weights; empty when nothing was trained.
    control : (n,), change of the control variate; empty where there is none.
    sums : (5,), see `SUMS`.
    """

    change: Weights
    control: Weights
    sums: Float


@dataclass(frozen=True)
class UpdateRings:
    """Update as ring elements: 32 and 16 bits, and 64 for wide ranges and sums."""

    parameters: NDArray[np.uint32]
    half: NDArray[np.uint16]
    rest: NDArray[np.uint64]

    @classmethod
    def zeros(cls, parameters: int, half: int, rest: int) -> UpdateRings:
        """Return rings of zeros."""
        return cls(
            np.zeros(parameters, np.uint32), np.zeros(half, np.uint16), np.zeros(rest, np.uint64)
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Lengths of the three."""
        return self.parameters.size, self.half.size, self.rest.size

    def add(self, other: UpdateRings) -> None:
        """Add another update, in place."""
        np.add(self.parameters, other.parameters, out=self.parameters)
        np.add(self.half, other.half, out=self.half)
        np.add(self.rest, other.rest, out=self.rest)


def update_sizes(trained: int, wide: Ranges, controls: int, grid: float) -> tuple[int, int, int]:
    """Return the ring lengths of an update of `trained` weights; all 0 when it is 0.

    Parameters
    ----------
    controls : length of the control variate sent.
    grid : that of the `RoundPlan`.
    """
    rest = SUMS + (int((wide[:, 1] - wide[:, 0]).sum()) if trained else 0)
    narrow = trained + (controls if trained else 0)
    return (0, narrow, rest) if grid else (narrow, 0, rest)


def to_update_rings(update: Update, wide: Ranges, sites: int, grid: float = 0.0) -> UpdateRings:
    """Return the rings of a site's update.

    Parameters
    ----------
    update : changes weighted by the site's share; with a grid, multiples of it (`on_grid16`). The
        changes are overwritten: a large network's are not copied.
    wide : (k, 2), ranges of weights that take the wide ring: zero in the narrow one.
    sites : number of sites whose shares are added.

    Raises
    ------
    OverflowError : a change too large for its ring.
    """
    ranges = wide if update.change.size else wide[:0]
    taken = [update.change[start:stop].astype(np.float64) for start, stop in ranges]
    rest = np.concatenate([*taken, update.sums])
    narrow = update.change
    if update.control.size:
        narrow = np.concatenate([update.change, update.control])
    for start, stop in ranges:
        narrow[start:stop] = 0.0
    wide_ring = to_ring(rest, _steps(rest.size), sites)
    nothing = UpdateRings.zeros(0, 0, 0)
    if not narrow.size:
        return UpdateRings(nothing.parameters, nothing.half, wide_ring)
    if grid:
        return UpdateRings(nothing.parameters, weights.to_ring16(narrow, grid, sites), wide_ring)
    ring = weights.to_ring32(narrow, sites=sites, out=narrow.view(np.uint32))
    return UpdateRings(ring, nothing.half, wide_ring)


def from_update_rings(rings: UpdateRings, trained: int, wide: Ranges, grid: float = 0.0) -> Update:
    """Return the update that rings represent.

    Raises
    ------
    ValueError : rings that do not fit the ranges.
    """
    controls = rings.parameters.size + rings.half.size - trained
    if controls not in (0, trained) or rings.sizes != update_sizes(trained, wide, controls, grid):
        raise ValueError("an update that does not fit its wide ranges")
    numbers = from_ring(rings.rest, _steps(rings.rest.size))
    if grid:
        narrow = weights.from_ring16(rings.half, grid)
    else:
        narrow = weights.from_ring32(rings.parameters)
    change, control = narrow[:trained], narrow[trained:]
    start = 0
    for first, last in wide if trained else wide[:0]:
        change[first:last] = numbers[start : start + last - first]
        start += last - first
    return Update(change, control, numbers[-SUMS:])


def _steps(size: int) -> Float:
    steps = np.full(size, _WIDE_STEP)
    steps[-SUMS:] = _SUM_STEP
    return steps
