"""A segment of a DICOM-SEG as a mask on the series that it was drawn on (PS3.3, A.51)."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from client.dicom.header import conforming
from client.dicom.identity import SeriesIdentity
from client.dicom.roi import choose, on_grid
from client.imaging.errors import PatientError
from client.imaging.geometry import voxels_to_patient

_OFF_GRID = 0.01
"""Voxels by which the segment's grid may miss the image's."""


def read_segment(path: Path, image: sitk.Image, label: str | None) -> sitk.Image:
    """The segment on the grid of `image`, uint8; its frames may come in any order and direction.

    Parameters
    ----------
    image : a series from `read_image`.
    label : the segment's label; None when the file has one only.

    Raises
    ------
    PatientError : the image is no DICOM series; a segmentation of another series or frame of
        reference, on another grid, beyond the image, fractional, damaged, that skips slices; no
        such segment, or several.
    """
    where = path.name
    identity = SeriesIdentity.of(image, where)
    with conforming(where):
        segmentation = highdicom.seg.segread(path)
        _check_series(segmentation, identity, where)
        # 0 is the background of a label map
        numbers = [int(number) for number in segmentation.segment_numbers if number > 0]
        labels = {n: segmentation.get_segment_description(n).segment_label for n in numbers}
        chosen = choose(labels, label, where)
        volume = segmentation.get_volume(segment_numbers=[chosen], combine_segments=True)
    # highdicom's axes run slices, rows, columns
    to_patient = np.eye(4)
    to_patient[:3] = volume.affine[:3, [2, 1, 0, 3]]
    own = np.transpose(volume.array, (2, 1, 0)) > 0
    return on_grid(_moved(own, to_patient, image, where), image, where)


def _check_series(
    segmentation: highdicom.seg.Segmentation, identity: SeriesIdentity, where: str
) -> None:
    remedy = "give the series that was segmented, as it was then"
    named = segmentation.get("ReferencedSeriesSequence") or ()
    if not named:
        raise PatientError(
            "the segmentation does not say which series it belongs to", where=where, remedy=remedy
        )
    if identity.series not in {str(item.SeriesInstanceUID) for item in named}:
        raise PatientError("a segmentation of another series", where=where, remedy=remedy)
    if str(segmentation.get("FrameOfReferenceUID", "")) != identity.frame_of_reference:
        raise PatientError(
            "the segmentation is in another frame of reference than the series",
            where=where,
            remedy="export segmentation and series together; de-identify both in one go",
        )
    if segmentation.segmentation_type == highdicom.seg.SegmentationTypeValues.FRACTIONAL:
        raise PatientError(
            "a fractional segmentation: where its ROI ends is not said",
            where=where,
            remedy="save it as a binary segmentation",
        )


def _moved(
    own: NDArray[np.bool_], to_patient: NDArray[np.float64], image: sitk.Image, where: str
) -> NDArray[np.bool_]:
    """Voxels (x, y, z) of the segment's own grid as voxels (z, y, x) of the image's."""
    way = np.linalg.inv(voxels_to_patient(image)) @ to_patient
    filled = np.argwhere(own)
    places = filled @ way[:3, :3].T + way[:3, 3]
    nearest = np.rint(places).astype(np.int64)
    # the frames' own plane must be the image's; how far apart frames are is seen by the places
    turned = np.abs(np.rint(way[:3, :2]))
    if (
        not np.array_equal(turned.sum(axis=0), [1, 1])
        or np.abs(np.abs(way[:3, :2]) - turned).max() > _OFF_GRID
        or (filled.size and np.abs(places - nearest).max() > _OFF_GRID)
    ):
        raise PatientError(
            "the segmentation is on another grid than the series",
            where=where,
            remedy="save it on the grid of the series; it is not resampled here",
        )
    if (nearest < 0).any() or (nearest >= image.GetSize()).any():
        raise PatientError(
            "the segment reaches beyond the slices of the series",
            where=where,
            remedy="give the whole series that was segmented",
        )
    inside = np.zeros(image.GetSize()[::-1], dtype=np.bool_)
    inside[tuple(nearest.T[::-1])] = True
    return inside
