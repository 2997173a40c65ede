"""What the readers in use hide of a NIfTI file.

They fill a truncated file with what is not there, silently, and turn voxels that are not finite
into zeros. Field positions: nifti1.h. ITK, and so this package, reads no NIfTI-2.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_HEADER_BYTES = 348
_FLOATS = {16: "f4", 64: "f8"}
"""NIfTI codes of the types that can hold numbers that are not finite."""


@dataclass(frozen=True)
class Findings:
    """What is missing or damaged, in words (None when whole), and voxels that are not finite."""

    missing: str | None
    not_finite: int = 0


@dataclass(frozen=True)
class _Header:
    offset: int
    needed: int
    floats: str | None


def examine(path: Path) -> Findings:
    """Read a .nii or .nii.gz file to its end; a compressed one has its checksum verified too."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    try:
        return _examine(_chunks(path, packed))
    except EOFError:
        return Findings("truncated, the file ends before its compressed data do")
    except (gzip.BadGzipFile, zlib.error):
        return Findings("its compressed data are damaged")


def _chunks(path: Path, packed: bool) -> Iterator[bytes]:
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _examine(chunks: Iterator[bytes]) -> Findings:
    rest = next(chunks, b"")
    header = _read_header(rest[:_HEADER_BYTES])
    if header is None:
        return Findings("its header is not that of a NIfTI-1 file")
    size, bad = len(rest), 0
    rest = rest[header.offset :]
    while True:
        if header.floats is not None:
            whole = len(rest) - len(rest) % np.dtype(header.floats).itemsize
            bad += int(np.count_nonzero(~np.isfinite(np.frombuffer(rest[:whole], header.floats))))
            rest = rest[whole:]
        else:
            rest = b""
        chunk = next(chunks, b"")
        if not chunk:
            break
        size += len(chunk)
        rest += chunk
    if size < header.needed:
        return Findings(f"truncated, {size} of {header.needed} bytes")
    return Findings(None, bad)


def _read_header(header: bytes) -> _Header | None:
    """Where the voxels are; None when this is no NIfTI-1 header."""
    for order in "<>":
        if len(header) == _HEADER_BYTES and struct.unpack_from(f"{order}i", header)[0] == 348:
            dims = struct.unpack_from(f"{order}8h", header, 40)
            code, bits = struct.unpack_from(f"{order}2h", header, 70)
            offset = int(struct.unpack_from(f"{order}f", header, 108)[0])
            if 1 <= dims[0] <= 7 and bits > 0 and 0 <= offset <= _CHUNK:
                needed = offset + math.prod(dims[1 : dims[0] + 1]) * bits // 8
                floats = f"{order}{_FLOATS[code]}" if code in _FLOATS else None
                return _Header(offset, int(needed), floats)
    return None
