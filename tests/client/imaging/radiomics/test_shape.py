"""Surface, volume and diameters against PyRadiomics' C code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radiomics import cShape

from client.imaging.radiomics.shape import diameters, surface_and_volume

SPACINGS = [(1.0, 1.0, 1.0), (2.7, 0.83, 0.97), (0.1, 5.0, 1 / 3)]


def assert_same(mask: np.ndarray, spacing: tuple[float, float, float]) -> None:
    padded = np.pad(mask, 1)
    steps = np.array(spacing)
    surface, volume, apart = cShape.calculate_coefficients(padded, steps)
    np.testing.assert_allclose(surface_and_volume(padded, spacing), (surface, volume), rtol=1e-10)
    np.testing.assert_allclose(diameters(padded, steps), apart, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 7)] * 3),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    st.integers(0, 2**32 - 1),
    st.sampled_from(SPACINGS),
)
def test_random_masks_have_the_mesh_of_pyradiomics(shape, filled, seed, spacing):
    random = np.random.default_rng(seed)
    mask = random.random(shape) < filled
    mask.reshape(-1)[random.integers(mask.size)] = True
    assert_same(mask, spacing)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_ball_has_the_mesh_of_pyradiomics(spacing):
    z, y, x = np.indices((19, 21, 23)) - 10
    assert_same(z * z + y * y + x * x < 81, spacing)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_sheet_far_from_the_origin_has_the_mesh_of_pyradiomics(axis):
    mask = np.zeros((40, 40, 40), dtype=bool)
    mask[tuple(37 if other == axis else slice(30, 39) for other in range(3))] = True
    assert_same(mask, SPACINGS[1])
