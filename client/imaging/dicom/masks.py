"""Read the mask of a DICOM file, whatever its kind."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from client.data.cohort_file import NOTHING
from client.imaging.dicom.header import SeriesIdentity, conforming, kind_of, read_header, sop_class
from client.imaging.dicom.rtstruct import check_contour_header, read_contours
from client.imaging.dicom.segmentation import SEGMENT_TAGS, chosen_segment
from client.imaging.errors import PatientError

_LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # not yet in pydicom


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
    # takes half a second to import, and few sites have such files
    from client.imaging.dicom.segmentation import read_segment

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
        _LABEL_MAP_SEGMENTATION_STORAGE,
    ):
        raise PatientError(
            f"not a mask but {kind_of(header)}",
            where=path.name,
            remedy="give an RTSTRUCT or DICOM-SEG file, or a volume on the grid of the image",
        )
    return bool(kind == RTStructureSetStorage)
