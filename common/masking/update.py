"""A site's share of a training round as ring elements: weights, running statistics, sums."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.masking.fixed_point import from_ring, to_ring
from common.masking.narrow import Grid, Packed, add_packed, from_narrow, to_narrow
from common.statistics.base import Float

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


# training loss and count, held-out loss and count, steps times the site's share
SUMS = 5
_SUM_STEP = 2.0**-21
_RUNNING_STEP = 2.0**-25  # as fine as the 32-bit ring of the weights

Weights = NDArray[np.float32]
NO_GRID = Grid()
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
    """Update as ring elements: 32 bits, or narrow ones, and 64 for running statistics and sums."""

    parameters: NDArray[np.uint32]
    narrow: NDArray[np.uint16]
    statistics: NDArray[np.uint64]

    @classmethod
    def zeros(cls, parameters: int, narrow: int, statistics: int) -> UpdateRings:
        """Return rings of zeros."""
        return cls(
            np.zeros(parameters, np.uint32),
            np.zeros(narrow, np.uint16),
            np.zeros(statistics, np.uint64),
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Lengths of the three."""
        return self.parameters.size, self.narrow.size, self.statistics.size

    def add(
        self,
        parameters: NDArray[np.uint32],
        narrow: Packed,
        statistics: NDArray[np.uint64],
        width: int,
    ) -> None:
        """Add another update as it travels, in place.

        Parameters
        ----------
        narrow : packed, of elements of this width.

        Raises
        ------
        ValueError : not packed elements, or of another number.
        """
        add_packed(self.narrow, narrow, width)
        np.add(self.parameters, parameters, out=self.parameters)
        np.add(self.statistics, statistics, out=self.statistics)


def update_sizes(trained: int, running: Ranges, controls: int, grid: Grid) -> tuple[int, int, int]:
    """Return the ring lengths of an update of `trained` weights; all 0 when it is 0.

    Parameters
    ----------
    controls : length of the control variate sent.
    grid : that of the `RoundPlan`.
    """
    statistics = SUMS + (int((running[:, 1] - running[:, 0]).sum()) if trained else 0)
    vector = trained + (controls if trained else 0)
    return (0, vector, statistics) if grid else (vector, 0, statistics)


def to_update_rings(
    update: Update, running: Ranges, sites: int, grid: Grid = NO_GRID
) -> UpdateRings:
    """Return the rings of a site's update.

    Parameters
    ----------
    update : changes weighted by the site's share; with a grid, multiples of it (`on_grid`). The
        changes are overwritten: a large network's are not copied.
    running : (k, 2), ranges of the running statistics: in 64 bits, and zero among the weights.
    sites : number of sites whose shares are added.

    Raises
    ------
    OverflowError : a change too large for its ring.
    """
    ranges = running if update.change.size else running[:0]
    taken = [update.change[start:stop].astype(np.float64) for start, stop in ranges]
    statistics = np.concatenate([*taken, update.sums])
    vector = update.change
    if update.control.size:
        vector = np.concatenate([update.change, update.control])
    for start, stop in ranges:
        vector[start:stop] = 0.0
    ring64 = to_ring(statistics, _steps(statistics.size), sites)
    nothing = UpdateRings.zeros(0, 0, 0)
    if not vector.size:
        return UpdateRings(nothing.parameters, nothing.narrow, ring64)
    if grid:
        return UpdateRings(nothing.parameters, to_narrow(vector, grid, sites), ring64)
    ring = to_ring32(vector, sites=sites, out=vector.view(np.uint32))
    return UpdateRings(ring, nothing.narrow, ring64)


def to_sums_ring(sums: Float, sites: int) -> NDArray[np.uint64]:
    """Return the ring (5,) of the five sums alone.

    Raises
    ------
    OverflowError : a sum too large for its ring.
    """
    return to_ring(sums, _steps(SUMS), sites)


def from_update_rings(
    rings: UpdateRings, trained: int, running: Ranges, grid: Grid = NO_GRID
) -> Update:
    """Return the update that rings represent.

    Raises
    ------
    ValueError : rings that do not fit the ranges.
    """
    controls = rings.parameters.size + rings.narrow.size - trained
    if controls not in (0, trained) or rings.sizes != update_sizes(
        trained, running, controls, grid
    ):
        raise ValueError("an update that does not fit its ranges of running statistics")
    numbers = from_ring(rings.statistics, _steps(rings.statistics.size))
    vector = from_narrow(rings.narrow, grid) if grid else from_ring32(rings.parameters)
    change, control = vector[:trained], vector[trained:]
    start = 0
    for first, last in running if trained else running[:0]:
        change[first:last] = numbers[start : start + last - first]
        start += last - first
    return Update(change, control, numbers[-SUMS:])


def _steps(size: int) -> Float:
    steps = np.full(size, _RUNNING_STEP)
    steps[-SUMS:] = _SUM_STEP
    return steps
