"""Check the headers of one patient's images: takes seconds, before any voxel is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.dicom.header import read_header
from client.dicom.identity import SeriesIdentity
from client.dicom.series import check_series_headers
from client.imaging.errors import PatientError
from client.imaging.source import is_dicom, split_roi

Kind = Literal["image", "mask"]
_FORMATS = (".nii", ".nii.gz", ".nrrd", ".mha")
T = TypeVar("T")


@dataclass(frozen=True)
class HeaderProblem:
    """One reason why an image or a mask cannot be used; `file` is a name without its folder."""

    kind: Kind
    file: str
    what: str
    remedy: str


def first_look(
    image: Path, masks: Mapping[str, Path], *, confirmed: bool = False
) -> list[HeaderProblem]:
    """Check the headers of a patient's image and masks.

    Whatever a header cannot tell is left to those who read the voxels.

    Parameters
    ----------
    image : as cohort.csv has it: a volume, a folder of a DICOM series, a DICOM file.
    masks : by reading.
    confirmed : the hospital has looked at this patient's contours, and they belong to the image.
    """
    found: list[HeaderProblem] = []
    identity = _guarded(found, "image", image.name, partial(_check_image, image))
    for path in masks.values():
        _guarded(found, "mask", path.name, partial(_check_mask, path, identity, confirmed))
    return found


def _check_image(path: Path) -> SeriesIdentity | None:
    """Check an image; return which series it is, None for a volume."""
    if path.is_dir() or is_dicom(path):
        return check_series_headers(path)
    _check_volume(path)
    return None


def _check_mask(path: Path, identity: SeriesIdentity | None, confirmed: bool) -> None:
    """Check a mask against the series that its image is.

    Parameters
    ----------
    identity : None where the image is a volume, or cannot be used.
    """
    file, _ = split_roi(path)
    if is_dicom(file):
        read_header(file, [])
    elif not file.is_dir():
        _check_volume(file)


def _check_volume(path: Path) -> None:
    """Check that a volume is there, of a known format, three-dimensional, with one value a voxel.

    Raises
    ------
    PatientError : it is not.
    """
    if not path.exists():
        raise PatientError("no such file", where=path.name, remedy="correct the path in cohort.csv")
    if not path.name.lower().endswith(_FORMATS):
        remedy = f"use {', '.join(_FORMATS)} or DICOM"
        raise PatientError("not a known image format", where=path.name, remedy=remedy)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return  # the one who reads it says why, in better words
    if reader.GetDimension() != 3:
        shape = " x ".join(str(n) for n in reader.GetSize())
        raise PatientError(
            f"not 3-D: {reader.GetDimension()} dimensions ({shape})",
            where=path.name,
            remedy="save the one volume that was segmented",
        )
    if reader.GetNumberOfComponents() != 1:
        raise PatientError(
            f"{reader.GetNumberOfComponents()} values a voxel instead of one",
            where=path.name,
            remedy="save a grey-value volume, not colours or vectors",
        )


def _guarded(found: list[HeaderProblem], kind: Kind, file: str, check: Callable[[], T]) -> T | None:
    """Return what a check gives, or None and note a problem: one patient never stops the others."""
    try:
        return check()
    except PatientError as error:
        found.append(HeaderProblem(kind, error.where or file, error.what, error.remedy))
    except Exception as error:
        # whatever a library makes of the file
        what = f"its header could not be read: {type(error).__name__}"
        found.append(HeaderProblem(kind, file, what, "check the file; it may have an unusual form"))
    return None
