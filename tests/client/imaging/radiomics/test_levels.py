"""Binning against `numpy.digitize` on PyRadiomics' edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from radiomics.imageoperations import binImage

from client.imaging.radiomics.levels import levels_of
from client.imaging.radiomics.region import region

LINE = region(np.ones((1, 1, 30), dtype=bool))


def assert_binned(values: np.ndarray, width: float) -> None:
    levels = levels_of(values, LINE, {"binWidth": width})
    expected, _ = binImage(values, np.ones(len(values), dtype=bool), binWidth=width)
    present, counts = np.unique(expected, return_counts=True)
    np.testing.assert_array_equal(levels.present, present)
    np.testing.assert_array_equal(levels.counts, counts)
    np.testing.assert_array_equal(present[levels.ranks[LINE.places] - 1], expected)


@given(
    arrays.arrays(
        np.float32, 30, elements=st.floats(-2000, 4000, width=32).map(lambda x: np.float32(x))
    ),
    st.sampled_from([25, 25.0, 0.1, 7]),
)
def test_levels_are_those_of_pyradiomics(values, width):
    assert_binned(values, width)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_values_on_the_edges_fall_into_the_upper_bin(kind):
    assert_binned((np.arange(30) * 25 - 200).astype(kind), 25)


@pytest.mark.parametrize("value", [0, 25, -25, 12.5, 1e6])
def test_a_flat_roi_has_one_level(value):
    assert_binned(np.full(30, value, dtype=np.float32), 25)


@pytest.mark.parametrize("step", [0.1, 1 / 3, 25 * (1 + 1e-7)])
def test_values_beside_the_edges_are_on_the_side_that_numpy_says(step):
    edges = (np.arange(10) * step).astype(np.float32)
    beside = [edges, np.nextafter(edges, np.float32(9e9)), np.nextafter(edges, np.float32(-9e9))]
    assert_binned(np.concatenate(beside), step)
