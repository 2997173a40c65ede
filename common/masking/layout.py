"""Sums of a statistic as two ring vectors: most parts in 64 bits, counts and ranks in 32.

A statistic may declare `bits = {part: 32}` for parts whose sums stay small; all others take 64. The
32-bit ring halves the traffic of the largest statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.masking.fixed_point import from_ring, to_ring
from common.messages.plain import plain
from common.statistics.base import Float, Sums, flatten

WIDTHS = (64, 32)


@plain
class RingSums:
    """Parts of 64 bits and of 32 bits of a statistic, each end to end."""

    ring64: NDArray[np.uint64]
    ring32: NDArray[np.uint32]


def end_to_end(parts: Iterable[RingSums]) -> RingSums:
    """Join the sums of several statistics as one pair of vectors, in order."""
    own = list(parts)
    return RingSums(
        ring64=np.concatenate([np.zeros(0, dtype=np.uint64), *(part.ring64 for part in own)]),
        ring32=np.concatenate([np.zeros(0, dtype=np.uint32), *(part.ring32 for part in own)]),
    )


def taken_apart(whole: RingSums, statistics: Sequence[tuple[Any, int]]) -> list[RingSums]:
    """Cut what `end_to_end` joined into the sums of each statistic, without copies.

    Parameters
    ----------
    statistics : each with the number of columns of its table.

    Raises
    ------
    ValueError : vectors of another length.
    """
    found, at64, at32 = [], 0, 0
    for statistic, p in statistics:
        own64, own32 = sizes(statistic, p)
        part64, part32 = whole.ring64[at64 : at64 + own64], whole.ring32[at32 : at32 + own32]
        found.append(RingSums(part64, part32))
        at64, at32 = at64 + own64, at32 + own32
    if (at64, at32) != (whole.ring64.size, whole.ring32.size):
        raise ValueError("sums of another length than their statistics have together")
    return found


def sizes(statistic: Any, p: int) -> tuple[int, int]:
    """Return the lengths of the 64-bit and the 32-bit vector for a table of `p` columns."""
    shapes = statistic.shapes(p)
    ring64, ring32 = (
        sum(_size(shapes[part]) for part in _parts(statistic, shapes, bits)) for bits in WIDTHS
    )
    return ring64, ring32


def to_rings(statistic: Any, sums: Sums, p: int, sites: int) -> RingSums:
    """Return a site's sums as ring elements.

    Parameters
    ----------
    sums : from `from_rows`, over a table of `p` columns.
    sites : number of sites whose sums are added.

    Raises
    ------
    ValueError : parts that are not those declared, or not finite.
    OverflowError : a number too large for its ring.
    """
    shapes = statistic.shapes(p)
    flatten(sums, shapes)
    rings = []
    for bits in WIDTHS:
        own = _parts(statistic, shapes, bits)
        values = np.concatenate([np.zeros(0), *(sums[part].ravel() for part in own)])
        rings.append(to_ring(values, _steps(statistic, shapes, own), sites, bits))
    return RingSums(ring64=rings[0], ring32=rings[1])


def from_rings(statistic: Any, total: RingSums, p: int) -> Sums:
    """Return the sums that added ring elements represent, in the declared order of parts.

    Raises
    ------
    ValueError : vectors of another size.
    """
    shapes = statistic.shapes(p)
    if (total.ring64.size, total.ring32.size) != sizes(statistic, p):
        raise ValueError("the sums are not of the size the statistic declares")
    found: dict[str, Float] = {}
    rings: tuple[NDArray[Any], ...] = (total.ring64, total.ring32)
    for bits, ring in zip(WIDTHS, rings, strict=True):
        own = _parts(statistic, shapes, bits)
        values = from_ring(ring, _steps(statistic, shapes, own))
        start = 0
        for part in own:
            size = _size(shapes[part])
            found[part] = values[start : start + size].reshape(shapes[part])
            start += size
    return {part: found[part] for part in shapes}


def _parts(statistic: Any, shapes: Mapping[str, tuple[int, ...]], bits: int) -> list[str]:
    declared = getattr(statistic, "bits", {})
    return [part for part in shapes if declared.get(part, 64) == bits]


def _steps(statistic: Any, shapes: Mapping[str, tuple[int, ...]], parts: list[str]) -> Float:
    each = [np.full(_size(shapes[part]), statistic.step[part]) for part in parts]
    return np.concatenate([np.zeros(0), *each])


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
