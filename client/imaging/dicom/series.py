"""Read a DICOM CT series as a volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from client.imaging.dicom.alike import check_rescale, differing
from client.imaging.dicom.folder import Contents, Found, listed, read_file, read_folder
from client.imaging.dicom.header import EXPORT_AGAIN, SeriesIdentity, conforming, kind_of, numbers
from client.imaging.dicom.pixels import read_hu
from client.imaging.dicom.stack import Grid, Slice, place, read_slice
from client.imaging.errors import PatientError

_NEEDED = ("SOPInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_MULTI_FRAME = (EnhancedCTImageStorage.name, LegacyConvertedEnhancedCTImageStorage.name)
_PARALLEL = 0.01
_MUCH_LESS = 0.9
_SINGLE_SLICES = "give the folder of a CT series, exported as single slices"


@dataclass(frozen=True)
class SeriesSurvey:
    """Survey of the headers in the folder of a series, before any pixel is read.

    Parameters
    ----------
    slices : in the order of the volume.
    passed_over : number of files that are not read, by kind.
    hints : reasons why slices may be missing at an end of the series, where spacing cannot show it.
    differing : elements that slices should share, and their number of values.
    """

    identity: SeriesIdentity
    slices: tuple[Slice, ...]
    grid: Grid
    passed_over: Mapping[str, int]
    hints: tuple[str, ...]
    differing: Mapping[str, int]


def read_series(path: Path) -> tuple[sitk.Image, SeriesIdentity]:
    """Read a CT series in HU as float32, and its identity.

    Slices are placed by Image Position (Patient); their names and numbers do not matter.

    Parameters
    ----------
    path : folder with one CT series, or one slice of the series that is meant; objects other than
        CT slices, and localizers, are skipped.

    Raises
    ------
    PatientError : as `survey_series`, `read_hu` and `check_rescale`.
    """
    survey = survey_series(path)
    volume = np.stack([read_hu(s.path, s.pixels) for s in survey.slices])
    check_rescale(survey.slices, volume, path.name)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(survey.grid.spacing)
    image.SetOrigin(survey.grid.origin)
    image.SetDirection(survey.grid.direction)
    return image, survey.identity


def check_series_headers(path: Path) -> SeriesIdentity:
    """Raise everything that `read_series` refuses for its headers, without reading a pixel."""
    return survey_series(path).identity


def survey_series(path: Path) -> SeriesSurvey:
    """Read the headers of a series, place its slices, and count all else in the folder.

    Raises
    ------
    PatientError : no CT series or several, a file that could be a slice and cannot be used, slices
        in a sub-folder, without position or rescale, in other units than HU, with pixels that
        contradict their description, of different size or frame of reference, not parallel,
        shifted (gantry tilt), missing, doubled, unevenly spaced, or of two series interleaved.
    """
    folder = path if path.is_dir() else path.parent
    wanted = _series_of(path) if path != folder else None
    contents = read_folder(folder)
    uid = wanted or _only_series(contents, folder.name)
    own = contents.slices[uid]
    _check_one_scan(own, folder.name)
    placed = sorted(((_slice(one), one.header) for one in own), key=lambda pair: pair[0].height)
    slices, headers = tuple(one for one, _ in placed), [header for _, header in placed]
    _check_strays(uid, slices[0], contents, folder.name)
    grid = place(slices, folder.name)
    instances = tuple(s.instance for s in slices)
    return SeriesSurvey(
        identity=SeriesIdentity(uid, slices[0].frame_of_reference, instances),
        slices=slices,
        grid=grid,
        passed_over=_passed_over(uid, contents),
        hints=tuple(_hints(headers, grid.spacing[2])),
        differing=differing(headers, folder.name),
    )


def _series_of(path: Path) -> str:
    found = read_file(path)
    if not found.is_slice:
        what = f"not a CT slice but {found.kind}"
        raise PatientError(what, where=path.name, remedy=f"{_SINGLE_SLICES}, or one of its files")
    return found.series


def _only_series(contents: Contents, where: str) -> str:
    if not contents.slices:
        kinds = [
            f"{one.kind} in the sub-folder {one.folder}" if one.folder else one.kind
            for one in contents.strays
        ]
        what = f"no CT series in the folder ({listed(kinds) or 'no DICOM files'})"
        raise PatientError(what, where=where, remedy=_SINGLE_SLICES)
    if len(contents.slices) > 1:
        raise PatientError(
            f"{len(contents.slices)} CT series in one folder",
            where=where,
            remedy="keep one series a folder, the one that was segmented, or name one of its files",
        )
    return next(iter(contents.slices))


def _check_one_scan(own: Sequence[Found], where: str) -> None:
    """Refuse slices under one series UID that come from several studies or patients."""
    for tag, what in (("StudyInstanceUID", "studies"), ("PatientID", "patient numbers")):
        if len({str(one.header.get(tag) or "") for one in own}) > 1:
            raise PatientError(
                f"slices of several {what} under one series UID",
                where=where,
                remedy="export the one series that was segmented again, into a folder of its own",
            )


def _slice(found: Found) -> Slice:
    where = found.path.name
    with conforming(where):
        for tag in _NEEDED:
            item = found.header.get_item(tag)
            if item is None or item.value in (None, "", b""):
                what = f"a CT slice has no {tag}"
                raise PatientError(what, where=where, remedy=EXPORT_AGAIN)
        if found.header.get("Modality") not in (None, "", "CT"):
            raise PatientError(
                "a CT slice by its class, but of another modality",
                where=where,
                remedy=EXPORT_AGAIN,
            )
        return read_slice(found.path, found.header)


def _check_strays(uid: str, first: Slice, contents: Contents, where: str) -> None:
    """Refuse files of the series that are not read, though they are placed like its slices."""
    remedy = "keep all slices of the series in one folder, and nothing else of it"
    strays = [one for one in contents.strays if one.series == uid]
    below = [one for one in strays if one.folder and one.is_slice]
    if below:
        raise PatientError(
            f"slices of the series lie in sub-folders ({listed([s.folder for s in below])})",
            where=where,
            remedy=remedy,
        )
    for one in strays:
        if kind_of(one.header) in _MULTI_FRAME or _parallel(one, first):
            what = f"{one.kind} among the slices, of the same series ({one.path.name})"
            raise PatientError(what, where=where, remedy=remedy)


def _parallel(found: Found, other: Slice) -> bool:
    if not found.header.get_item("ImageOrientationPatient"):
        return False
    try:
        own = numbers(found.header, "ImageOrientationPatient", 6, found.path.name)
    except PatientError:
        return True  # it has a place, which nobody can know
    return bool(np.abs(np.subtract(own, other.orientation)).max() < _PARALLEL)


def _passed_over(uid: str, contents: Contents) -> Mapping[str, int]:
    counts = Counter(contents.others)
    for series, slices in contents.slices.items():
        if series != uid:
            counts["CT slice of another series"] += len(slices)
    for one in contents.strays:
        kind = "CT slice of another series" if one.is_slice else one.kind
        counts[f"{kind} in a sub-folder" if one.folder else kind] += 1
    return dict(sorted(counts.items()))


def _hints(headers: Sequence[pydicom.Dataset], distance: float) -> Iterator[str]:
    """Describe missing slices that the headers suggest."""
    count = len(headers)
    between = [_number(header, "SpacingBetweenSlices") for header in headers]
    if any(0 < abs(own) < _MUCH_LESS * distance for own in between if own is not None):
        yield "Spacing Between Slices is less than their distance"
    for tag in ("ImagesInAcquisition", "NumberOfSeriesRelatedInstances"):
        most = max((_number(header, tag) or 0 for header in headers), default=0)
        if most > count:
            yield f"{tag} is larger than the number of slices"
    known = [_number(header, "InstanceNumber") for header in headers]
    placed = sorted({number for number in known if number is not None})
    if len(placed) < count:
        return
    if placed[-1] - placed[0] >= count:
        yield "instance numbers leave gaps"
    elif placed[0] > 1:
        yield "instance numbers begin above 1"


def _number(header: pydicom.Dataset, tag: str) -> float | None:
    if header.get_item(tag) is None:
        return None
    try:
        return numbers(header, tag, 1, "")[0]
    except PatientError:
        return None
