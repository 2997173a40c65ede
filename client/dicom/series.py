"""A DICOM CT series as a volume."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage

from client.dicom.header import conforming, kind_of, read_header
from client.dicom.identity import SeriesIdentity
from client.imaging.errors import PatientError
from client.imaging.source import is_dicom

_NEEDED = [
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "RescaleSlope",
    "RescaleIntercept",
]
_TAGS = [*_NEEDED, "ImageType", "FrameOfReferenceUID", "RescaleType"]
_GAP_TOLERANCE_MM = 0.01
_TILT_TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class _Slice:
    """One slice; `grid` is rows, columns and their spacing, `height` the place along the normal."""

    path: Path
    series: str
    instance: str
    frame_of_reference: str
    grid: tuple[float, ...]
    orientation: tuple[float, ...]
    position: NDArray[np.float64]
    height: float


def read_series(path: Path) -> tuple[sitk.Image, SeriesIdentity]:
    """A CT series in HU as float32, and which series it is.

    Slices lie where Image Position (Patient) says; their names and numbers do not matter.

    Parameters
    ----------
    path : folder with one CT series, or one slice of the series that is meant; files that are not
        CT slices, and localizers, are passed over.

    Raises
    ------
    PatientError : no CT series or several, a damaged file, a slice without position or rescale or
        in other units than HU, slices of different size or frame of reference, not parallel,
        shifted (gantry tilt), missing, doubled or unevenly spaced, pixels that cannot be decoded.
    """
    slices = _checked_slices(path)
    return _read_pixels([s.path for s in slices], _folder(path).name), _identity_of(slices)


def check_series_headers(path: Path) -> SeriesIdentity:
    """Return which series `read_series` would read, by its headers alone.

    Raises
    ------
    PatientError : as `read_series`, but for pixels that cannot be decoded.
    """
    return _identity_of(_checked_slices(path))


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _identity_of(slices: list[_Slice]) -> SeriesIdentity:
    first, instances = slices[0], tuple(s.instance for s in slices)
    return SeriesIdentity(first.series, first.frame_of_reference, instances)


def _checked_slices(path: Path) -> list[_Slice]:
    """Return the slices of the one series that is meant, from the lowest up."""
    folder = _folder(path)
    wanted = _series_of(path) if path != folder else None
    series = _slices_by_series(folder)
    if wanted is None and len(series) > 1:
        raise PatientError(
            f"{len(series)} CT series in one folder",
            where=folder.name,
            remedy="keep one series a folder, the one that was segmented, or name one of its files",
        )
    uid = wanted or next(iter(series))
    slices = sorted(series[uid], key=lambda s: s.height)
    _check_alike(slices, folder.name)
    _check_stack(slices, folder.name)
    return slices


def _slices_by_series(folder: Path) -> dict[str, list[_Slice]]:
    series: dict[str, list[_Slice]] = defaultdict(list)
    others: Counter[str] = Counter()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and is_dicom(p)):
        header = read_header(path, _TAGS)
        kind = _kind(header)
        if kind == CTImageStorage.name:
            series[_uid_of(header, path)].append(_slice(path, header))
        else:
            others[kind] += 1
    if not series:
        found = ", ".join(f"{n} x {kind}" for kind, n in sorted(others.items()))
        raise PatientError(
            f"no CT series in the folder ({found or 'no DICOM files'})",
            where=folder.name,
            remedy="give the folder of a CT series, exported as single slices",
        )
    return series


def _series_of(path: Path) -> str:
    header = read_header(path, _TAGS)
    kind = _kind(header)
    if kind != CTImageStorage.name:
        raise PatientError(
            f"not a CT slice but {kind}",
            where=path.name,
            remedy="give the folder of a CT series, exported as single slices, or one of its files",
        )
    return _uid_of(header, path)


def _kind(header: pydicom.FileDataset) -> str:
    localizer = "LOCALIZER" in (header.get("ImageType") or ())
    return f"localizer ({kind_of(header)})" if localizer else kind_of(header)


def _uid_of(header: pydicom.FileDataset, path: Path) -> str:
    _check_complete(header, path)
    return str(header.SeriesInstanceUID)


def _check_complete(header: pydicom.FileDataset, path: Path) -> None:
    for tag in _NEEDED:
        if header.get(tag) in (None, ""):
            raise PatientError(
                f"a CT slice has no {tag}",
                where=path.name,
                remedy="export the original series from the scanner or the archive",
            )
    if header.get("RescaleType") not in (None, "", "HU"):
        raise PatientError(
            "the voxels are not in HU: Rescale Type says otherwise",
            where=path.name,
            remedy="give the CT itself, not a map computed from it",
        )


def _slice(path: Path, header: pydicom.FileDataset) -> _Slice:
    with conforming(path.name):
        orientation = tuple(float(v) for v in header.ImageOrientationPatient)
        position = np.array([float(v) for v in header.ImagePositionPatient])
        normal = np.cross(orientation[:3], orientation[3:])
        spacing = (float(v) for v in header.PixelSpacing)
        return _Slice(
            path=path,
            series=str(header.SeriesInstanceUID),
            instance=str(header.SOPInstanceUID),
            frame_of_reference=str(header.get("FrameOfReferenceUID") or ""),
            grid=(float(header.Rows), float(header.Columns), *spacing),
            orientation=orientation,
            position=position,
            height=float(normal @ position),
        )


def _check_alike(slices: list[_Slice], where: str) -> None:
    remedy = "export the one series that was segmented again"
    if len(slices) < 2:
        raise PatientError("the series has one slice only", where=where, remedy=remedy)
    if np.ptp([s.grid for s in slices], axis=0).max() > 1e-4:
        raise PatientError("slices of different size or pixel spacing", where=where, remedy=remedy)
    if len({s.frame_of_reference for s in slices}) > 1:
        raise PatientError("slices of different frames of reference", where=where, remedy=remedy)
    if np.ptp([s.orientation for s in slices], axis=0).max() > 1e-4:
        raise PatientError("the slices are not parallel", where=where, remedy=remedy)


def _check_stack(slices: list[_Slice], where: str) -> None:
    """Whether slices, in the order of their heights, stand straight above each other, evenly."""
    remedy = "export the whole series again, or resample it to even slices"
    heights = np.array([s.height for s in slices])
    gaps = np.diff(heights)
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
    first = slices[0]
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    ways = np.array([s.position - first.position for s in slices])
    shift = float(np.linalg.norm(ways - np.outer(heights - heights[0], normal), axis=1).max())
    if shift > _TILT_TOLERANCE_MM:
        raise PatientError(
            f"the slices are shifted against each other by up to {shift:.1f} mm (gantry tilt)",
            where=where,
            remedy="export the tilt-corrected series, or resample it to a rectangular grid",
        )


def _read_pixels(files: list[Path], where: str) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    # every slice by its own rescale: the type of the first might not hold the others' values
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        return reader.Execute()
    except RuntimeError:
        raise PatientError(
            "a slice of the series cannot be decoded",
            where=where,
            remedy="export the series again, uncompressed",
        ) from None
