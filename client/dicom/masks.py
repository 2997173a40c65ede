"""The mask that a DICOM file holds, whatever kind it is of."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from client.dicom.header import kind_of, read_header, sop_class
from client.dicom.rtstruct import read_contours
from client.imaging.errors import PatientError

_LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # not yet in pydicom


def read_dicom_mask(path: Path, image: sitk.Image, roi: str | None) -> sitk.Image:
    """The ROI of an RTSTRUCT or DICOM-SEG on the grid of `image`, uint8.

    Raises
    ------
    PatientError : another kind of file, and whatever `read_contours` and `read_segment` refuse.
    """
    header = read_header(path, [])
    kind = sop_class(header)
    if kind == RTStructureSetStorage:
        return read_contours(path, image, roi)
    if kind in (SegmentationStorage, _LABEL_MAP_SEGMENTATION_STORAGE):
        # takes half a second to import, and few sites have such files
        from client.dicom.segmentation import read_segment

        return read_segment(path, image, roi)
    raise PatientError(
        f"not a mask but {kind_of(header)}",
        where=path.name,
        remedy="give an RTSTRUCT or DICOM-SEG file, or a volume on the grid of the image",
    )
