"""An RTSTRUCT's contours as a mask on the series that they were drawn on (PS3.3, C.8.8.5 and 6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from client.data.confirmed import NOTHING
from client.imaging.dicom.header import conforming, read_header
from client.imaging.dicom.identity import SeriesIdentity
from client.imaging.dicom.polygons import (
    FLOAT_ERROR,
    PROBE,
    Polygon,
    Reach,
    combine,
    crossed_over,
    overlap_in_part,
)
from client.imaging.dicom.roi import check_frames, choose, on_grid
from client.imaging.dicom.rounding import (
    Course,
    courses,
    reach_of,
    rounding_step,
    snapped,
    undecided,
)
from client.imaging.errors import PatientError
from client.imaging.geometry import voxels_to_patient

_TAGS = ["StructureSetROISequence", "ROIContourSequence", "ReferencedFrameOfReferenceSequence"]
_CLOSED, _EXCLUSIVE = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
_OFF_SLICE, _MOST_OFF = 0.1, 0.25
"""Slice distances by which a contour may miss its slice, and by which at most when rounded."""
_MOST_UNDECIDED = 0.01
"""Share of an ROI that may be its rim or not: far less than what two readers differ by."""
_MOST_CROSSED, _LOOP = 0.01, 2
"""Share of a contour's pixels, or their number, that a loop of an unsteady hand may take."""
_STRAY = "delete stray points and lines of the ROI, and export it again"
_AGAIN = "export the contours again"
_DECIMALS = "export the contours with at least three decimals, or the mask as DICOM-SEG"


@dataclass(frozen=True)
class _Contour:
    """Corners (n, 3) in mm (LPS), the geometric type, and the slices it names, if any."""

    points: NDArray[np.float64]
    kind: str
    instances: frozenset[str]

    @property
    def place(self) -> str:
        """Where it begins, for somebody who looks for it."""
        return "the contour at (" + ", ".join(f"{v:.1f}" for v in self.points[0]) + ") mm"


@dataclass(frozen=True)
class _Drawn:
    """A contour as a polygon (columns, rows) on a slice."""

    plane: int
    polygon: Polygon
    contour: _Contour
    course: Course = Course.DRAWN


def read_contours(
    path: Path,
    image: sitk.Image,
    roi: str | None,
    *,
    confirmed: frozenset[str] = NOTHING,
) -> sitk.Image:
    """The ROI on the grid of `image`, uint8: voxels whose centre lies within its contours.

    Corners are taken from patient coordinates to the grid, whatever way it is turned. One contour
    within another is a hole. Contours that run from voxel centre to voxel centre include the
    voxels on their path, however their coordinates are rounded.

    Parameters
    ----------
    image : a series from `read_image`.
    roi : its name; None when the file has one only.
    confirmed : findings that the hospital has looked at and found right.

    Raises
    ------
    PatientError : the image is no DICOM series; whatever `check_contour_header` refuses; contours
        that name another slice, lie between slices, beyond the image or across it, cross
        themselves, overlap in part, skip slices, or whose rounding leaves the ROI open.
    """
    where = path.name
    identity = SeriesIdentity.of(image, where)
    header = read_header(path, _TAGS)
    with conforming(where):
        contours = _contours(header, identity, roi, confirmed, where)
        steps = np.array([rounding_step(axis) for axis in _points(contours).T], dtype=np.float64)
        drawn = _on_slices(contours, steps, image, identity, where)
    to_pixels = np.linalg.inv(voxels_to_patient(image))[:2, :3].astype(np.float64)
    reach = reach_of(steps, to_pixels)
    told = courses([one.polygon for one in drawn], reach)
    drawn = [_settled(one, course, where) for one, course in zip(drawn, told, strict=True)]
    for one in drawn:
        _check_simple(one, image, reach, where)
    inside = _filled(drawn, image.GetSize(), reach, where)
    _check_decided(drawn, inside, reach, steps, where)
    return on_grid(inside, image, where)


def check_contour_header(
    path: Path,
    identity: SeriesIdentity,
    roi: str | None,
    *,
    confirmed: frozenset[str] = NOTHING,
) -> None:
    """Refuse contours that cannot be used, by all that is known without the image's voxels.

    Raises
    ------
    PatientError : contours of another series or frame of reference, that do not name their
        series, are open or damaged; no such ROI, or several.
    """
    header = read_header(path, _TAGS)
    with conforming(path.name):
        _contours(header, identity, roi, confirmed, path.name)


def _points(contours: Iterable[_Contour]) -> NDArray[np.float64]:
    return np.vstack([contour.points for contour in contours])


def _settled(one: _Drawn, course: Course, where: str) -> _Drawn:
    """The contour as it runs: on centres when it was traced, else as it was drawn."""
    few = len(one.polygon) < 3
    if course is Course.TRACED:
        return _Drawn(one.plane, snapped(one.polygon), one.contour, course)
    if course is Course.UNCLEAR:
        _refuse(
            f"{one.contour.place} is rounded so far that nobody can tell whether it runs through"
            " the centres of voxels",
            where,
            _DECIMALS,
        )
    if few or np.linalg.svd(one.polygon - one.polygon.mean(axis=0))[1][1] <= FLOAT_ERROR:
        _refuse(f"{one.contour.place} has {len(one.polygon)} points and no inside", where, _STRAY)
    return one


def _check_simple(one: _Drawn, image: sitk.Image, reach: Reach, where: str) -> None:
    """Refuse a contour that crosses itself: nobody can tell what its loops enclose.

    A slip of the hand turns a corner of the ROI inside out; points in a wrong order (sorted in a
    table, say) make a zigzag of half its size.
    """
    share, places = crossed_over(one.polygon, reach)
    pixels = len(places) * PROBE
    if pixels < _LOOP or share <= _MOST_CROSSED:
        return
    place = voxels_to_patient(image)[:3] @ (*places[0], one.plane, 1)
    near = ", ".join(f"{v:.1f}" for v in place)
    _refuse(
        f"{one.contour.place} crosses itself: {share:.0%} of it lies in loops, the first at"
        f" ({near}) mm",
        where,
        "correct the contour there, or the order of its points, and export it again",
    )


def _filled(
    drawn: Sequence[_Drawn], size: tuple[int, int, int], reach: Reach, where: str
) -> NDArray[np.bool_]:
    """Voxels (z, y, x) of the ROI."""
    columns, rows, slices = size
    inside = np.zeros((slices, rows, columns), dtype=np.bool_)
    for plane in sorted({one.plane for one in drawn}):
        own = [one for one in drawn if one.plane == plane]
        polygons = [one.polygon for one in own]
        traced = [one.course is Course.TRACED for one in own]
        # no ROI has walls thinner than half a pixel all around: that is a contour drawn twice
        near = (0.0, 0.0) if all(traced) else (max(2 * reach[0], 0.5), max(2 * reach[1], 0.5))
        declared = all(one.contour.kind == _EXCLUSIVE for one in own)
        if not declared and overlap_in_part(polygons, (rows, columns), near):
            _refuse(
                f"contours of one slice overlap in part, {own[0].contour.place} among them",
                where,
                "join or part them in the planning system, and export again",
            )
        inside[plane] = combine(polygons, traced, (rows, columns))
    return inside


def _check_decided(
    drawn: Sequence[_Drawn],
    inside: NDArray[np.bool_],
    reach: Reach,
    steps: NDArray[np.float64],
    where: str,
) -> None:
    """Refuse contours that may or may not have been traced along the rim of a mask."""
    shape = (inside.shape[1], inside.shape[2])
    loose = [one for one in drawn if one.course is Course.DRAWN]
    open_ones = {i: undecided(one.polygon, shape, reach) for i, one in enumerate(loose)}
    size, rim = int(np.count_nonzero(inside)), sum(open_ones.values())
    if rim <= _MOST_UNDECIDED * size:
        return
    first = next(loose[i] for i, pixels in open_ones.items() if pixels)
    rounded = f", rounded to {steps.max():g} mm," if steps.max() > 0 else ""
    _refuse(
        f"contours{rounded} run through the centres of {rim} voxels of an ROI of {size}, and"
        f" nobody can tell whether these are part of it ({first.contour.place} among them)",
        where,
        _DECIMALS,
    )


def _contours(
    header: pydicom.Dataset,
    identity: SeriesIdentity,
    roi: str | None,
    confirmed: frozenset[str],
    where: str,
) -> list[_Contour]:
    items = [i for i in header.get("ROIContourSequence") or () if i.get("ContourSequence")]
    drawn = _by_number(((int(i.ReferencedROINumber), i) for i in items), where)
    listed = header.get("StructureSetROISequence") or ()
    defined = _by_number(((int(item.ROINumber), item) for item in listed), where)
    names = {n: str(item.get("ROIName", "")) for n, item in defined.items() if n in drawn}
    number = choose(names, roi, where)
    contours = [_contour(item, where) for item in drawn[number].ContourSequence]
    _check_series(header, contours, identity, where)
    frames = {str(defined[number].get("ReferencedFrameOfReferenceUID") or "")}
    frames |= _frames_of(header, identity.series)
    check_frames("the contours", frames - {""}, identity, confirmed, where)
    return contours


def _by_number(
    items: Iterable[tuple[int, pydicom.Dataset]], where: str
) -> dict[int, pydicom.Dataset]:
    found: dict[int, pydicom.Dataset] = {}
    for number, item in items:
        if number in found:
            _refuse(f"two ROIs have the number {number}", where, _AGAIN)
        found[number] = item
    return found


def _contour(item: pydicom.Dataset, where: str) -> _Contour:
    try:
        numbers = np.array([float(v) for v in item.ContourData])
    except (TypeError, ValueError):
        _refuse(
            "a contour has coordinates that are no numbers (written with a decimal comma?)",
            where,
            _AGAIN,
        )
    if not numbers.size or numbers.size % 3 or not np.isfinite(numbers).all():
        _refuse(
            f"a contour has {numbers.size} coordinates: not three finite ones a point",
            where,
            _AGAIN,
        )
    points = numbers.reshape(-1, 3)
    named = item.get("ContourImageSequence") or ()
    instances = frozenset(str(image.ReferencedSOPInstanceUID) for image in named)
    contour = _Contour(points, str(item.get("ContourGeometricType") or ""), instances)
    if not contour.kind:
        _refuse(
            f"{contour.place} does not say whether it is closed (no ContourGeometricType)",
            where,
            _AGAIN,
        )
    said = item.get("NumberOfContourPoints")
    if said is not None and int(said) != len(points):
        what = f"{contour.place} says that it has {said} points, and has {len(points)}"
        _refuse(what, where, _AGAIN)
    if contour.kind not in (_CLOSED, _EXCLUSIVE):
        _refuse(f"{contour.place} is not closed ({contour.kind})", where, _STRAY)
    if any(float(v) != 0 for v in item.get("ContourOffsetVector") or ()):
        what = f"{contour.place} is to be moved (Contour Offset Vector)"
        _refuse(what, where, "export the contours where they belong, without an offset")
    return contour


def _check_series(
    header: pydicom.Dataset, contours: Sequence[_Contour], identity: SeriesIdentity, where: str
) -> None:
    """Whether file and contours name the series; a slice may have a new UID (cropped, say)."""
    listed = _listed_series(header)
    remedy = "give the series that the contours were drawn on"
    if listed and identity.series not in listed:
        _refuse("the contours were drawn on another series", where, remedy)
    own = set(identity.instances)
    for contour in contours:
        if not listed and not contour.instances:
            _refuse("the contours do not say which series they were drawn on", where, remedy)
        named = {uid for uid, instances in listed.items() if instances & contour.instances}
        elsewhere = identity.series not in named if named else not listed
        if elsewhere and not contour.instances & own:
            _refuse(f"{contour.place} was drawn on another series", where, remedy)


def _listed_series(header: pydicom.Dataset) -> dict[str, set[str]]:
    """The series that the file says its contours were drawn on, each with its slices."""
    listed: dict[str, set[str]] = defaultdict(set)
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                slices = series.get("ContourImageSequence") or ()
                listed[str(series.SeriesInstanceUID)].update(
                    str(item.ReferencedSOPInstanceUID) for item in slices
                )
    return dict(listed)


def _frames_of(header: pydicom.Dataset, wanted: str) -> set[str]:
    """Frames of reference under which the file lists a series."""
    return {
        str(frame.get("FrameOfReferenceUID") or "")
        for frame in header.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
        if str(series.SeriesInstanceUID) == wanted
    }


def _on_slices(
    contours: Sequence[_Contour],
    steps: NDArray[np.float64],
    image: sitk.Image,
    identity: SeriesIdentity,
    where: str,
) -> list[_Drawn]:
    """The contours as polygons on their slices."""
    to_voxels = np.linalg.inv(voxels_to_patient(image))
    last, own = np.array(image.GetSize()) - 1, set(identity.instances)
    # rounding may move a contour by half a step, cutting digits off by a whole one
    moved = np.abs(to_voxels[:3, :3]) @ steps
    off = min(max(_OFF_SLICE, float(moved[2]) + FLOAT_ERROR), _MOST_OFF)
    reach = 0.5 + FLOAT_ERROR + moved[:2].clip(0, 0.5)
    drawn: list[_Drawn] = []
    for contour in contours:
        voxels = contour.points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        plane = int(np.rint(np.median(voxels[:, 2])))
        remedy = "draw it on the slices of this series, and export again"
        if np.abs(voxels[:, 2] - plane).max() > off:
            _refuse(f"{contour.place} lies between slices or across them", where, remedy)
        beyond = (voxels[:, :2] < -reach) | (voxels[:, :2] > last[:2] + reach)
        if not 0 <= plane <= last[2] or beyond.any():
            _refuse(f"{contour.place} reaches beyond the image", where, remedy)
        named = contour.instances & own
        if named and identity.instances[plane] not in named:
            _refuse(f"{contour.place} names another slice than it lies on", where, remedy)
        drawn.append(_Drawn(plane, voxels[:, :2], contour))
    return drawn


def _refuse(what: str, where: str, remedy: str) -> NoReturn:
    raise PatientError(what, where=where, remedy=remedy)
