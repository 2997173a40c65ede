"""An RTSTRUCT's contours as a mask on the series that they were drawn on (PS3.3, C.8.8.5 and 6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from client.dicom.header import conforming, read_header
from client.dicom.identity import SeriesIdentity
from client.dicom.polygons import ON_THE_PATH, combine, overlap_in_part, traced
from client.dicom.roi import choose, on_grid
from client.imaging.errors import PatientError
from client.imaging.geometry import voxels_to_patient

_TAGS = ["StructureSetROISequence", "ROIContourSequence", "ReferencedFrameOfReferenceSequence"]
_CLOSED, _EXCLUSIVE = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
_OFF_SLICE = 0.1
"""Slice distances by which a contour may miss its slice: many systems round to a tenth of a mm."""
_STRAY = "delete stray points and lines of the ROI, and export it again"


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


def read_contours(path: Path, image: sitk.Image, roi: str | None) -> sitk.Image:
    """The ROI on the grid of `image`, uint8: voxels whose centre lies within its contours.

    Corners are taken from patient coordinates to the grid, whatever way it is turned. One contour
    within another is a hole.

    Parameters
    ----------
    image : a series from `read_image`.
    roi : its name; None when the file has one only.

    Raises
    ------
    PatientError : the image is no DICOM series; contours of another series, frame of reference or
        slice, that do not name their series, lie between slices, beyond the image or across it,
        overlap in part, are open, damaged, skip slices; no such ROI, or several.
    """
    where = path.name
    identity = SeriesIdentity.of(image, where)
    header = read_header(path, _TAGS)
    with conforming(where):
        contours = _contours(header, identity, roi, where)
        planes = _planes(contours, image, identity, where)
    columns, rows, slices = image.GetSize()
    inside = np.zeros((slices, rows, columns), dtype=np.bool_)
    for plane, drawn in planes.items():
        polygons = [polygon for polygon, _ in drawn]
        declared = all(contour.kind == _EXCLUSIVE for _, contour in drawn)
        if not declared and overlap_in_part(polygons, (rows, columns)):
            _refuse(
                f"contours of one slice overlap in part, {drawn[0][1].place} among them",
                where,
                "join or part them in the planning system, and export again",
            )
        inside[plane] = combine(polygons, (rows, columns))
    return on_grid(inside, image, where)


def _contours(
    header: pydicom.Dataset, identity: SeriesIdentity, roi: str | None, where: str
) -> list[_Contour]:
    drawn = {
        int(item.ReferencedROINumber): item.ContourSequence
        for item in header.get("ROIContourSequence") or ()
        if item.get("ContourSequence")
    }
    defined = {int(item.ROINumber): item for item in header.get("StructureSetROISequence") or ()}
    names = {n: str(item.get("ROIName", "")) for n, item in defined.items() if n in drawn}
    number = choose(names, roi, where)
    contours = [_contour(item, where) for item in drawn[number]]
    _check_series(header, contours, identity, where)
    if str(defined[number].ReferencedFrameOfReferenceUID) != identity.frame_of_reference:
        _refuse(
            "the contours are in another frame of reference than the series",
            where,
            "export contours and series together; de-identify both in one go",
        )
    return contours


def _contour(item: pydicom.Dataset, where: str) -> _Contour:
    points = np.array([float(v) for v in item.ContourData]).reshape(-1, 3)
    if len(points) != int(item.NumberOfContourPoints) or not np.isfinite(points).all():
        raise ValueError("contour data cut short")
    named = item.get("ContourImageSequence") or ()
    instances = frozenset(str(image.ReferencedSOPInstanceUID) for image in named)
    contour = _Contour(points, str(item.ContourGeometricType), instances)
    if contour.kind not in (_CLOSED, _EXCLUSIVE):
        _refuse(f"{contour.place} is not closed ({contour.kind})", where, _STRAY)
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


def _planes(
    contours: Sequence[_Contour], image: sitk.Image, identity: SeriesIdentity, where: str
) -> Mapping[int, list[tuple[NDArray[np.float64], _Contour]]]:
    """Polygons, as columns and rows, and their contours, by slice."""
    to_voxels = np.linalg.inv(voxels_to_patient(image))
    planes: dict[int, list[tuple[NDArray[np.float64], _Contour]]] = defaultdict(list)
    last, own = np.array(image.GetSize()) - 1, set(identity.instances)
    for contour in contours:
        voxels = contour.points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        plane = int(np.rint(np.median(voxels[:, 2])))
        remedy = "draw it on the slices of this series, and export again"
        if np.abs(voxels[:, 2] - plane).max() > _OFF_SLICE:
            _refuse(f"{contour.place} lies between slices or across them", where, remedy)
        if len(voxels) < 3 and not traced(voxels[:, :2]):
            _refuse(f"{contour.place} has {len(voxels)} points and no inside", where, _STRAY)
        reach = 0.5 + ON_THE_PATH
        beyond = (voxels[:, :2] < -reach) | (voxels[:, :2] > last[:2] + reach)
        if not 0 <= plane <= last[2] or beyond.any():
            _refuse(f"{contour.place} reaches beyond the image", where, remedy)
        named = contour.instances & own
        if named and identity.instances[plane] not in named:
            _refuse(f"{contour.place} names another slice than it lies on", where, remedy)
        planes[plane].append((voxels[:, :2], contour))
    return planes


def _refuse(what: str, where: str, remedy: str) -> None:
    raise PatientError(what, where=where, remedy=remedy)
