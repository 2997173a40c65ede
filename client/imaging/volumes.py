"""Volumes in NIfTI, NRRD and MetaImage files.

Voxels are read by the header that was checked, so the two cannot differ. Common libraries fill up
truncated files, turn voxels that are not finite into zeros, decompress nonsense, and read neither
NIfTI-2 nor a name such as `CT.Nii.Gz`.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from client.imaging.errors import PatientError
from client.imaging.headers import metaimage, nifti, nrrd
from client.imaging.headers.volume import Parsed, VolumeHeader

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
_PARSERS: Mapping[str, Callable[[bytes], Parsed]] = {
    ".nii": nifti.parse,
    ".nii.gz": nifti.parse,
    ".nrrd": nrrd.parse,
    ".mha": metaimage.parse,
}
_GZIP = b"\x1f\x8b"
_START = 1 << 20
"""Bytes at the start of a file that hold its header; with their extensions, few are larger."""
_MOST_PACKED = 1100
"""Most bytes from one byte of compressed data: 1032 (zlib's technical details)."""
LARGEST = 1 << 30
"""Voxels of the largest volume that is read: 1024 slices of 1024 x 1024, 4 GiB as float32."""
LONGEST_HEAD = 64 << 20
"""Most bytes before the voxels, with the extensions of a NIfTI header."""
_AGAIN = "copy or export the file again"


@dataclass(frozen=True)
class _Source:
    """File, whether it is compressed as a whole, and its header."""

    path: Path
    packed: bool
    header: VolumeHeader


def ending(path: Path) -> str:
    """Return the ending of a known format, in lower case; "" where there is none."""
    name = path.name.lower()
    return max((known for known in ENDINGS if name.endswith(known)), key=len, default="")


def check_volume_header(path: Path) -> None:
    """Read the header of a NIfTI, NRRD or MHA file and nothing else.

    Raises
    ------
    PatientError : no such file, another format, and every contradiction that the header holds:
        spacing, orientation, offset, scaling, units, axes that are not at right angles, more or
        fewer bytes than voxels.
    """
    _source(path)


def read_volume_header(path: Path) -> VolumeHeader:
    """Return the header of a volume; PatientError as `check_volume_header`."""
    return _source(path).header


def first_bytes(path: Path) -> bytes:
    """Return the start of a file, which holds its header, uncompressed; b"" when unreadable."""
    try:
        return _start(path)[0]
    except (OSError, EOFError, zlib.error):
        return b""


def read_volume(path: Path) -> sitk.Image:
    """Read a volume as float32, in the order in which the file stores it.

    Raises
    ------
    PatientError : as `check_volume_header`; truncated or damaged, or voxels that are not finite.
    """
    source = _source(path)
    header = source.header
    try:
        raw = _raw(source)
    except EOFError:
        raise _unreadable(path, "truncated, the file ends before its compressed data do") from None
    except (gzip.BadGzipFile, zlib.error):
        raise _unreadable(path, "its compressed data are damaged") from None
    if len(raw) != header.needed:
        raise _wrong_length(path, len(raw), header.needed)
    stored = np.frombuffer(raw, header.voxel).reshape(header.size[::-1])
    values = _values(stored, header)
    bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in values)
    if bad:
        raise PatientError(
            f"{bad} voxels are not finite numbers",
            where=path.name,
            remedy="export the file again from the original series or segmentation",
        )
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(header.spacing)
    image.SetDirection(header.direction.ravel().tolist())
    image.SetOrigin(header.origin)
    return image


def _source(path: Path) -> _Source:
    if not path.exists():
        raise PatientError("no such file", where=path.name, remedy="correct the path in cohort.csv")
    kind = ending(path)
    if not kind or path.is_dir():
        raise PatientError(
            "not a known image format",
            where=path.name,
            remedy=f"use {', '.join(ENDINGS)} or DICOM",
        )
    try:
        start, packed = _start(path)
    except EOFError:
        raise _unreadable(path, "truncated, the file ends before its compressed data do") from None
    except (gzip.BadGzipFile, zlib.error):
        raise _unreadable(path, "its compressed data are damaged") from None
    except OSError as error:
        raise _unreadable(
            path, error.strerror or "the disk or the permissions do not allow it"
        ) from None
    header, faults = _PARSERS[kind](start)
    if header is None:
        remedies = dict.fromkeys(
            _AGAIN if f.what.startswith("unreadable") else f.remedy for f in faults
        )
        raise PatientError(
            "; ".join(fault.what for fault in faults),
            where=path.name,
            remedy="; ".join(remedies),
        )
    if packed or header.packing != "none":
        _check_packed_length(path, header)
    else:
        behind = path.stat().st_size - header.offset
        if behind != header.needed:
            raise _wrong_length(path, behind, header.needed)
    _check_size(path, header)
    return _Source(path, packed, header)


def _start(path: Path) -> tuple[bytes, bool]:
    """Return the first bytes, uncompressed where a NIfTI file is compressed as a whole."""
    packed = False
    if ending(path).startswith(".nii"):
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        return file.read(_START), packed


def _check_size(path: Path, header: VolumeHeader) -> None:
    """Refuse sizes that no CT has, before memory is asked for: a small file may state any."""
    if math.prod(header.size) > LARGEST:
        shape = " x ".join(map(str, header.size))
        raise PatientError(
            f"{shape} voxels, more than the {LARGEST} of the largest volume that is read",
            where=path.name,
            remedy="crop it to the head and neck, or resample it",
        )
    if header.offset > LONGEST_HEAD:
        what = f"its voxels begin at byte {header.offset}, behind a header of impossible length"
        raise _unreadable(path, what)


def _check_packed_length(path: Path, header: VolumeHeader) -> None:
    """Compare the file's length with the header's sizes, as far as it tells without unpacking."""
    size = path.stat().st_size
    if header.packed is not None and size - header.offset != header.packed:
        raise PatientError(
            f"CompressedDataSize says {header.packed} bytes, {size - header.offset} follow the "
            "header",
            where=path.name,
            remedy=_AGAIN,
        )
    if header.needed > size * _MOST_PACKED:
        # do not even ask for that much memory
        raise _unreadable(path, f"truncated, {size} bytes cannot hold {header.needed} of voxels")


def _raw(source: _Source) -> bytes:
    """Read the voxels' bytes, and one more than needed where there are too many."""
    header = source.header
    if source.packed:
        with gzip.open(source.path, "rb") as file:
            file.seek(header.offset)
            return file.read(header.needed + 1)
    with source.path.open("rb") as file:
        file.seek(header.offset)
        if header.packing == "none":
            return file.read(header.needed + 1)
        if header.packing == "gzip":
            with gzip.open(file, "rb") as stream:
                return stream.read(header.needed + 1)
        unpacker = zlib.decompressobj()
        packed = file.read(header.needed + header.needed // 64 + _START)
        raw = unpacker.decompress(packed, header.needed + 1)
        if len(raw) == header.needed and not unpacker.eof:
            # the checksum follows the last voxel
            raw += unpacker.decompress(unpacker.unconsumed_tail, 1)
        if not unpacker.eof and len(raw) <= header.needed:
            raise EOFError
        return raw


def _values(stored: NDArray[np.generic], header: VolumeHeader) -> NDArray[np.float32]:
    """Apply the scaling; values beyond float32 become infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if header.slope == 1 and header.intercept == 0:
            return stored.astype(np.float32)
        scaled = np.empty(stored.shape, dtype=np.float32)
        for plane, made in zip(stored, scaled, strict=True):
            made[...] = plane.astype(np.float64) * header.slope + header.intercept
        return scaled


def _wrong_length(path: Path, found: int, needed: int) -> PatientError:
    if found < needed:
        return _unreadable(path, f"truncated, {max(found, 0)} of {needed} bytes of voxels")
    return PatientError(
        f"more bytes than voxels: {needed} by the sizes in the header, and others follow",
        where=path.name,
        remedy="convert the volume again from the original series: sizes or offset are wrong",
    )


def _unreadable(path: Path, what: str) -> PatientError:
    return PatientError(f"unreadable: {what}", where=path.name, remedy=_AGAIN)
