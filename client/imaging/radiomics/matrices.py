"""Counts for GLCM, GLRLM, GLSZM, GLDM and NGTDM over the ROI and its neighbours."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.levels import ROOM, Levels

Counts = NDArray[np.int32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint32]
Index = np.uint64

MOST_DENSE_LEVELS = 1024
"""Levels up to which a matrix of pairs is dense; a CT in bins of 25 HU has a few hundred."""

_SMALL_TABLE = 4096
"""Entries of a table that is held twice while counting."""


@dataclass(frozen=True)
class Matrices:
    """Counts by rank of the grey level; empty levels are left out.

    Parameters
    ----------
    pairs : (angles, levels, levels) level and the one before; empty with too many levels.
    runs : (angles, levels, longest) runs by length - 1.
    dependences : (levels, 27) voxels by their number of equal neighbours.
    differences : (levels,) sum of distances to the mean of the neighbours.
    zones : (levels, sizes) connected zones of one level.
    zone_sizes : (sizes,) voxels of a zone, ascending.
    """

    pairs: Counts
    runs: Counts
    dependences: Counts
    differences: Doubles
    zones: Counts
    zone_sizes: Ints


class Texture:
    """The matrices of an image's levels, counted when the first class asks for them."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels

    @cached_property
    def matrices(self) -> Matrices:
        """Count everything."""
        levels = self.levels
        region, n = levels.region, len(levels.present)
        longest = max(region.inside.shape)
        dependences = np.zeros((n, 27), dtype=np.int32)
        differences = np.zeros(n)
        _compare(
            levels.ranks,
            levels.present,
            region.places,
            region.stretches,
            region.steps,
            region.neighbours,
            longest,
            dependences,
            differences,
        )
        pairs, runs = _follow(
            levels.ranks,
            region.places,
            region.stretches,
            region.steps,
            n,
            longest,
            n <= MOST_DENSE_LEVELS,
        )
        parents = _join(levels.ranks, region.places, region.padded[1], region.padded[2])
        zones, sizes = _zones(levels.ranks, region.places, parents, n)
        return Matrices(pairs, runs, dependences, differences, zones, sizes)


@compiled
def _compare(
    ranks: Counts,
    present: Ints,
    places: Ints,
    stretches: Ints,
    steps: Ints,
    neighbours: Counts,
    longest: int,
    dependences: Counts,
    differences: Doubles,
) -> None:
    """Compare each voxel with its neighbours, for GLDM and NGTDM.

    Works on stretches of voxels that lie side by side, so that a step is one loop over the array.
    """
    total = np.empty(longest + ROOM, dtype=np.int32)
    equal = np.empty(longest + ROOM, dtype=np.int32)
    gray = ranks
    if present[len(present) - 1] != len(present):
        level = np.zeros(len(present) + 1, dtype=np.int32)
        for i in range(len(present)):
            level[i + 1] = present[i]
        gray = np.empty(len(ranks), dtype=np.int32)
        for i in range(len(ranks)):
            gray[i] = level[ranks[i]]
    for stretch in range(len(stretches) - 1):
        first, n = places[stretches[stretch]], stretches[stretch + 1] - stretches[stretch]
        for i in range(longest + ROOM):
            total[i] = 0
            equal[i] = 0
        for a in range(len(steps)):
            _add_neighbours(
                gray, np.uint64(first), np.uint64(steps[a]), np.uint64(_up(n)), total, equal
            )
        for i in range(n):
            rank = ranks[first + i] - 1
            dependences[rank, equal[i]] += 1
            around = neighbours[stretches[stretch] + i]
            if around > 0:
                differences[rank] += abs(present[rank] - total[i] / around)


@compiled
def _up(n: int) -> int:
    """Round up to whole vectors; the extra voxels are counted again, or never used."""
    return (n + ROOM - 1) // ROOM * ROOM


@compiled
def _add_neighbours(
    gray: Counts, first: Index, step: Index, n: Index, total: Counts, equal: Counts
) -> None:
    """Add the levels of the two neighbours along a step, and how many are the voxel's own.

    Indices are unsigned and arrays whole: a slice, or a sign, takes longer than a short stretch.
    """
    for i in range(n):
        here, before, after = gray[first + i], gray[first - step + i], gray[first + step + i]
        total[i] += before + after
        equal[i] += (before == here) + (after == here)


@compiled
def _follow(
    ranks: Counts,
    places: Ints,
    stretches: Ints,
    steps: Ints,
    levels: int,
    longest: int,
    dense: bool,
) -> tuple[Counts, Counts]:
    """Count pairs and runs along each angle, for GLCM and GLRLM.

    Each voxel counts once: by its level and the other one before it, or, where that is the same,
    by its level and its position in the run. All runs of more than k voxels have a voxel at
    position k, and pairs of one level are the positions but the first.
    """
    others = levels + 1 if dense else 1
    keep = np.int32(-1 if dense else 0)
    width = others + longest - 1
    size = levels * width
    # neighbours often count in one place, where one increment would wait for the other
    second = size if size <= _SMALL_TABLE else 0
    counts = np.zeros(size + second, dtype=np.int32)
    apart = counts[second:]
    positions = np.zeros(len(ranks), dtype=np.int32)
    keys = np.empty(longest + ROOM, dtype=np.uint32)
    n_pairs = levels if dense else 0
    pairs = np.zeros((len(steps), n_pairs, n_pairs), dtype=np.int32)
    runs = np.zeros((len(steps), levels, longest), dtype=np.int32)
    for a in range(len(steps)):
        step = np.uint64(steps[a])
        counts[:] = 0
        for stretch in range(len(stretches) - 1):
            first = np.uint64(places[stretches[stretch]])
            n = stretches[stretch + 1] - stretches[stretch]
            if steps[a] == 1:
                _number_row(keys, ranks, first, np.uint64(n), width, others - 1, keep)
            else:
                many = np.uint64(_up(n))
                _number(keys, positions, ranks, first, step, many, width, others - 1, keep)
            for i in range(n // 2):
                counts[keys[2 * i]] += 1
                apart[keys[2 * i + 1]] += 1
            if n % 2:
                counts[keys[n - 1]] += 1
        for i in range(second):
            counts[i] += apart[i]
        _spread(counts, width, others, pairs[a], runs[a])
    return pairs, runs


@compiled
def _number(
    keys: Keys,
    positions: Counts,
    ranks: Counts,
    first: Index,
    step: Index,
    n: Index,
    width: int,
    columns: int,
    keep: np.int32,
) -> None:
    """Number the place in the table where each voxel counts, and keep its position in its run."""
    for i in range(n):
        here, before = ranks[first + i], ranks[first - step + i]
        position = positions[first - step + i] + 1 if before == here else 0
        positions[first + i] = position
        column = columns + position if position > 0 else before & keep
        keys[i] = (here - 1) * width + column


@compiled
def _number_row(
    keys: Keys, ranks: Counts, first: Index, n: Index, width: int, columns: int, keep: np.int32
) -> None:
    """Do the same along the stretch itself, one voxel after the other."""
    before, position = 0, 0
    for i in range(n):
        here = ranks[first + i]
        position = position + 1 if before == here else 0
        column = columns + position if position > 0 else before & keep
        before = here
        keys[i] = (here - 1) * width + column


@compiled
def _spread(counts: Counts, width: int, others: int, pairs: Counts, runs: Counts) -> None:
    """Turn one angle's counts into pairs (level, level before) and runs (level, length - 1)."""
    longest = runs.shape[1]
    for level in range(len(runs)):
        row = counts[level * width : (level + 1) * width]
        begun = 0
        for column in range(others):
            begun += row[column]
        inner = 0
        for k in range(1, longest):
            there = row[others + k - 1]
            runs[level, k - 1] = begun - there
            inner += there
            begun = there
        runs[level, longest - 1] = begun
        for other in range(len(pairs)):
            pairs[level, other] = row[other + 1]
        if len(pairs):
            pairs[level, level] = inner


@compiled
def _root(parents: Counts, place: int) -> int:
    """Return the first voxel of a zone, and shorten the way to it."""
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


@compiled
def _join(ranks: Counts, places: Ints, height: int, width: int) -> Counts:
    """Join neighbours of one level into zones, for GLSZM; each voxel is given its zone's first.

    The voxel right below touches all other neighbours that come earlier, so where it is of the
    same level they are joined already; the one before in the slice touches all but three.
    """
    parents = np.zeros(len(ranks), dtype=np.int32)
    plane = height * width
    for i in range(len(places)):
        place = places[i]
        rank = ranks[place]
        parents[place] = place
        if ranks[place - plane] == rank:
            parents[place] = _root(parents, place - plane)
            continue
        for dy in (-1, 0, 1):
            row = place - plane + dy * width
            if dy == 0:
                # the voxel right below is of another level
                _link(ranks, parents, place, row - 1)
                _link(ranks, parents, place, row + 1)
            elif ranks[row] == rank:
                _link(ranks, parents, place, row)
            else:
                _link(ranks, parents, place, row - 1)
                _link(ranks, parents, place, row + 1)
        row = place - width
        if ranks[row] == rank:
            _link(ranks, parents, place, row)
        else:
            _link(ranks, parents, place, row - 1)
            _link(ranks, parents, place, row + 1)
            _link(ranks, parents, place, place - 1)
    return parents


@compiled
def _link(ranks: Counts, parents: Counts, place: int, other: int) -> None:
    """Join the zones of two voxels if they are of one level."""
    if ranks[other] == ranks[place]:
        one = _root(parents, place)
        two = _root(parents, other)
        if one < two:
            parents[two] = one
        elif two < one:
            parents[one] = two


@compiled
def _zones(ranks: Counts, places: Ints, parents: Counts, levels: int) -> tuple[Counts, Ints]:
    """Return zones by level and size, and the sizes that occur.

    A voxel's way leads to earlier ones only, so theirs are one step long when it is looked at.
    """
    sizes = np.zeros(len(ranks), dtype=np.int32)
    largest = 0
    for i in range(len(places)):
        root = parents[parents[places[i]]]
        parents[places[i]] = root
        sizes[root] += 1
        largest = max(largest, sizes[root])
    column = np.zeros(largest + 1, dtype=np.int64)
    for i in range(len(places)):
        column[sizes[places[i]]] = 1
    found = np.flatnonzero(column[1:]) + 1
    for i in range(len(found)):
        column[found[i]] = i
    zones = np.zeros((levels, len(found)), dtype=np.int32)
    for i in range(len(places)):
        size = sizes[places[i]]
        if size > 0:
            zones[ranks[places[i]] - 1, column[size]] += 1
    return zones, found


@compiled
def pair_keys(ranks: Counts, places: Ints, step: int, levels: int) -> Ints:
    """Return one number for each pair of neighbours along a step, both ways round."""
    keys = np.empty(2 * len(places), dtype=np.int64)
    n = 0
    for i in range(len(places)):
        one = ranks[places[i]] - 1
        two = ranks[places[i] + step] - 1
        if two >= 0:
            keys[n] = one * levels + two
            keys[n + 1] = two * levels + one
            n += 2
    return keys[:n]


@dataclass(frozen=True)
class Seen:
    """One image type, the input of the feature classes.

    Parameters
    ----------
    values : (n,) of the ROI's voxels in raster order.
    spacing : x, y, z in mm.
    texture : its levels and their matrices.
    settings : PyRadiomics' settings for this image type.
    """

    values: NDArray[Any]
    spacing: tuple[float, ...]
    texture: Texture
    settings: Mapping[str, Any]


@cache
def names_of(kind: Hashable) -> dict[str, bool]:
    """Return a class's features, and whether each is deprecated; cached per process."""
    found: dict[str, bool] = cast(Any, kind).getFeatureNames()
    return found
