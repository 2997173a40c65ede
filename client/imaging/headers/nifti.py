"""Headers of NIfTI-1 and NIfTI-2 files (nifti1.h, nifti2.h)."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.headers.volume import (
    RELATIVE,
    Fault,
    Parsed,
    VolumeHeader,
    axis_faults,
    colour_fault,
    grid_faults,
    not_3d,
    numbers,
    triple,
    unit_faults,
)

_NIFTI1, _NIFTI2 = 348, 540
_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_COLOURS = {32: "2", 128: "3", 1792: "2", 2048: "2", 2304: "4"}
_VECTOR_INTENTS = {1004, 1005, 1006, 1007, 1008, 1009, 1010, 2003, 2004}
_UNITS = {0: None, 1: "metres", 2: "mm", 3: "micrometres"}
_CODES = range(6)

_TURN = 2e-3
"""Largest difference of direction cosines of qform and sform.

A quaternion's first component is the root of what the other three leave of 1: near half turns the
rounding of float32 moves it by 3e-4 and the cosines by 6e-4.
"""
_PLACE_MM = 0.01
_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_ALIGN = "write one of the two forms anew from the other (nibabel: set_sform, set_qform)"


@dataclass(frozen=True)
class _Fields:
    """Fields of a header that matter here, under the standard's names."""

    order: str
    version: int
    dim: tuple[int, ...]
    intent_code: int
    datatype: int
    bitpix: int
    pixdim: tuple[float, ...]
    vox_offset: float
    slope: float
    intercept: float
    units: int
    qform_code: int
    sform_code: int
    quatern: tuple[float, ...]
    qoffset: tuple[float, ...]
    srow: NDArray[np.float64]


def parse(start: bytes) -> Parsed:
    """Read an uncompressed header, with the extensions behind it."""
    order = _byte_order(start)
    if order is None:
        return None, (Fault("unreadable: its header is not that of a NIfTI file"),)
    whole = struct.unpack_from(f"{order}i", start)[0]
    if len(start) < whole + 4:
        return None, (Fault("unreadable: truncated, the file ends in its header"),)
    magic = start[344:348] if whole == _NIFTI1 else start[4:12]
    if magic[:3] in (b"ni1", b"ni2"):
        what = 'the header of a pair of files (magic "ni1"): its voxels are in an .img file'
        return None, (Fault(what, "save it as one .nii file"),)
    if magic not in (b"n+1\0", b"n+2\0\r\n\x1a\n"):
        what = "no magic number of NIfTI: an ANALYZE header does not say where left and right are"
        return None, (Fault(what),)
    fields = _fields(start, order, 1 if whole == _NIFTI1 else 2)
    faults = tuple(_faults(fields, start))
    return (None if faults else _header(fields)), faults


def _byte_order(start: bytes) -> str | None:
    for order in "<>":
        if len(start) >= 4 and struct.unpack_from(f"{order}i", start)[0] in (_NIFTI1, _NIFTI2):
            return order
    return None


_PLACES: dict[str, tuple[tuple[str, int], tuple[str, int]]] = {
    "dim": (("8h", 40), ("8q", 16)),
    "intent_code": (("h", 68), ("i", 504)),
    "datatype": (("h", 70), ("h", 12)),
    "bitpix": (("h", 72), ("h", 14)),
    "pixdim": (("8f", 76), ("8d", 104)),
    "vox_offset": (("f", 108), ("q", 168)),
    "slope": (("f", 112), ("d", 176)),
    "intercept": (("f", 116), ("d", 184)),
    "units": (("B", 123), ("i", 500)),
    "qform_code": (("h", 252), ("i", 344)),
    "sform_code": (("h", 254), ("i", 348)),
    "quatern": (("3f", 256), ("3d", 352)),
    "qoffset": (("3f", 268), ("3d", 376)),
    "srow": (("12f", 280), ("12d", 400)),
}
"""Form and place of each field in both versions of the header."""


def _fields(start: bytes, order: str, version: int) -> _Fields:
    found: dict[str, Any] = {}
    for name, places in _PLACES.items():
        form, place = places[version - 1]
        values = struct.unpack_from(order + form, start, place)
        found[name] = values if len(values) > 1 else values[0]
    found["vox_offset"] = float(found["vox_offset"])
    found["srow"] = np.array(found["srow"]).reshape(3, 4)
    return _Fields(order=order, version=version, **found)


def _faults(fields: _Fields, start: bytes) -> Iterator[Fault]:
    count = fields.dim[0]
    if not 1 <= count <= 7:
        yield Fault(f"unreadable: its header is not that of a NIfTI file (dim[0] is {count})")
        return
    sizes = fields.dim[1 : count + 1]
    if count < 3 or any(n != 1 for n in sizes[3:]):
        yield not_3d(sizes)
        return
    spacing = fields.pixdim[1:4]
    field = "pixdim"
    yield from _type_faults(fields)
    yield from grid_faults(fields.dim[1:4], spacing, field, ())
    yield from _scaling_faults(fields)
    yield from _offset_faults(fields, start)
    unit = _UNITS.get(fields.units & 7, f"code {fields.units & 7}")
    if all(math.isfinite(s) and s > 0 for s in spacing):
        yield from unit_faults(unit, spacing, "xyzt_units")
        yield from _orientation_faults(fields)


def _type_faults(fields: _Fields) -> Iterator[Fault]:
    if fields.datatype in _COLOURS:
        yield colour_fault(_COLOURS[fields.datatype])
    elif fields.datatype not in _TYPES:
        yield Fault(f"datatype {fields.datatype} is not a type of grey values")
    elif np.dtype(_TYPES[fields.datatype]).itemsize * 8 != fields.bitpix:
        wanted = np.dtype(_TYPES[fields.datatype]).itemsize * 8
        yield Fault(
            f"bitpix says {fields.bitpix} bits a voxel, datatype {fields.datatype} has {wanted}"
        )
    if fields.intent_code in _VECTOR_INTENTS:
        yield Fault(
            f"intent_code {fields.intent_code} says that the voxels are parts of vectors",
            "save a grey-value volume, not colours or vectors",
        )


def _scaling_faults(fields: _Fields) -> Iterator[Fault]:
    slope, intercept = fields.slope, fields.intercept
    stated = f"scl_slope is {slope:g} and scl_inter is {intercept:g}"
    remedy = "save the volume with its values in HU, scl_slope 1 and scl_inter 0"
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        yield Fault(f"{stated}: both must be finite", remedy)
    elif slope == 0 and intercept != 0:
        yield Fault(
            f"{stated}: a slope of 0 means no scaling, the intercept says otherwise", remedy
        )


def _offset_faults(fields: _Fields, start: bytes) -> Iterator[Fault]:
    first = (_NIFTI1 if fields.version == 1 else _NIFTI2) + 4
    offset = fields.vox_offset
    if not math.isfinite(offset) or offset != int(offset) or offset < first:
        yield Fault(
            f"vox_offset is {offset:g}: in one file with its header the voxels begin at a whole "
            f"number of bytes, {first} at the earliest",
            f"set vox_offset to {first}, or convert the volume again from the original series",
        )
        return
    at = first
    while start[first - 4] and at + 8 <= min(offset, len(start)):
        size = struct.unpack_from(f"{fields.order}i", start, at)[0]
        if size < 8 or at + size > offset:
            yield Fault(
                f"an extension of {size} bytes at byte {at} does not end before vox_offset "
                f"({offset:g})"
            )
            return
        at += size
    if any(start[at : int(offset)]):
        yield Fault(
            f"vox_offset is {offset:g}, and from byte {at} to there lies what is no extension",
            f"set vox_offset to {at}, or convert the volume again from the original series",
        )


def _orientation_faults(fields: _Fields) -> Iterator[Fault]:
    codes = {"qform_code": fields.qform_code, "sform_code": fields.sform_code}
    for name, code in codes.items():
        if code not in _CODES:
            yield Fault(f"{name} is {code}, which the standard does not define")
            return
    if not any(codes.values()):
        yield Fault("qform_code and sform_code are 0: left and right cannot be distinguished")
        return
    faults = [*_qform_faults(fields), *_sform_faults(fields)]
    yield from faults
    if all(codes.values()) and not faults:
        yield from _disagreement(fields)


def _qform_faults(fields: _Fields) -> Iterator[Fault]:
    if fields.qform_code == 0:
        return
    if fields.pixdim[0] not in (-1, 0, 1):
        yield Fault(f"pixdim[0] (qfac) is {fields.pixdim[0]:g}, neither 1 nor -1")
    if not all(map(math.isfinite, (*fields.quatern, *fields.qoffset))):
        yield Fault("the quaternion or offset of the qform is not finite")
    elif sum(q * q for q in fields.quatern) > 1 + RELATIVE:
        yield Fault(f"the quaternion of the qform ({numbers(fields.quatern)}) is longer than 1")


def _sform_faults(fields: _Fields) -> Iterator[Fault]:
    if fields.sform_code == 0:
        return
    if not np.isfinite(fields.srow).all():
        yield Fault("the sform holds numbers that are not finite")
        return
    axes = fields.srow[:, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if (np.abs(lengths / fields.pixdim[1:4] - 1) > RELATIVE).any():
        volumes = [abs(float(np.linalg.det(axes))), math.prod(fields.pixdim[1:4])]
        yield Fault(
            f"pixdim says {numbers(fields.pixdim[1:4])} mm, the sform {numbers(lengths)} mm "
            f"({volumes[1]:.4g} and {volumes[0]:.4g} mm3 a voxel)",
            "find out which is right, and correct the other or convert the volume again",
        )
    yield from axis_faults(axes, "the sform")


def _disagreement(fields: _Fields) -> Iterator[Fault]:
    turned, place = _qform(fields)
    axes, other = _sform(fields)
    difference = float(np.abs(turned - axes).max())
    if difference > _TURN:
        degrees = np.degrees(np.arccos(np.clip((turned * axes).sum(axis=0), -1, 1)).max())
        yield Fault(
            f"qform (code {fields.qform_code}) and sform (code {fields.sform_code}) turn the "
            f"volume differently, by {degrees:.3g} degrees",
            _ALIGN,
        )
    if float(np.abs(place - other).max()) > _PLACE_MM:
        yield Fault(
            f"the qform puts the first voxel at {numbers(place.tolist())} mm (LPS), the sform at "
            f"{numbers(other.tolist())}",
            _ALIGN,
        )


def _qform(fields: _Fields) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return unit vectors of the axes (columns) and origin, LPS (nifti1.h, method 2)."""
    b, c, d = fields.quatern
    a = math.sqrt(max(1 - b * b - c * c - d * d, 0.0))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    if fields.pixdim[0] < 0:
        rotation[:, 2] *= -1
    rotation /= np.linalg.norm(rotation, axis=0)
    return _TO_LPS @ rotation, _TO_LPS @ np.array(fields.qoffset)


def _sform(fields: _Fields) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return unit vectors of the axes (columns) and origin, LPS (nifti1.h, method 3)."""
    axes = fields.srow[:, :3]
    return _TO_LPS @ (axes / np.linalg.norm(axes, axis=0)), _TO_LPS @ fields.srow[:, 3]


def _header(fields: _Fields) -> VolumeHeader:
    direction, origin = _sform(fields) if fields.sform_code else _qform(fields)
    x, y, z = fields.dim[1:4]
    return VolumeHeader(
        size=(x, y, z),
        spacing=triple(fields.pixdim[1:4]),
        direction=direction,
        origin=triple(origin.tolist()),
        voxel=fields.order + _TYPES[fields.datatype],
        offset=int(fields.vox_offset),
        slope=fields.slope or 1.0,
        intercept=fields.intercept,
    )
