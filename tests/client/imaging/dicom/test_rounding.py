"""Contours whose coordinates are rounded give the mask that was traced, or are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage
from scipy import ndimage

from client.imaging.dicom.header import SeriesIdentity
from client.imaging.dicom.polygons import interior, near_path
from client.imaging.dicom.rtstruct import Course, courses, reach_of, read_contours, rounding_step
from client.imaging.errors import PatientError
from tests.client.imaging.dicom.conftest import new_file
from tests.client.imaging.dicom.tracing import along_edges, through_centres, without_corners_between

SHAPE = (4, 22, 26)
AXIAL = np.eye(3)
CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
OBLIQUE = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
TWICE = OBLIQUE @ np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
Tracer = Callable[[np.ndarray], list[np.ndarray]]


def simple(mask: np.ndarray) -> list[np.ndarray]:
    return [without_corners_between(path) for path in through_centres(mask)]


class Grid:
    """An image of voxels that hold nothing, and contours drawn on it."""

    def __init__(
        self,
        spacing: Sequence[float] = (0.8, 0.8, 2.5),
        origin: Sequence[float] = (-10.13, -20.27, 30.31),
        direction: np.ndarray = AXIAL,
    ) -> None:
        self.image = sitk.Image(SHAPE[::-1], sitk.sitkFloat32)
        self.image.SetSpacing(spacing)
        self.image.SetOrigin(origin)
        self.image.SetDirection(direction.ravel())
        names = tuple(f"1.2.3.{k}" for k in range(SHAPE[0]))
        SeriesIdentity("1.2.3", "1.2", names).attach(self.image)

    def read(self, path: Path, drawn: dict[int, list[np.ndarray]], rounded: Rounding) -> np.ndarray:
        """The mask that is read from contours with corners (column, row) by slice."""
        made = new_file(path, RTStructureSetStorage)
        frame, study, series = Dataset(), Dataset(), Dataset()
        roi, contoured = Dataset(), Dataset()
        series.SeriesInstanceUID = "1.2.3"
        study.RTReferencedSeriesSequence = [series]
        frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = "1.2", [study]
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 1, "GTV", "1.2"
        contoured.ReferencedROINumber, contoured.ContourSequence = 1, []
        for k, polygons in drawn.items():
            for polygon in polygons:
                item = Dataset()
                item.ContourGeometricType = "CLOSED_PLANAR"
                item.NumberOfContourPoints = len(polygon)
                places = [
                    self.image.TransformContinuousIndexToPhysicalPoint((*map(float, corner), k))
                    for corner in polygon
                ]
                item.ContourData = [rounded(v) for v in np.ravel(places)]
                contoured.ContourSequence.append(item)
        made.ReferencedFrameOfReferenceSequence = [frame]
        made.StructureSetROISequence, made.ROIContourSequence = [roi], [contoured]
        made.save_as(path, enforce_file_format=True)
        return sitk.GetArrayFromImage(read_contours(path, self.image, None)) > 0


Rounding = Callable[[float], str]


def to_decimals(decimals: int) -> Rounding:
    return lambda value: f"{value:.{decimals}f}"


def cut_to(decimals: int) -> Rounding:
    return lambda value: f"{np.trunc(value * 10**decimals) / 10**decimals:.{decimals}f}"


def significant(digits: int) -> Rounding:
    return lambda value: f"{value:.{digits}g}"


def blobs(seed: int, width: float, share: float) -> np.ndarray:
    """Random regions with islands and holes, some of one pixel, alike on two slices."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=SHAPE[1:]), width, mode="constant")
    return noise > np.quantile(noise, 1 - share)


def volume(plane: np.ndarray) -> np.ndarray:
    whole = np.zeros(SHAPE, dtype=bool)
    whole[1:3] = plane
    return whole


masks = st.builds(
    blobs, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.7, 1.5, 3.0]), st.floats(0.01, 0.6)
)
grids = st.builds(
    Grid,
    st.tuples(st.floats(0.4, 1.2), st.floats(0.4, 1.2), st.floats(0.6, 5.0)),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.sampled_from([AXIAL, CORONAL, SAGITTAL, OBLIQUE, TWICE]),
)
roundings = st.builds(
    lambda way, digits: way(digits),
    st.sampled_from([to_decimals, cut_to]),
    st.sampled_from([1, 2, 3, 6]),
) | st.builds(significant, st.integers(4, 8))


@pytest.mark.parametrize("trace", [through_centres, simple, along_edges])
@given(plane=masks, grid=grids, rounded=roundings)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_traced_mask_comes_back_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
    trace: Tracer,
    plane: np.ndarray,
    grid: Grid,
    rounded: Rounding,
) -> None:
    path = tmp_path_factory.mktemp("rt") / "rt.dcm"
    try:
        found = grid.read(path, {1: trace(plane), 2: trace(plane)}, rounded)
    except PatientError:
        return
    np.testing.assert_array_equal(found, volume(plane))


@pytest.mark.parametrize("direction", [AXIAL, CORONAL, SAGITTAL, OBLIQUE])
@pytest.mark.parametrize("spacing", [0.625, 0.8, 1.0])
@pytest.mark.parametrize("rounded", [to_decimals(1), cut_to(2), to_decimals(2), to_decimals(6)])
@pytest.mark.parametrize("trace", [through_centres, simple, along_edges])
def test_a_traced_mask_with_islands_and_holes_is_read_whatever_the_rounding(
    tmp_path: Path, trace: Tracer, rounded: Rounding, spacing: float, direction: np.ndarray
) -> None:
    grid = Grid((spacing, spacing, 2.5), (-100.137, 53.291, 7.613), direction)
    plane = blobs(5, 1.5, 0.3)
    plane[1, 1] = plane[1, 2] = plane[20, 3] = True
    plane[10:15, 10:15] = True
    plane[12, 12] = False
    found = grid.read(tmp_path / "rt.dcm", {1: trace(plane), 2: trace(plane)}, rounded)
    np.testing.assert_array_equal(found, volume(plane))


def ellipse(columns: float, rows: float, centre: tuple[float, float]) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return np.stack([centre[0] + columns * np.cos(angle), centre[1] + rows * np.sin(angle)], axis=1)


@given(
    grid=grids,
    half=st.tuples(st.floats(2, 10), st.floats(2, 9)),
    centre=st.tuples(st.floats(11, 13), st.floats(10, 11)),
    decimals=st.sampled_from([1, 2, 3]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_drawn_ellipse_is_read_but_for_the_pixels_that_rounding_moves(
    tmp_path_factory: pytest.TempPathFactory,
    grid: Grid,
    half: tuple[float, float],
    centre: tuple[float, float],
    decimals: int,
) -> None:
    drawn = ellipse(*half, centre)
    path = tmp_path_factory.mktemp("rt") / "rt.dcm"
    found = grid.read(path, {1: [drawn], 2: [drawn]}, to_decimals(decimals))
    # the spacing is 0.4 mm at least, and an oblique grid mixes three coordinates
    reach = 0.5 * 10.0**-decimals / 0.4 * 3**0.5 + 0.01
    apart = found[1:3] ^ interior(drawn, SHAPE[1:])
    assert not (apart & ~near_path(drawn, SHAPE[1:], (reach, reach))).any()


def test_a_drawn_contour_rounded_to_whole_voxels_is_refused(tmp_path: Path) -> None:
    drawn = ellipse(8.2, 7.3, (12.4, 10.7))
    with pytest.raises(PatientError, match=r"rounded so far .* export the contours with at least"):
        Grid().read(tmp_path / "rt.dcm", {1: [drawn], 2: [drawn]}, to_decimals(0))


def test_a_mask_traced_on_a_grid_of_whole_millimetres_needs_no_decimals(tmp_path: Path) -> None:
    grid, plane = Grid((1, 1, 3), (-100, -120, 35)), blobs(7, 1.5, 0.3)
    found = grid.read(tmp_path / "rt.dcm", {1: simple(plane), 2: simple(plane)}, to_decimals(0))
    np.testing.assert_array_equal(found, volume(plane))


def test_a_drawn_contour_on_a_grid_of_whole_millimetres_is_refused_without_decimals(
    tmp_path: Path,
) -> None:
    grid, drawn = Grid((1, 1, 3), (-100, -120, 35)), ellipse(8.2, 7.3, (12.4, 10.7))[::4]
    with pytest.raises(PatientError, match="rounded so far"):
        grid.read(tmp_path / "rt.dcm", {1: [drawn], 2: [drawn]}, to_decimals(0))


@pytest.mark.parametrize("decimals", [1, 3])
def test_a_trace_with_one_corner_moved_is_refused(tmp_path: Path, decimals: int) -> None:
    plane = np.zeros(SHAPE[1:], dtype=bool)
    plane[3:18, 4:20] = True
    (path,) = through_centres(plane)
    path[5] += (0.0, 0.4)
    with pytest.raises(PatientError, match=r"run through the centres of \d+ voxels of an ROI of"):
        Grid().read(tmp_path / "rt.dcm", {1: [path], 2: [path]}, to_decimals(decimals))


def test_a_contour_there_twice_is_refused_though_it_is_rounded_differently(tmp_path: Path) -> None:
    drawn = ellipse(8.2, 7.3, (12.4, 10.7))
    again = np.round(drawn, 1)
    with pytest.raises(PatientError, match="overlap in part"):
        Grid().read(tmp_path / "rt.dcm", {1: [drawn, again], 2: [drawn]}, to_decimals(1))


@pytest.mark.parametrize("decimals", [0, 1, 2, 3, 4])
@given(st.lists(st.floats(-300, 300), min_size=20, max_size=60, unique=True))
def test_the_step_of_rounded_values_is_found(decimals: int, values: list[float]) -> None:
    rounded = np.round(values, decimals)
    step = rounding_step(rounded)
    assert step >= 10.0**-decimals or np.isclose(step, 10.0**-decimals) or step == 0
    assert np.allclose(rounded / 10.0**-decimals, np.rint(rounded / 10.0**-decimals))


def test_the_step_survives_storage_in_single_precision() -> None:
    values = np.round(np.random.default_rng(2).uniform(-300, 300, 100), 1)
    assert rounding_step(values.astype(np.float32).astype(float)) == pytest.approx(0.1)


def test_the_coarsest_order_of_magnitude_decides_on_significant_digits() -> None:
    values = np.array([float(f"{v:.4g}") for v in np.random.default_rng(2).uniform(-300, 300, 200)])
    assert rounding_step(values) == pytest.approx(0.1)


def test_unrounded_values_have_no_step() -> None:
    assert rounding_step(np.random.default_rng(2).uniform(-300, 300, 100)) == 0


def test_a_contour_of_few_corners_on_centres_is_unclear_where_chance_would_do() -> None:
    reach = reach_of(np.full(3, 0.1), np.eye(2, 3) / 0.4)
    box = np.array([(3, 2), (9, 2), (9, 8), (3, 8)], dtype=float)
    assert courses([box], reach) == [Course.UNCLEAR]
    assert courses([box + 0.3], reach) == [Course.DRAWN]
    fine = reach_of(np.full(3, 0.01), np.eye(2, 3) / 0.4)
    assert courses([box], fine) == [Course.TRACED]
