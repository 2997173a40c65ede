"""Changes of network weights as narrow integers: 8 to 16 bits each, packed without gaps.

A ring just wide enough for the sum over the sites takes a fraction of the 32 bits of `weights`. The
weights of a network change by very different amounts, so every block of them has a step of its own,
from the largest change in the block in the round before. A site carries what it rounds off over to
its next round (error feedback: Seide et al. 2014; Karimireddy et al. 2019), so nothing is lost but
time.

Elements are held as uint16 and computed modulo 2^16; only their low bits are sent, which is the
same modulo 2^width, and `signed` makes numbers of them again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from common.messages.plain import plain

BLOCK = 2**16
"""Consecutive weights that share a step."""
_ROOM = 4.0
"""Largest sum that fits, in units of the largest one of the round before."""
_FINEST = 2.0**-24
_GROUP = 4
_CHUNK = 2**17

Ring16 = NDArray[np.uint16]
Packed = NDArray[np.uint8]
Weights = NDArray[np.float32]


@plain
class Grid:
    """Width of ring elements in bits, and the step of each block of weights.

    A width of 0 stands for the ring of 32 bits, with one step for all.
    """

    width: int = 0
    steps: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return self.width > 0


def ring_width(bits: int, sites: int) -> int:
    """Return the width of ring elements, in bits, for sums over so many sites.

    Parameters
    ----------
    bits : of one site's number, 8 or 16; a ring of 16 bits leaves each of n sites 16 - log2(n).

    >>> [ring_width(8, sites) for sites in (3, 4, 5, 16, 17, 64, 300)], ring_width(16, 64)
    ([10, 10, 12, 12, 14, 14, 16], 16)
    """
    if bits == 16:
        return 16
    wide = bits + math.ceil(math.log2(max(sites, 1)))
    return min(wide + wide % 2, 16)


def largest_of_blocks(
    change: Weights, counted: NDArray[np.bool_] | None = None
) -> tuple[float, ...]:
    """Return the largest absolute value in each block of a vector (n,).

    Parameters
    ----------
    counted : (n,), which values count; None = all.
    """
    found = []
    for place, part in _blocks(change):
        if counted is not None:
            part = part[counted[place * BLOCK : place * BLOCK + part.size]]
        found.append(float(np.abs(part).max(initial=0.0)))
    return tuple(found)


def grid_for(largest: tuple[float, ...], width: int) -> Grid:
    """Return a grid with room for sums four times as large as those of the round before.

    Parameters
    ----------
    largest : by block, from `largest_of_blocks`; blocks that did not change get the finest step.
    width : from `ring_width`.
    """
    half = 2.0 ** (width - 1)
    return Grid(width, tuple(_power_of_two(_ROOM * most / half) for most in largest))


def _power_of_two(least: float) -> float:
    """Return the smallest power of two that is at least this, and at least the finest step."""
    if not least > _FINEST:
        return _FINEST
    fraction, power = math.frexp(least)
    return math.ldexp(1.0, power - 1 if fraction == 0.5 else power)


def on_grid(values: Weights, grid: Grid, sites: int) -> Weights:
    """Return the nearest values (n,) on a grid of which sums over this many sites still fit."""
    most = _most(grid.width, sites)
    found = np.empty_like(values)
    for place, part in _blocks(values):
        step = np.float32(grid.steps[place])
        multiples = np.clip(np.rint(part / step), -most, most)
        np.multiply(multiples, step, out=found[place * BLOCK : place * BLOCK + part.size])
    return found


def to_narrow(values: Weights, grid: Grid, sites: int) -> Ring16:
    """Return ring elements (n,) of values on a grid.

    Raises
    ------
    OverflowError : a value so large that the sum might wrap around.
    ValueError : values between the steps of the grid, or a grid of another size.
    """
    most = _most(grid.width, sites)
    ring = np.empty(values.size, dtype=np.uint16)
    _check_size(values.size, grid)
    for place, part in _blocks(values):
        multiples = part / np.float32(grid.steps[place])
        if not np.abs(multiples).max() <= most:
            raise OverflowError(f"a change of the weights is not within {grid.width} bits")
        whole = np.rint(multiples)
        if not np.array_equal(whole, multiples):
            raise ValueError("changes that are not on the grid")
        start = place * BLOCK
        ring[start : start + part.size] = whole.astype(np.int16).view(np.uint16)
    return ring


def from_narrow(total: Ring16, grid: Grid) -> Weights:
    """Return the float32 numbers (n,) that a sum of ring elements represents.

    Raises
    ------
    ValueError : a grid of another size.
    """
    _check_size(total.size, grid)
    numbers = np.empty(total.size, dtype=np.float32)
    for place, part in _blocks(numbers):
        own = signed(total[place * BLOCK : place * BLOCK + part.size], grid.width)
        np.multiply(own.view(np.int16), np.float32(grid.steps[place]), out=part)
    return numbers


def spread(ring: Ring16, width: int) -> Ring16:
    """Return ring elements modulo 2^width over all of 16 bits, as masked ones have to be spread."""
    return np.left_shift(ring, 16 - width)


def signed(ring: Ring16, width: int) -> Ring16:
    """Return ring elements modulo 2^width as the same numbers modulo 2^16, small ones negative too.

    >>> signed(np.array([1, 1023, 512, 511], dtype=np.uint16), 10).view(np.int16)
    array([   1,   -1, -512,  511], dtype=int16)
    """
    spare = 16 - width
    if not spare:
        return ring
    shifted = np.left_shift(ring, spare).view(np.int16)
    np.right_shift(shifted, spare, out=shifted)
    return shifted.view(np.uint16)


def packed_size(count: int, width: int) -> int:
    """Return the number of bytes of so many elements, padded to groups of four."""
    return -(-count // _GROUP) * width // 2


def pack(ring: Ring16, width: int) -> Packed:
    """Return the low bits of elements (n,) without gaps, four in `width / 2` bytes.

    >>> pack(np.array([1, 2, 3, 4], dtype=np.uint16), 10)
    array([ 1,  8, 48,  0,  1], dtype=uint8)
    """
    if width == 16:
        return np.ascontiguousarray(_padded(ring), dtype="<u2").view(np.uint8)
    taken, mask = width // 2, np.uint16(2**width - 1)
    padded = _padded(ring)
    found = np.empty((padded.size // _GROUP, taken), dtype=np.uint8)
    for start in range(0, padded.size, _CHUNK):
        groups = (padded[start : start + _CHUNK] & mask).reshape(-1, _GROUP)
        joined = groups[:, -1].astype("<u8")
        for place in reversed(range(_GROUP - 1)):
            joined <<= np.uint64(width)
            joined |= groups[:, place]
        rows = slice(start // _GROUP, start // _GROUP + joined.size)
        found[rows] = joined.view(np.uint8).reshape(-1, 8)[:, :taken]
    return found.reshape(-1)


def unpack(packed: Packed, count: int, width: int) -> Ring16:
    """Return elements (count,) in [0, 2^width) of what `pack` gave.

    Raises
    ------
    ValueError : bytes of another number, or padding that is not zero.
    """
    found = np.empty(count, dtype=np.uint16)
    for start, elements in _unpacked(packed, count, width):
        found[start : start + elements.size] = elements
    return found


def first_unpacked(packed: Packed, count: int, width: int, most: int) -> Ring16:
    """Return the first elements of what `pack` gave, as `unpack` does; its end is looked at too.

    Parameters
    ----------
    most : number of elements to return, a multiple of four, where there are so many.

    Raises
    ------
    ValueError : as `unpack` raises it.
    """
    _check_packed(packed, count, width)
    whole = max(count - 1, 0) // _GROUP * _GROUP
    unpack(packed[packed_size(whole, width) :], count - whole, width)
    first = min(whole, most) if count > most else count
    return unpack(packed[: packed_size(first, width)], first, width)


def add_packed(total: Ring16, packed: Packed, width: int) -> None:
    """Add to a total (n,), in place, what `pack` gave, a part of it in memory at a time.

    Raises
    ------
    ValueError : as `unpack` raises it; then some may have been added.
    """
    for start, elements in _unpacked(packed, total.size, width):
        own = total[start : start + elements.size]
        np.add(own, elements, out=own)


def _unpacked(packed: Packed, count: int, width: int) -> Iterator[tuple[int, Ring16]]:
    """Yield the elements in parts, each with its start."""
    _check_packed(packed, count, width)
    taken, mask = width // 2, np.uint16(2**width - 1)
    for start in range(0, count, _CHUNK):
        first = start // _GROUP * taken
        part = packed[first : first + _CHUNK // _GROUP * taken]
        if width == 16:
            elements = part.view("<u2").astype(np.uint16, copy=False)
        else:
            wide = np.zeros((part.size // taken, 8), dtype=np.uint8)
            wide[:, :taken] = part.reshape(-1, taken)
            joined = wide.view("<u8").reshape(-1)
            groups = np.empty((joined.size, _GROUP), dtype=np.uint16)
            for place in range(_GROUP):
                groups[:, place] = joined >> np.uint64(place * width)  # keeps the low 16 bits
            groups &= mask
            elements = groups.reshape(-1)
        if elements[count - start :].any():
            raise ValueError("padding that is not zero")
        yield start, elements[: count - start]


def _check_packed(packed: Packed, count: int, width: int) -> None:
    if packed.size != packed_size(count, width) or packed.dtype != np.uint8:
        raise ValueError(f"{packed.size} bytes for {count} numbers of {width} bits")


def _padded(ring: Ring16) -> Ring16:
    spare = -ring.size % _GROUP
    return np.concatenate([ring, np.zeros(spare, dtype=np.uint16)]) if spare else ring


def _blocks(values: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for place, start in enumerate(range(0, values.size, BLOCK)):
        yield place, values[start : start + BLOCK]


def _check_size(count: int, grid: Grid) -> None:
    if len(grid.steps) != -(-count // BLOCK):
        raise ValueError(f"{len(grid.steps)} steps for {count} weights in blocks of {BLOCK}")


def _most(width: int, sites: int) -> float:
    """Return the largest multiple of a step that one of so many sites may send."""
    return float(int(2.0 ** (width - 1) / max(sites, 1)) - 1)
