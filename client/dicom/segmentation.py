"""A segment of a DICOM-SEG as a mask on the series that it was drawn on (PS3.3, A.51)."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from client.confirmed import NOTHING
from client.dicom.header import conforming
from client.dicom.identity import SeriesIdentity
from client.dicom.roi import on_grid
from client.dicom.segments import chosen_segment
from client.imaging.errors import PatientError
from client.imaging.geometry import voxels_to_patient

_OFF_GRID = 0.01
"""Voxels by which the segment's grid may miss the image's."""


def read_segment(
    path: Path,
    image: sitk.Image,
    label: str | None,
    *,
    confirmed: frozenset[str] = NOTHING,
) -> sitk.Image:
    """The segment on the grid of `image`, uint8; its frames may come in any order and direction.

    Parameters
    ----------
    image : a series from `read_image`.
    label : the segment's label; None when the file has one only.
    confirmed : findings that the hospital has looked at and found right.

    Raises
    ------
    PatientError : the image is no DICOM series; whatever `chosen_segment` refuses; a
        segment on another grid, beyond the image, damaged, that skips slices.
    """
    where = path.name
    identity = SeriesIdentity.of(image, where)
    with conforming(where):
        segmentation = highdicom.seg.segread(path)
        chosen = chosen_segment(segmentation, identity, label, confirmed, where)
        volume = segmentation.get_volume(segment_numbers=[chosen], combine_segments=True)
    # highdicom's axes run slices, rows, columns
    to_patient = np.eye(4)
    to_patient[:3] = volume.affine[:3, [2, 1, 0, 3]]
    own = np.transpose(volume.array, (2, 1, 0)) > 0
    return on_grid(_moved(own, to_patient, image, where), image, where)


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
