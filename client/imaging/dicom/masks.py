"""Read the mask of a DICOM file, an RTSTRUCT or a segment of a DICOM-SEG, on its series.

A segment (PS3.3, A.51 and A.87) is placed frame by frame. highdicom's `get_volume` is not used: it
takes all labels of a label map where one is wanted, and frames at equal distances only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import highdicom
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from client.data.cohort_file import NOTHING
from client.imaging.dicom.header import (
    SeriesIdentity,
    conforming,
    kind_of,
    numbers,
    read_header,
    read_whole,
    sop_class,
)
from client.imaging.dicom.pixels import check_coded_size, check_shape
from client.imaging.dicom.rtstruct import (
    check_contour_header,
    check_frames,
    choose,
    on_grid,
    read_contours,
    rounding_step,
)
from client.imaging.errors import PatientError
from client.imaging.geometry import voxels_to_patient

SEGMENT_TAGS = [
    "ReferencedSeriesSequence",
    "FrameOfReferenceUID",
    "SegmentationType",
    "SegmentSequence",
]


def chosen_segment(
    header: pydicom.Dataset,
    identity: SeriesIdentity,
    label: str | None,
    confirmed: frozenset[str],
    where: str,
) -> int:
    """Return the number of the segment that is meant, by the header alone.

    Raises
    ------
    PatientError : a segmentation of another series or frame of reference, or fractional; no such
        segment, or several.
    """
    remedy = "give the series that was segmented, as it was then"
    named = header.get("ReferencedSeriesSequence") or ()
    if not named:
        raise PatientError(
            "the segmentation does not say which series it belongs to", where=where, remedy=remedy
        )
    if identity.series not in {str(item.SeriesInstanceUID) for item in named}:
        raise PatientError("a segmentation of another series", where=where, remedy=remedy)
    frames = {str(header.get("FrameOfReferenceUID") or "")} - {""}
    check_frames("the segments", frames, identity, confirmed, where)
    if str(header.get("SegmentationType")) == "FRACTIONAL":
        raise PatientError(
            "a fractional segmentation: where its ROI ends is not said",
            where=where,
            remedy="save it as a binary segmentation",
        )
    listed = [(int(item.SegmentNumber), item) for item in header.get("SegmentSequence") or ()]
    if len({number for number, _ in listed}) < len(listed):
        raise PatientError(
            "two segments have the same number",
            where=where,
            remedy="save the segmentation again, each segment under a number of its own",
        )
    # 0 is the background of a label map
    labels = {n: str(item.get("SegmentLabel") or "") for n, item in listed if n > 0}
    return choose(labels, label, where)


_OFF_GRID, _OFF_SLICE, _MOST_OFF = 0.01, 0.1, 0.25
"""Tolerated voxels between a frame and the image's grid: in plane, across, when rounded."""
_ROUNDED_MM = 0.1
_ANEW = "save the segmentation again"


@dataclass(frozen=True)
class _Frame:
    """One frame of the wanted segment.

    Parameters
    ----------
    number : counted from 1, as in the standard.
    position : centre of its first pixel, in mm (LPS).
    steps : (3, 2); mm from a pixel to the next column, and to the next row.
    sources : SOP Instance UIDs of the slices that it names as its source.
    """

    number: int
    position: NDArray[np.float64]
    steps: NDArray[np.float64]
    sources: frozenset[str]


@dataclass(frozen=True)
class _Grid:
    """The image's grid; `off` is a frame's tolerance in voxels along each axis."""

    to_voxels: NDArray[np.float64]
    size: tuple[int, ...]
    off: NDArray[np.float64]


def read_segment(
    path: Path,
    image: sitk.Image,
    label: str | None,
    *,
    confirmed: frozenset[str] = NOTHING,
) -> sitk.Image:
    """Read the segment on the grid of `image`, uint8; frames may have any order and direction.

    Frames belong to the nearest slice, where rounding of positions to 0.1 mm leaves no doubt.

    Parameters
    ----------
    image : a series from `read_image`.
    label : the segment's label; None when the file has one only.
    confirmed : findings that the hospital has checked and confirmed.

    Raises
    ------
    PatientError : the image is no DICOM series; as `chosen_segment`; frames without a place, twice
        in one place, on another slice than they name, or on another grid; a segment beyond the
        image, damaged, that skips slices.
    """
    where = path.name
    identity = SeriesIdentity.of(image, where)
    with conforming(where):
        read = read_whole(path)
        _check_frames(read, where)
        chosen = chosen_segment(read, identity, label, confirmed, where)
        frames = list(_frames(read, chosen, where))
        label_map = str(read.SegmentationType) == "LABELMAP"
        decoded = highdicom.seg.Segmentation.from_dataset(read, copy=False)
        grid = _grid_of(frames, image)
        _check_doubled(frames, grid, where)
        inside = np.zeros(image.GetSize()[::-1], dtype=np.bool_)
        for frame in frames:
            plane = decoded.get_stored_frame(frame.number)
            own = plane == chosen if label_map else _only_value(plane, frame, where)
            places = _places(np.argwhere(own), frame, grid, where)
            _check_sources(frame, np.unique(places[:, 2]), identity, where)
            inside[tuple(places.T[::-1])] = True
    return on_grid(inside, image, where)


def _check_frames(read: pydicom.Dataset, where: str) -> None:
    """Refuse frames larger than any slice, or compressed data of another size than they say."""
    shape = int(read.Rows), int(read.Columns)
    check_shape(*shape, where)
    syntax = read.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        count = int(read.get("NumberOfFrames") or 1)
        for frame in generate_frames(read.PixelData, number_of_frames=count):
            check_coded_size(frame, syntax, shape, where)


def _frames(read: pydicom.Dataset, chosen: int, where: str) -> Iterator[_Frame]:
    """Yield the frames that may hold the segment: all of a label map."""
    items = read.get("PerFrameFunctionalGroupsSequence") or ()
    (said,) = _several(read, "NumberOfFrames", 1, "the segmentation", where)
    if len(items) != int(said):
        _refuse(f"{int(said)} frames by its header, which describes {len(items)} of them", where)
    shared = (read.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    label_map = str(read.SegmentationType) == "LABELMAP"
    for number, item in enumerate(items, start=1):
        if not label_map:
            named = _group(item, shared, "SegmentIdentificationSequence", number, where)
            if int(named.ReferencedSegmentNumber) != chosen:
                continue
        what = f"frame {number}"
        measures = _group(item, shared, "PixelMeasuresSequence", number, where)
        orientation = _group(item, shared, "PlaneOrientationSequence", number, where)
        position = _group(item, shared, "PlanePositionSequence", number, where)
        down, across = _several(measures, "PixelSpacing", 2, what, where)
        axes = _several(orientation, "ImageOrientationPatient", 6, what, where)
        yield _Frame(
            number=number,
            position=np.array(_several(position, "ImagePositionPatient", 3, what, where)),
            steps=np.reshape(axes, (2, 3)).T * (across, down),
            sources=frozenset(
                str(source.ReferencedSOPInstanceUID)
                for derived in item.get("DerivationImageSequence") or ()
                for source in derived.get("SourceImageSequence") or ()
            ),
        )


def _group(
    item: pydicom.Dataset, shared: pydicom.Dataset, name: str, number: int, where: str
) -> pydicom.Dataset:
    """Return a functional group of a frame, which it may share with all others."""
    found = item.get(name) or shared.get(name)
    if not found:
        _refuse(f"frame {number} has no {name}", where)
    group: pydicom.Dataset = found[0]
    return group


def _several(
    item: pydicom.Dataset, tag: str, count: int, what: str, where: str
) -> tuple[float, ...]:
    try:
        return numbers(item, tag, count, where)
    except PatientError:
        _refuse(f"{tag} of {what} is missing, or not {count} finite numbers", where)


def _grid_of(frames: list[_Frame], image: sitk.Image) -> _Grid:
    to_voxels = np.linalg.inv(voxels_to_patient(image)).astype(np.float64)
    places = np.array([frame.position for frame in frames]).reshape(-1, 3)
    steps = np.array([min(rounding_step(axis), _ROUNDED_MM) for axis in places.T])
    moved = np.abs(to_voxels[:3, :3]) @ (steps / 2) + 1e-3
    least = np.array([_OFF_GRID, _OFF_GRID, _OFF_SLICE])
    off: NDArray[np.float64] = np.maximum(least, moved).clip(max=_MOST_OFF)
    return _Grid(to_voxels, image.GetSize(), off)


def _check_doubled(frames: list[_Frame], grid: _Grid, where: str) -> None:
    """Refuse two frames of the segment in one place: one of them may be a leftover."""
    seen: dict[tuple[int, ...], int] = {}
    for frame in frames:
        start = grid.to_voxels[:3, :3] @ frame.position + grid.to_voxels[:3, 3]
        other = seen.setdefault(tuple(np.rint(start).astype(int).tolist()), frame.number)
        if other != frame.number:
            _refuse(f"frames {other} and {frame.number} hold the segment in the same place", where)


def _only_value(plane: NDArray[np.integer], frame: _Frame, where: str) -> NDArray[np.bool_]:
    own: NDArray[np.bool_] = plane != 0
    if own.any() and plane[own].min() != plane[own].max():
        what = f"frame {frame.number} of a binary segmentation holds several labels"
        _refuse(what, where, "save it as a label map, or each segment in frames of its own")
    return own


def _places(filled: NDArray[np.int64], frame: _Frame, grid: _Grid, where: str) -> NDArray[np.int64]:
    """Return the image's voxels (x, y, z) under pixels (row, column) of a frame."""
    way = grid.to_voxels[:3, :3] @ frame.steps
    start = grid.to_voxels[:3, :3] @ frame.position + grid.to_voxels[:3, 3]
    places = filled[:, ::-1] @ way.T + start
    nearest = np.rint(places).astype(np.int64)
    turned = np.abs(np.rint(way))
    off = np.abs(places - nearest).max(axis=0, initial=0)
    if filled.size and (
        not np.array_equal(turned.sum(axis=0), [1, 1])
        or np.abs(np.abs(way) - turned).max() > _OFF_GRID
        or (off > grid.off).any()
    ):
        _refuse(
            f"the segmentation is on another grid than the series (frame {frame.number})",
            where,
            "save it on the grid of the series; it is not resampled here",
        )
    if (nearest < 0).any() or (nearest >= grid.size).any():
        remedy = "give the whole series that was segmented"
        _refuse("the segment reaches beyond the slices of the series", where, remedy)
    return nearest


def _check_sources(
    frame: _Frame, planes: NDArray[np.int64], identity: SeriesIdentity, where: str
) -> None:
    """Refuse a frame whose position and named source slices disagree."""
    if not frame.sources & set(identity.instances):
        return  # none named, or cut out under a new UID
    if not {identity.instances[k] for k in planes} <= frame.sources:
        _refuse(
            f"frame {frame.number} names another slice than the one its position lies on",
            where,
            "find out which is right, and save the segmentation again",
        )


def _refuse(what: str, where: str, remedy: str = _ANEW) -> NoReturn:
    raise PatientError(what, where=where, remedy=remedy)


LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # not yet in pydicom


def read_dicom_mask(
    path: Path,
    image: sitk.Image,
    roi: str | None,
    *,
    confirmed: frozenset[str] = NOTHING,
) -> sitk.Image:
    """Read the ROI of an RTSTRUCT or DICOM-SEG on the grid of `image`, uint8.

    Raises
    ------
    PatientError : another kind of file; as `read_contours` and `read_segment`.
    """
    if _holds_contours(path):
        return read_contours(path, image, roi, confirmed=confirmed)
    return read_segment(path, image, roi, confirmed=confirmed)


def check_mask_header(
    path: Path,
    identity: SeriesIdentity,
    roi: str | None,
    *,
    confirmed: frozenset[str] = NOTHING,
) -> None:
    """Refuse an RTSTRUCT or DICOM-SEG by its header alone, within milliseconds.

    Parameters
    ----------
    identity : of the series that it should have been drawn on.
    roi : its name; None when the file has one only.
    confirmed : findings that the hospital has checked and confirmed.

    Raises
    ------
    PatientError : another kind of file, another series or frame of reference, open or damaged
        contours, a fractional segmentation; no such ROI, or several.
    """
    if _holds_contours(path):
        check_contour_header(path, identity, roi, confirmed=confirmed)
        return
    header = read_header(path, SEGMENT_TAGS)
    with conforming(path.name):
        chosen_segment(header, identity, roi, confirmed, path.name)


def _holds_contours(path: Path) -> bool:
    """Distinguish an RTSTRUCT from a DICOM-SEG, and refuse other files."""
    header = read_header(path, [])
    kind = sop_class(header)
    if kind not in (
        RTStructureSetStorage,
        SegmentationStorage,
        LABEL_MAP_SEGMENTATION_STORAGE,
    ):
        raise PatientError(
            f"not a mask but {kind_of(header)}",
            where=path.name,
            remedy="give an RTSTRUCT or DICOM-SEG file, or a volume on the grid of the image",
        )
    return bool(kind == RTStructureSetStorage)
