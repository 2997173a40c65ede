"""Read a CT volume and the mask of its ROI, and refuse untrustworthy files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.data.cohort_file import NOTHING
from client.imaging.dicom.masks import read_dicom_mask
from client.imaging.dicom.series import read_series
from client.imaging.errors import PatientError
from client.imaging.geometry import oriented, stored_axes, stored_grid
from client.imaging.headers.volume import axis_faults
from client.imaging.source import is_dicom, split_roi
from client.imaging.volumes import check_volume_header, read_volume

__all__ = ["GEOMETRY_TOLERANCE", "PatientError", "check_volume_header", "read_image", "read_mask"]

GEOMETRY_TOLERANCE = 1e-3
"""Largest difference of spacing (mm), origin (mm) and direction cosines of image and mask."""


def read_image(path: Path) -> sitk.Image:
    """Read a CT volume in HU as float32, in LPS, whatever type and order the file stores.

    Axes are exchanged and reversed so that x, y and z run as nearly as they can towards the
    patient's left, back and head; no value is interpolated.

    Parameters
    ----------
    path : NIfTI, NRRD or MHA file, a folder with one DICOM CT series, or a file of the series.

    Raises
    ------
    PatientError : as `check_volume_header`; unreadable, truncated, axes that are not at right
        angles, a voxel that is not finite; for DICOM, as `read_series`.
    """
    if not path.is_dir() and not is_dicom(path):
        return oriented(read_volume(path))
    read, identity = read_series(path)
    image = oriented(_checked(read, path))
    identity.attach(image)
    return image


def read_mask(path: Path, image: sitk.Image, *, confirmed: frozenset[str] = NOTHING) -> sitk.Image:
    """Read the ROI on the grid of `image`: uint8, 1 inside and 0 outside.

    Its voxels are laid on the image's by index: a geometry that differs within the tolerance is
    replaced by the image's, so that rounded headers move no voxel.

    Parameters
    ----------
    path : NIfTI, NRRD or MHA file, RTSTRUCT or DICOM-SEG; the latter two may be followed by "#" and
        a name, and must be where the file holds several ROIs.
    image : from `read_image`.
    confirmed : findings that the hospital confirmed (`client.data.cohort_file`).

    Raises
    ------
    PatientError : as `read_image`; another geometry than the image's, an empty mask, several
        labels, an ROI in which the image holds one single value; for DICOM, as `read_dicom_mask`.
    """
    path, roi = split_roi(path)
    if is_dicom(path):
        # contours are drawn on the slices of the series, whatever their direction
        drawn = read_dicom_mask(path, stored_grid(image), roi, confirmed=confirmed)
        mask = stored_axes(image).apply(drawn)
    else:
        mask = oriented(_read_mask_volume(path, roi))
    _check_geometry(mask, image, path.name)
    mask.CopyInformation(image)
    values = sitk.GetArrayViewFromImage(mask)
    _check_labels(values, path.name)
    inside = sitk.GetArrayViewFromImage(image)[values > 0]
    if inside.min() == inside.max():
        raise PatientError(
            f"the ROI touches nothing: the image is {inside.min():g} HU in all of it",
            where=path.name,
            remedy="check that the mask belongs to this image and lies in the patient",
        )
    return mask > 0


def _read_mask_volume(path: Path, roi: str | None) -> sitk.Image:
    remedy = "give an RTSTRUCT or DICOM-SEG file, or a volume on the grid of the image"
    if path.is_dir():
        raise PatientError("a folder instead of a mask", where=path.name, remedy=remedy)
    if roi is not None:
        raise PatientError(f'no DICOM, so it has no ROI "{roi}"', where=path.name, remedy=remedy)
    return read_volume(path)


def _checked(image: sitk.Image, path: Path) -> sitk.Image:
    """Return a series as float32: 3-D, upright and finite."""
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise PatientError(
            "not one grey-value volume",
            where=path.name,
            remedy="give a single-frame CT series",
        )
    axes = np.reshape(image.GetDirection(), (3, 3))
    for fault in axis_faults(axes, "Image Orientation (Patient)"):
        raise PatientError(fault.what, where=path.name, remedy=fault.remedy)
    made = sitk.Cast(image, sitk.sitkFloat32)
    bad = int(np.count_nonzero(~np.isfinite(sitk.GetArrayViewFromImage(made))))
    if bad:
        raise PatientError(
            f"{bad} voxels are not finite numbers",
            where=path.name,
            remedy="export the series again from the scanner or the archive",
        )
    return made


def _check_geometry(mask: sitk.Image, image: sitk.Image, where: str) -> None:
    pairs = {
        "size": (mask.GetSize(), image.GetSize()),
        "spacing": (mask.GetSpacing(), image.GetSpacing()),
        "origin": (mask.GetOrigin(), image.GetOrigin()),
        "direction": (mask.GetDirection(), image.GetDirection()),
    }
    for name, (own, other) in pairs.items():
        if np.abs(np.subtract(own, other)).max() > GEOMETRY_TOLERANCE:
            raise PatientError(
                f"mask geometry: {name} ({_numbers(own)}) is not the image's ({_numbers(other)})",
                where=where,
                remedy="export the mask on the grid of the image; headers are never copied over",
            )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _check_labels(values: np.ndarray, where: str) -> None:
    label = float(values.max())
    if label == 0 and float(values.min()) == 0:
        raise PatientError(
            "the mask is empty", where=where, remedy="save the segmentation of the ROI"
        )
    strange = values[(values != 0) & (values != label)]
    if label < 0 or strange.size:
        found = np.unique(np.append(strange, label))
        listed = ", ".join(f"{value:g}" for value in found[:5])
        more = ", ..." if found.size > 5 else ""
        raise PatientError(
            f"several labels in the mask ({listed}{more}) instead of 0 and one positive value",
            where=where,
            remedy="keep the label of the ROI only",
        )
