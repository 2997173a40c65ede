"""Counts against PyRadiomics' C code, on masks and levels drawn at random."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from radiomics import cMatrices

from client.imaging.radiomics.levels import ROOM, Levels
from client.imaging.radiomics.matrices import Texture
from client.imaging.radiomics.region import bounding_box, region


@st.composite
def drawn(draw):
    """Return levels (0 outside) of a few voxels in a small box, with every axis that can be 1."""
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    highest = draw(st.integers(1, 5))
    values = random.integers(1, highest + 1, shape)
    filled = random.random(shape) < draw(st.sampled_from([0.2, 0.6, 1.0]))
    filled.reshape(-1)[random.integers(filled.size)] = True
    return np.where(filled, values, 0)[bounding_box(filled)]


def texture(levels: np.ndarray) -> Texture:
    where = region(levels > 0)
    inside = levels[levels > 0]
    present, counts = np.unique(inside, return_counts=True)
    ranks = np.zeros(int(np.prod(where.padded)) + ROOM, dtype=np.int32)
    ranks[where.places] = np.searchsorted(present, inside) + 1
    return Texture(Levels(where, present, counts, ranks))


@settings(max_examples=150, deadline=None)
@given(drawn())
def test_counts_are_those_of_pyradiomics(levels):
    ours = texture(levels)
    made, present = ours.matrices, ours.levels.present
    mask, highest = levels > 0, int(levels.max())
    distances, rows = np.array([1]), present - 1
    if len(ours.levels.region.angles):
        pairs, angles = cMatrices.calculate_glcm(levels, mask, distances, highest, False, 0)
        np.testing.assert_array_equal(ours.levels.region.angles, angles)
        np.testing.assert_array_equal(
            made.pairs, pairs[0][rows][:, rows].transpose(2, 1, 0), "pairs"
        )
        length = max(levels.shape)
        runs, _ = cMatrices.calculate_glrlm(levels, mask, highest, length, False, 0)
        kept = made.runs * ours.levels.region.crossed[:, None, None]
        np.testing.assert_array_equal(kept, runs[0][rows].transpose(2, 0, 1), "runs")
        zones = cMatrices.calculate_glszm(levels, mask, highest, int(mask.sum()), False, 0)[0]
        np.testing.assert_array_equal(made.zones, zones[rows][:, made.zone_sizes - 1], "zones")
        assert zones.sum() == made.zones.sum()
        alike = cMatrices.calculate_gldm(levels, mask, distances, highest, 0, False, 0)[0]
        alike = np.pad(alike, ((0, 0), (0, 27)))[rows][:, :27]
        np.testing.assert_array_equal(made.dependences, alike, "dependences")
        apart = cMatrices.calculate_ngtdm(levels, mask, distances, highest, False, 0)[0]
        np.testing.assert_array_equal(made.differences, apart[rows, 1], "differences")
