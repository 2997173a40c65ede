"""A folder with one DICOM CT series as a volume."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from pydicom.errors import InvalidDicomError

from client.imaging.errors import PatientError

_TAGS = [
    "Modality",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
]
_GAP_TOLERANCE_MM = 0.01


@dataclass(frozen=True)
class _Slice:
    path: Path
    position: float
    orientation: tuple[float, ...]


def read_series(folder: Path) -> sitk.Image:
    """The one CT series in a folder, in HU; files that are not CT slices are passed over.

    Raises
    ------
    PatientError : no CT series or several, a slice without position or rescale, slices that are
        not parallel, missing, doubled or unevenly spaced, pixel data that cannot be decoded.
    """
    series: dict[str, list[_Slice]] = defaultdict(list)
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        header = _header(path)
        if header is not None and header.get("Modality") == "CT":
            series[str(header.get("SeriesInstanceUID"))].append(_slice(path, header))
    if not series:
        raise PatientError(
            "no CT series in the folder", where=folder.name, remedy="give the folder of a CT series"
        )
    if len(series) > 1:
        raise PatientError(
            f"{len(series)} CT series in one folder",
            where=folder.name,
            remedy="keep one series a folder, the one that was segmented",
        )
    slices = sorted(next(iter(series.values())), key=lambda s: s.position)
    _check_stack(slices, folder.name)
    return _read_pixels([s.path for s in slices], folder.name)


def _header(path: Path) -> pydicom.Dataset | None:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except (InvalidDicomError, EOFError):
        return None


def _slice(path: Path, header: pydicom.Dataset) -> _Slice:
    for tag in _TAGS[2:]:
        if header.get(tag) is None:
            raise PatientError(
                f"a CT slice has no {tag}",
                where=path.name,
                remedy="export the original series from the scanner or the archive",
            )
    orientation = tuple(float(v) for v in header.ImageOrientationPatient)
    normal = np.cross(orientation[:3], orientation[3:])
    position = float(np.dot(normal, [float(v) for v in header.ImagePositionPatient]))
    return _Slice(path, position, orientation)


def _check_stack(slices: list[_Slice], where: str) -> None:
    remedy = "export the whole series again, or resample it to even slices"
    if len(slices) < 2:
        raise PatientError("the series has one slice only", where=where, remedy=remedy)
    if np.ptp([s.orientation for s in slices], axis=0).max() > 1e-4:
        raise PatientError("the slices are not parallel", where=where, remedy=remedy)
    gaps = np.diff([s.position for s in slices])
    usual = float(np.median(gaps))
    tolerance = max(_GAP_TOLERANCE_MM, 0.01 * usual)
    if gaps.min() < tolerance:
        at = slices[int(gaps.argmin()) + 1].path.name
        raise PatientError(f"two slices at the same place ({at})", where=where, remedy=remedy)
    if gaps.max() - usual > tolerance or usual - gaps.min() > tolerance:
        worst = int(np.abs(gaps - usual).argmax())
        raise PatientError(
            f"missing or unevenly spaced slices: {gaps[worst]:.2f} mm before "
            f"{slices[worst + 1].path.name}, {usual:.2f} mm elsewhere",
            where=where,
            remedy=remedy,
        )


def _read_pixels(files: list[Path], where: str) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    try:
        return reader.Execute()
    except RuntimeError:
        raise PatientError(
            "a slice of the series cannot be decoded",
            where=where,
            remedy="export the series again, uncompressed",
        ) from None
