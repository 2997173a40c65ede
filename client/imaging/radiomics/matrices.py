"""Counts for GLCM, GLRLM, GLSZM, GLDM and NGTDM over the ROI and its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.levels import Levels

Counts = NDArray[np.int32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_DENSE_LEVELS = 1024
"""Levels up to which a matrix of pairs is dense; a CT in bins of 25 HU has a few hundred."""


@dataclass(frozen=True)
class Matrices:
    """Counts by rank of the grey level; empty levels are left out.

    Parameters
    ----------
    pairs : (angles, levels, levels) level and its next one; empty where there are too many levels.
    runs : (angles, levels, longest) runs by length - 1.
    dependences : (levels, 27) voxels by their number of equal neighbours.
    differences : (levels,) sum of distances to the mean of the neighbours.
    zones : (levels, sizes) connected zones of one level.
    zone_sizes : (sizes,) voxels of a zone, ascending.
    """

    pairs: Counts
    runs: Counts
    dependences: Ints
    differences: Doubles
    zones: Ints
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
        # row and column 0 take what is outside the ROI
        dense = n + 1 if n <= MOST_DENSE_LEVELS else 1
        pairs = np.zeros((len(region.steps), dense, dense), dtype=np.int32)
        runs = np.zeros((len(region.steps), n + 1, max(region.inside.shape)), dtype=np.int32)
        dependences = np.zeros((n, 27), dtype=np.int64)
        differences = np.zeros(n)
        _compare(
            levels.ranks,
            levels.present,
            region.places,
            region.steps,
            region.neighbours,
            dependences,
            differences,
        )
        _follow(levels.ranks, region.places, region.steps, pairs, runs)
        parents = _join(levels.ranks, region.places, region.padded[1], region.padded[2])
        zones, sizes = _zones(levels.ranks, region.places, parents, n)
        pairs, runs = np.ascontiguousarray(pairs[:, 1:, 1:]), runs[:, 1:]
        return Matrices(pairs, runs, dependences, differences, zones, sizes)


@compiled
def _compare(
    ranks: Counts,
    present: Ints,
    places: Ints,
    steps: Ints,
    neighbours: Counts,
    dependences: Ints,
    differences: Doubles,
) -> None:
    """Compare each voxel with its neighbours, for GLDM and NGTDM.

    Goes by stretches of voxels that lie side by side, so that a step is one loop over two arrays.
    """
    even = present[len(present) - 1] == len(present)
    total = np.empty(len(ranks), dtype=np.int64)
    equal = np.empty(len(ranks), dtype=np.int32)
    first = 0
    while first < len(places):
        last = first + 1
        while last < len(places) and places[last] == places[last - 1] + 1:
            last += 1
        n = last - first
        here = ranks[places[first] : places[first] + n]
        for i in range(n):
            total[i] = 0
            equal[i] = 0
        for a in range(len(steps)):
            for side in (-1, 1):
                start = places[first] + side * steps[a]
                there = ranks[start : start + n]
                if even:
                    for i in range(n):
                        total[i] += there[i]
                        equal[i] += there[i] == here[i]
                else:
                    for i in range(n):
                        equal[i] += there[i] == here[i]
                        if there[i] > 0:
                            total[i] += present[there[i] - 1]
        for i in range(n):
            rank = here[i] - 1
            dependences[rank, equal[i]] += 1
            if neighbours[first + i] > 0:
                differences[rank] += abs(present[rank] - total[i] / neighbours[first + i])
        first = last


@compiled
def _follow(ranks: Counts, places: Ints, steps: Ints, pairs: Counts, runs: Counts) -> None:
    """Count pairs and runs along each angle, for GLCM and GLRLM.

    A run counts where it ends. There are no branches: in noise they would be guessed wrong.
    """
    length = np.zeros(len(ranks), dtype=np.int32)
    dense = pairs.shape[1] > 1
    width, longest = pairs.shape[1], runs.shape[2]
    for a in range(len(steps)):
        step = steps[a]
        pair_counts = pairs[a].reshape(-1)
        run_counts = runs[a].reshape(-1)
        for i in range(len(places)):
            place = places[i]
            rank = ranks[place]
            after = ranks[place + step]
            run = (length[place - step] + 1) * (ranks[place - step] == rank)
            length[place] = run
            run_counts[rank * longest + run] += after != rank
            if dense:
                pair_counts[rank * width + after] += 1


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
def _zones(ranks: Counts, places: Ints, parents: Counts, levels: int) -> tuple[Ints, Ints]:
    """Return zones by level and size, and the sizes that occur."""
    sizes = np.zeros(len(ranks), dtype=np.int32)
    largest = 0
    for i in range(len(places)):
        root = _root(parents, places[i])
        sizes[root] += 1
        largest = max(largest, sizes[root])
    column = np.zeros(largest + 1, dtype=np.int64)
    for i in range(len(places)):
        column[sizes[places[i]]] = 1
    found = np.flatnonzero(column[1:]) + 1
    for i in range(len(found)):
        column[found[i]] = i
    zones = np.zeros((levels, len(found)), dtype=np.int64)
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
