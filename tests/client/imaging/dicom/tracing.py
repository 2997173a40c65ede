"""Contours of a mask as other tools write them: from voxel centre to centre, or along the edges."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy import ndimage

# neighbours in clockwise order, as (row, column), rows pointing down
AROUND = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]


def through_centres(mask: np.ndarray) -> list[np.ndarray]:
    """Outer and inner borders by Suzuki and Abe (1985), as OpenCV's findContours; (column, row)."""
    padded = np.pad(mask, 1)
    found = []
    parts, count = ndimage.label(padded, structure=np.ones((3, 3)))
    for number in range(1, count + 1):
        row, column = np.argwhere(parts == number)[0]
        found.append(_border(padded, (row, column), (row, column - 1)))
    holes, count = ndimage.label(~padded)
    for number in range(1, count + 1):
        if number != holes[0, 0]:
            row, column = np.argwhere(holes == number)[0]
            found.append(_border(padded, (row, column - 1), (row, column)))
    return [np.array([(column - 1, row - 1) for row, column in path], float) for path in found]


def _border(
    mask: np.ndarray, start: tuple[int, int], outside: tuple[int, int]
) -> list[tuple[int, int]]:
    def at(centre: tuple[int, int], way: int) -> tuple[int, int]:
        return centre[0] + AROUND[way % 8][0], centre[1] + AROUND[way % 8][1]

    def way_to(centre: tuple[int, int], other: tuple[int, int]) -> int:
        return AROUND.index((other[0] - centre[0], other[1] - centre[1]))

    begin = way_to(start, outside)
    first = next((at(start, begin + k) for k in range(8) if mask[at(start, begin + k)]), None)
    if first is None:
        return [start]
    path, before, here = [start], first, start
    while True:
        back = way_to(here, before)
        after = next(at(here, back - k) for k in range(1, 9) if mask[at(here, back - k)])
        if after == start and here == first:
            return path
        path.append(after)
        before, here = here, after


def without_corners_between(path: np.ndarray) -> np.ndarray:
    """The ends of straight runs alone (CHAIN_APPROX_SIMPLE)."""
    into, out = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    kept = path[(into != out).any(axis=1)]
    return kept if len(kept) else path


def along_edges(mask: np.ndarray) -> list[np.ndarray]:
    """Loops along the edges of pixels, the mask on their right; (column, row)."""
    padded = np.pad(mask, 1)
    ways = {(-1, 0): ((0, 0), (0, 1)), (0, 1): ((0, 1), (1, 1))}
    ways |= {(1, 0): ((1, 1), (1, 0)), (0, -1): ((1, 0), (0, 0))}
    starts: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for row, column in np.argwhere(padded):
        for side, ((r1, c1), (r2, c2)) in ways.items():
            if not padded[row + side[0], column + side[1]]:
                starts[row + r1, column + c1].append((row + r2, column + c2))
    loops = []
    while starts:
        here = next(iter(starts))
        loop, way = [here], (0, 0)
        while True:
            ahead = starts[here]
            # where two pixels touch at a corner, stay with the same one: turn right
            turn = (way[1], -way[0])
            right = (here[0] + turn[0], here[1] + turn[1])
            after = right if right in ahead else ahead[0]
            ahead.remove(after)
            if not ahead:
                del starts[here]
            way, here = (after[0] - here[0], after[1] - here[1]), after
            if here == loop[0]:
                break
            loop.append(here)
        loops.append(np.array([(column - 1.5, row - 1.5) for row, column in loop], float))
    return loops
