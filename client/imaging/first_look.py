"""Check the headers of one patient's images: takes seconds, before any voxel is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from client.data.cohort_file import NOTHING
from client.imaging.dicom.header import SeriesIdentity, read_header
from client.imaging.dicom.masks import check_mask_header
from client.imaging.dicom.series import check_series_headers
from client.imaging.errors import PatientError
from client.imaging.source import is_dicom, split_roi
from client.imaging.volumes import check_volume_header

Kind = Literal["image", "mask"]
T = TypeVar("T")


@dataclass(frozen=True)
class HeaderProblem:
    """Reason why an image or mask cannot be used; `file` is a name without its folder."""

    kind: Kind
    file: str
    what: str
    remedy: str


def first_look(
    image: Path, masks: Mapping[str, Path], *, confirmed: frozenset[str] = NOTHING
) -> list[HeaderProblem]:
    """Check the headers of a patient's image and masks.

    Checks that need voxels are left to those who read them.

    Parameters
    ----------
    image : path in cohort.csv: a volume, a folder of a DICOM series, a DICOM file.
    masks : by reading.
    confirmed : findings that the hospital confirmed (`client.data.cohort_file`).
    """
    found: list[HeaderProblem] = []
    identity = _guarded(found, "image", image.name, partial(_check_image, image))
    for path in masks.values():
        _guarded(found, "mask", path.name, partial(_check_mask, path, identity, confirmed))
    return found


def _check_image(path: Path) -> SeriesIdentity | None:
    """Check an image; return the identity of its series, None for a volume."""
    if path.is_dir() or is_dicom(path):
        return check_series_headers(path)
    check_volume_header(path)
    return None


def _check_mask(path: Path, identity: SeriesIdentity | None, confirmed: frozenset[str]) -> None:
    """Check a mask against the series of its image.

    Parameters
    ----------
    identity : None where the image is a volume, or cannot be used.
    """
    file, roi = split_roi(path)
    if is_dicom(file) and identity is not None:
        check_mask_header(file, identity, roi, confirmed=confirmed)
    elif is_dicom(file):
        read_header(file, [])
    elif not file.is_dir():
        check_volume_header(file)


def _guarded(found: list[HeaderProblem], kind: Kind, file: str, check: Callable[[], T]) -> T | None:
    """Run a check; note its failure and return None: one patient never stops the others."""
    try:
        return check()
    except PatientError as error:
        found.append(HeaderProblem(kind, error.where or file, error.what, error.remedy))
    except Exception as error:
        # a library may raise anything on such a file
        what = f"its header could not be read: {type(error).__name__}"
        found.append(HeaderProblem(kind, file, what, "check the file; it may have an unusual form"))
    return None
