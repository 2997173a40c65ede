"""Positions as scanners and archives write them: rounded, but never with a slice missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from client.imaging.dicom.pixels import PixelDescription
from client.imaging.dicom.stack import Grid, Slice, place
from client.imaging.reading import PatientError, read_image

PIXELS = PixelDescription((8, 8), 16, 16, True, 0, 1.0, 0.0, "<", False)
OBLIQUE = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0)
# about x by 20 degrees and z by 10, with eight decimals
TURNED = (0.98480775, 0.17364818, 0.0, -0.16317591, 0.92541658, 0.34202014)
distances = st.floats(0.4, 6.0).map(lambda v: round(v, 4))


def stack(positions: np.ndarray, orientation: tuple[float, ...] = OBLIQUE) -> list[Slice]:
    made = [
        Slice(Path(f"{k}.dcm"), str(k), "1.2", (0.9, 0.8), orientation, position, PIXELS)
        for k, position in enumerate(positions)
    ]
    return sorted(made, key=lambda s: s.height)


def positions(
    count: int, distance: float, start: float, orientation: tuple[float, ...] = OBLIQUE
) -> np.ndarray:
    normal = np.cross(orientation[:3], orientation[3:])
    steps = start + distance * np.arange(count)
    return np.array([-120.3, 44.7, 0.0]) + np.outer(steps, normal)


@given(
    st.integers(2, 60),
    distances,
    st.floats(-500, 500),
    st.sampled_from([OBLIQUE, TURNED]),
)
@settings(max_examples=60, deadline=None)
def test_exact_positions_give_the_grid_they_were_made_of(count, distance, start, orientation):
    exact = positions(count, distance, start, orientation)
    grid = place(stack(exact, orientation), "ct")
    np.testing.assert_allclose(grid.spacing, (0.8, 0.9, distance), atol=1e-6)
    np.testing.assert_allclose(grid.origin, exact[0], atol=1e-6)


@given(st.integers(2, 60), distances, st.floats(-500, 500), st.sampled_from([OBLIQUE, TURNED]))
@example(14, 0.5029, 0.0, OBLIQUE)
@example(24, 0.625, 10.05, OBLIQUE)
@settings(max_examples=80, deadline=None)
def test_positions_rounded_to_a_tenth_give_the_even_grid_within_a_tenth(
    count, distance, start, orientation
):
    exact = positions(count, distance, start, orientation)
    grid = place(stack(np.round(exact, 1), orientation), "ct")
    normal = np.array(grid.direction).reshape(3, 3)[:, 2]
    found = np.array(grid.origin) + np.outer(grid.spacing[2] * np.arange(count), normal)
    assert np.linalg.norm(found - exact, axis=1).max() < 0.2
    assert abs(grid.spacing[2] - distance) * (count - 1) < 0.2


@given(st.integers(4, 40), distances, st.floats(-500, 500), st.data(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_missing_slice_is_refused_whether_positions_are_rounded_or_not(
    count, distance, start, data, rounded
):
    assume(not rounded or distance >= 0.6)
    exact = positions(count, distance, start)
    kept = np.delete(exact, data.draw(st.integers(1, count - 2)), axis=0)
    with pytest.raises(PatientError, match="missing or unevenly spaced slices"):
        place(stack(np.round(kept, 1) if rounded else kept), "ct")


@given(st.integers(3, 40), distances, st.floats(-500, 500), st.floats(0.06, 0.4), st.data())
@settings(max_examples=60, deadline=None)
def test_a_slice_off_its_place_is_refused_where_nothing_is_rounded(
    count, distance, start, off, data
):
    exact = positions(count, distance, start + 1 / 3)
    at = data.draw(st.integers(0, count - 1))
    exact[at] += np.cross(OBLIQUE[:3], OBLIQUE[3:]) * off * distance
    with pytest.raises(PatientError, match=r"unevenly spaced|same place"):
        place(stack(exact), "ct")


@given(st.integers(3, 60), distances, st.floats(0.5, 30), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_tilted_gantry_is_refused_whether_positions_are_rounded_or_not(
    count, distance, degrees, rounded
):
    shift = np.tan(np.radians(degrees)) * distance
    assume(shift * (count - 1) > 0.4)
    tilted = positions(count, distance, 12.3)
    tilted += np.outer(np.arange(count) * shift, OBLIQUE[3:])
    with pytest.raises(PatientError, match="gantry tilt"):
        place(stack(np.round(tilted, 1) if rounded else tilted), "ct")


def test_a_series_with_rounded_positions_is_read(ct):
    ct.distance = 1.25
    for k in range(6):
        ct.write(ct.slice(k), k)
        position = [round(float(v), 1) for v in ct.patient(0, 0, k)]
        ct.change(k, ImagePositionPatient=position)
    assert read_image(ct.folder).GetSpacing()[2] == pytest.approx(1.25, abs=0.02)


def test_the_grid_is_that_of_the_first_slice_where_positions_are_exact() -> None:
    """Bit by bit, so that features made of it stay what they were."""
    z = [-629.04, -625.77, -622.5]
    grid = place(stack(np.array([[1.95299600000001, 59.570154, v] for v in z])), "ct")
    assert isinstance(grid, Grid)
    assert grid.origin == (1.95299600000001, 59.570154, -629.04)
    assert grid.spacing[2] == (-622.5 - -629.04) / 2
