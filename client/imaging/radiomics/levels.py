"""Grey levels of one image inside the ROI: binned once, for every feature class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from radiomics.imageoperations import getBinEdges

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.region import Region

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

ROOM = 8
"""Extra voxels at the end, so that loops end with a whole vector."""


@dataclass(frozen=True)
class Levels:
    """Grey levels of an image, for the texture classes.

    Parameters
    ----------
    region : the ROI.
    present : the grey levels that occur, ascending; PyRadiomics counts them from 1.
    counts : voxels of each of them.
    ranks : (padded bounding box, flat, and ROOM) 1 + position in `present`, 0 outside the ROI.
    """

    region: Region
    present: Ints
    counts: Ints
    ranks: NDArray[np.int32]


def levels_of(values: NDArray[Any], region: Region, settings: Mapping[str, Any]) -> Levels:
    """Bin the ROI's values, which have to be finite.

    The edges are PyRadiomics' own, made from the smallest and the largest value, which PyRadiomics
    finds with Python's `min` and `max` over all values.
    """
    ends = np.array([values.min(), values.max()])
    edges = np.asarray(getBinEdges(ends, **settings))
    bins, counts = binned(values.astype(np.float64), edges.astype(np.float64))
    present = np.flatnonzero(counts)
    ranks = np.zeros(int(np.prod(region.padded)) + ROOM, dtype=np.int32)
    _place(bins, present, len(counts), region.places, ranks)
    return Levels(region, present, counts[present], ranks)


@compiled
def binned(values: Doubles, edges: Doubles) -> tuple[NDArray[np.int32], Ints]:
    """Return `numpy.digitize` for even edges, and how often each bin occurs.

    The bin is guessed by a division and corrected by comparing with the edges themselves.
    """
    n = len(edges)
    width = (edges[n - 1] - edges[0]) / (n - 1)
    bins = np.empty(len(values), dtype=np.int32)
    counts = np.zeros(n + 1, dtype=np.int64)
    for i in range(len(values)):
        value = values[i]
        guess = int((value - edges[0]) / width) + 1
        guess = min(max(guess, 0), n)
        while guess > 0 and value < edges[guess - 1]:
            guess -= 1
        while guess < n and value >= edges[guess]:
            guess += 1
        bins[i] = guess
        counts[guess] += 1
    return bins, counts


@compiled
def _place(
    bins: NDArray[np.int32], present: Ints, n: int, places: Ints, ranks: NDArray[np.int32]
) -> None:
    """Write each voxel's rank among the levels that occur into the padded box."""
    rank = np.zeros(n, dtype=np.int32)
    for i in range(len(present)):
        rank[present[i]] = i + 1
    for i in range(len(places)):
        ranks[places[i]] = rank[bins[i]]
