"""Read a CT volume and the mask of its ROI, and refuse what cannot be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.confirmed import NOTHING
from client.dicom.masks import read_dicom_mask
from client.dicom.series import read_series
from client.imaging.errors import PatientError
from client.imaging.nifti import examine
from client.imaging.source import is_dicom, split_roi

__all__ = ["GEOMETRY_TOLERANCE", "PatientError", "read_image", "read_mask"]

GEOMETRY_TOLERANCE = 1e-3
"""Largest difference of spacing (mm), origin (mm) and direction cosines of image and mask."""

_FORMATS = (".nii", ".nii.gz", ".nrrd", ".mha")


def read_image(path: Path) -> sitk.Image:
    """A CT volume in HU as float32, whatever type the file stores, in the file's orientation.

    Parameters
    ----------
    path : NIfTI, NRRD or MHA file, a folder with one DICOM CT series, or a file of the series.

    Raises
    ------
    PatientError : no such file, an unknown format, unreadable, truncated, not 3-D, several values
        a voxel, a voxel that is not finite; of DICOM, whatever `read_series` refuses.
    """
    if not path.is_dir() and not is_dicom(path):
        return _read_volume(path)
    read, identity = read_series(path)
    image = _checked(read, path)
    identity.attach(image)
    return image


def read_mask(path: Path, image: sitk.Image, *, confirmed: frozenset[str] = NOTHING) -> sitk.Image:
    """The ROI on the grid of `image`: uint8, 1 inside and 0 outside.

    Parameters
    ----------
    path : NIfTI, NRRD or MHA file, RTSTRUCT or DICOM-SEG; of these two, "#" and a name may follow,
        and must where the file holds several ROIs.
    image : from `read_image`.
    confirmed : findings that the hospital has looked at and found right, see `client.confirmed`.

    Raises
    ------
    PatientError : whatever `read_image` refuses; another geometry than the image's, an empty
        mask, several labels, an ROI in which the image holds one single value; of DICOM, whatever
        `read_dicom_mask` refuses.
    """
    path, roi = split_roi(path)
    if is_dicom(path):
        mask = read_dicom_mask(path, image, roi, confirmed=confirmed)
    else:
        mask = _read_mask_volume(path, roi)
    _check_geometry(mask, image, path.name)
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
    return _read_volume(path)


def _read_volume(path: Path) -> sitk.Image:
    if not path.exists():
        raise PatientError("no such file", where=path.name, remedy="correct the path in cohort.csv")
    if not path.name.lower().endswith(_FORMATS):
        raise PatientError(
            "not a known image format",
            where=path.name,
            remedy=f"use {', '.join(_FORMATS)} or DICOM",
        )
    remedy = "copy or export the file again"
    if path.name.lower().endswith((".nii", ".nii.gz")):
        findings = examine(path)
        if findings.missing:
            raise PatientError(f"unreadable: {findings.missing}", where=path.name, remedy=remedy)
        _check_finite(findings.not_finite, path)
    try:
        read = sitk.ReadImage(str(path))
    except RuntimeError as error:
        if "orthonormal" in str(error):
            what = "the axes of the volume are not at right angles (sheared or gantry-tilted)"
            remedy = "resample it to a rectangular grid"
        else:
            what = "unreadable: damaged, truncated, or not what its name says"
        raise PatientError(what, where=path.name, remedy=remedy) from None
    return _checked(read, path)


def _check_finite(bad: int, path: Path) -> None:
    if bad:
        raise PatientError(
            f"{bad} voxels are not finite numbers",
            where=path.name,
            remedy="export the file again from the original series or segmentation",
        )


def _checked(image: sitk.Image, path: Path) -> sitk.Image:
    """A 3-D volume of finite numbers, as float32."""
    shape = " x ".join(str(n) for n in image.GetSize())
    if image.GetDimension() != 3:
        raise PatientError(
            f"not 3-D: {image.GetDimension()} dimensions ({shape})",
            where=path.name,
            remedy="save the one volume that was segmented",
        )
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise PatientError(
            f"{image.GetNumberOfComponentsPerPixel()} values a voxel instead of one",
            where=path.name,
            remedy="save a grey-value volume, not colours or vectors",
        )
    made = sitk.Cast(image, sitk.sitkFloat32)
    _check_finite(int(np.count_nonzero(~np.isfinite(sitk.GetArrayViewFromImage(made)))), path)
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
