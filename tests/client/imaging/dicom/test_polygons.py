from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Curve
from matplotlib.transforms import Bbox

from client.imaging.dicom.polygons import (
    combine,
    crossed_over,
    interior,
    near_path,
    outline,
    overlap_in_part,
)

SHAPE = (12, 16)
NO_REACH = (0.0, 0.0)
ROUND = (0.249, 0.251)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=float)


def pixels(rows: slice, columns: slice) -> np.ndarray:
    plane = np.zeros(SHAPE, dtype=bool)
    plane[rows, columns] = True
    return plane


def test_a_pixel_is_in_when_its_centre_is():
    np.testing.assert_array_equal(
        interior(box(2.4, 3.4, 6.6, 5.6), SHAPE), pixels(slice(4, 6), slice(3, 7))
    )


corners = st.lists(
    st.tuples(st.integers(-64, 576), st.integers(-64, 448)).map(lambda p: (p[0] / 32, p[1] / 32)),
    min_size=3,
    max_size=12,
)


@given(corners)
def test_the_even_odd_rule_agrees_with_another_implementation_of_it(points):
    polygon = np.add(points, (0.0123, 0.0217))  # off the centres, where rules differ
    rows, columns = np.indices(SHAPE)
    inside = np.zeros(SHAPE, dtype=bool)
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        with np.errstate(all="ignore"):
            right = columns < (x2 - x1) * (rows - y1) / (y2 - y1) + x1
        inside ^= ((y1 > rows) != (y2 > rows)) & right
    np.testing.assert_array_equal(interior(polygon, SHAPE), inside)


def test_a_star_shaped_contour_agrees_with_matplotlib():
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    radius = 4 + np.sin(5 * angle)
    polygon = np.stack([7.3 + radius * np.cos(angle), 5.6 + radius * np.sin(angle)], axis=1)
    centres = np.stack(np.indices(SHAPE)[::-1], axis=-1).reshape(-1, 2)
    expected = Curve(np.vstack([polygon, polygon[:1]])).contains_points(centres).reshape(SHAPE)
    np.testing.assert_array_equal(interior(polygon, SHAPE), expected)


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out():
    left, right = box(1, 2, 6, 8), box(6, 2, 11, 8)
    whole = interior(box(1, 2, 11, 8), SHAPE)
    np.testing.assert_array_equal(interior(left, SHAPE) ^ interior(right, SHAPE), whole)
    assert not (interior(left, SHAPE) & interior(right, SHAPE)).any()


def test_a_polygon_within_another_is_a_hole_and_one_within_it_is_in_again():
    ring = [box(0.5, 0.5, 12.5, 10.5), box(3.5, 2.5, 10.5, 8.5), box(5.5, 4.5, 7.5, 6.5)]
    expected = pixels(slice(1, 11), slice(1, 13))
    expected &= ~pixels(slice(3, 9), slice(4, 11))
    expected |= pixels(slice(5, 7), slice(6, 8))
    np.testing.assert_array_equal(combine(ring, [False] * 3, SHAPE), expected)
    assert not overlap_in_part(ring, SHAPE, NO_REACH)


def test_a_keyhole_is_a_hole():
    outer, hole = box(0.5, 0.5, 12.5, 10.5), box(3.5, 2.5, 10.5, 8.5)
    keyhole = np.vstack([outer, outer[:1], hole[:1], hole[::-1], outer[:1]])
    apart = combine([outer, hole], [False, False], SHAPE)
    np.testing.assert_array_equal(combine([keyhole], [False], SHAPE), apart)


def test_a_path_led_along_the_rim_of_a_mask_gives_back_the_mask():
    path = np.array([(3, 2), (8, 2), (9, 3), (9, 7), (6, 9), (3, 9)], dtype=float)
    mask = combine([path], [True], SHAPE)
    assert mask[2, 3:9].all() and mask[2:10, 3].all() and mask[9, 3:7].all() and mask[3:8, 9].all()
    assert mask.sum() == np.count_nonzero(interior(path, SHAPE) | outline(path, SHAPE))


@pytest.mark.parametrize("dot", [[(5, 4)], [(5, 4), (7, 4)]])
def test_a_traced_dot_or_line_is_its_pixels(dot):
    found = combine([np.array(dot, dtype=float)], [True], SHAPE)
    np.testing.assert_array_equal(found, pixels(slice(4, 5), slice(5, dot[-1][0] + 1)))


@pytest.mark.parametrize(
    ("other", "ambiguous"),
    [
        (box(5.5, 3.5, 14.5, 8.5), True),  # half in, half out
        (box(1.5, 1.5, 8.5, 9.5), True),  # the same again
        (box(9.5, 1.5, 13.5, 9.5), False),  # beside it
        (box(3.5, 3.5, 6.5, 6.5), False),  # a hole
    ],
)
def test_only_a_partial_overlap_and_a_repetition_are_ambiguous(other, ambiguous):
    assert overlap_in_part([box(1.5, 1.5, 8.5, 9.5), other], SHAPE, NO_REACH) is ambiguous


def test_a_hole_no_farther_from_the_rim_than_rounding_reaches_is_the_contour_again():
    drawn, again = box(1.55, 1.5, 8.5, 9.5), box(1.5, 1.5, 8.5, 8.95)
    assert not overlap_in_part([drawn, again], SHAPE, NO_REACH)
    assert overlap_in_part([drawn, again], SHAPE, (0.6, 0.6))


@given(corners, st.tuples(st.floats(0.001, 0.4), st.floats(0.001, 0.4)), st.integers(0, 999))
def test_only_pixels_near_the_path_change_sides_when_corners_move(points, reach, seed):
    polygon = np.array(points)
    moved = polygon + np.random.default_rng(seed).uniform(-1, 1, polygon.shape) * reach
    changed = interior(polygon, SHAPE) ^ interior(moved, SHAPE)
    near = near_path(polygon, SHAPE, (reach[0] + 1e-9, reach[1] + 1e-9))
    assert not (changed & ~near).any()


@given(corners)
def test_the_pixels_near_a_path_are_those_that_matplotlib_finds(points):
    rows, columns = np.indices(SHAPE)
    curve = Curve(np.vstack([points, points[:1]]))
    near = near_path(np.array(points), SHAPE, (0.25, 0.25))
    for row, column in zip(rows.ravel(), columns.ravel(), strict=True):
        small, large = (Bbox.from_extents(column - r, row - r, column + r, row + r) for r in ROUND)
        assert near[row, column] or not curve.intersects_bbox(small, filled=False)
        assert not near[row, column] or curve.intersects_bbox(large, filled=False)


def test_a_polygon_beyond_the_plane_is_cut_off():
    np.testing.assert_array_equal(
        interior(box(-5, -5, 2.5, 30), SHAPE), pixels(slice(0, 12), slice(0, 3))
    )


def circle(radius: float, count: int = 40) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([7.3 + radius * np.cos(angle), 5.6 + radius * np.sin(angle)], axis=1)


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize(
    ("crossed", "share"),
    [
        (np.array([(1, 1), (9, 9), (9, 1), (1, 9)], dtype=float), 0.5),  # a figure of eight
        (np.vstack([circle(4), circle(4)]), 1.0),  # drawn around twice
        (np.vstack([circle(4), circle(2)]), 0.25),  # an inner loop the same way
        (circle(5)[np.lexsort(circle(5).T)], 0.2),  # points sorted in a table
    ],
)
def test_a_path_that_crosses_itself_is_found_whatever_way_it_runs(crossed, share, way):
    found, places = crossed_over(crossed[::way], NO_REACH)
    assert found == pytest.approx(share, abs=0.25) and found > 0.05
    assert (places >= crossed.min(axis=0)).all() and (places <= crossed.max(axis=0)).all()


@given(st.lists(st.floats(1.5, 5.5), min_size=3, max_size=40), st.sampled_from([1, -1]))
def test_a_star_shaped_contour_never_crosses_itself(radii, way):
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.array(radii)[:, None]
    assert crossed_over((around + 6.5)[::way], NO_REACH)[0] == 0


@given(st.sampled_from([0.0, 0.05, 0.1]), st.integers(0, 999))
def test_channels_and_bridges_do_not_cross_however_they_are_rounded(by, seed):
    hole, piece = box(3.5, 2.5, 6.5, 8.5), box(11.5, 2.5, 14.5, 8.5)
    outer = box(0.5, 0.5, 9.5, 10.5)
    keyhole = [outer, outer[:1], hole[:1], hole[::-1], outer[:1]]
    path = np.vstack([*keyhole, outer[:2], piece, piece[:1], outer[1:2]])
    moved = path + np.random.default_rng(seed).uniform(-by, by, path.shape)
    assert crossed_over(moved, (by + 1e-3, by + 1e-3))[0] == 0
