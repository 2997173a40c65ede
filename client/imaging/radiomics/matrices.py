"""Counts for GLCM, GLRLM, GLSZM, GLDM and NGTDM in one pass over the ROI and its neighbours."""

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
        dense = n if n <= MOST_DENSE_LEVELS else 0
        pairs = np.zeros((len(region.steps), dense, dense), dtype=np.int32)
        runs = np.zeros((len(region.steps), n, max(region.inside.shape)), dtype=np.int32)
        dependences = np.zeros((n, 27), dtype=np.int64)
        differences = np.zeros(n)
        parents = np.zeros(len(levels.ranks), dtype=np.int32)
        _count(
            levels.ranks,
            levels.present,
            region.places,
            region.steps,
            region.neighbours,
            region.padded[1] * region.padded[2],
            pairs,
            runs,
            dependences,
            differences,
            parents,
        )
        zones, sizes = _zones(levels.ranks, region.places, parents, n)
        return Matrices(pairs, runs, dependences, differences, zones, sizes)


@compiled
def _root(parents: Counts, place: int) -> int:
    """Return the first voxel of a zone, and shorten the way to it."""
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


@compiled
def _count(
    ranks: Counts,
    present: Ints,
    places: Ints,
    steps: Ints,
    neighbours: Counts,
    plane: int,
    pairs: Counts,
    runs: Counts,
    dependences: Ints,
    differences: Doubles,
    parents: Counts,
) -> None:
    """Visit each voxel and its 26 neighbours once, in raster order.

    `length[p, a]` is that of the run along angle a which ends at voxel p so far; two planes are
    remembered, as no step goes farther back.
    """
    ring = 2 * plane
    n_angles = len(steps)
    length = np.zeros((ring, n_angles), dtype=np.int32)
    dense = pairs.shape[1] > 0
    for i in range(len(places)):
        place = places[i]
        rank = ranks[place]
        slot = place % ring
        parents[place] = place
        root = place
        total = 0
        equal = 0
        for a in range(n_angles):
            after = ranks[place + steps[a]]
            before = ranks[place - steps[a]]
            run = 0
            if before > 0:
                total += present[before - 1]
                if before == rank:
                    equal += 1
                    back = slot - steps[a]
                    if back < 0:
                        back += ring
                    run = length[back, a] + 1
                    other = _root(parents, place - steps[a])
                    if other < root:
                        parents[root] = other
                        root = other
                    elif other > root:
                        parents[other] = root
            if after > 0:
                total += present[after - 1]
                if dense:
                    pairs[a, rank - 1, after - 1] += 1
            if after == rank:
                equal += 1
                length[slot, a] = run
            else:
                runs[a, rank - 1, run] += 1
        dependences[rank - 1, equal] += 1
        if neighbours[i] > 0:
            differences[rank - 1] += abs(present[rank - 1] - total / neighbours[i])


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
