"""Headers of MetaImage files (itk.org/Wiki/ITK/MetaIO/Documentation)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

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

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_SAME = {
    "position": "offset",
    "origin": "offset",
    "rotation": "transformmatrix",
    "orientation": "transformmatrix",
}
_KNOWN = {
    *("objecttype", "objectsubtype", "ndims", "binarydata", "binarydatabyteordermsb"),
    *("elementbyteordermsb", "compresseddata", "compresseddatasize", "compressionlevel"),
    *("transformmatrix", "offset", "centerofrotation", "anatomicalorientation", "distanceunits"),
    *("elementspacing", "elementsize", "dimsize", "headersize", "modality", "elementmin"),
    *("elementmax", "elementnumberofchannels", "elementtype", "elementdatafile", "id", "parentid"),
    *("elementtointensityfunctionslope", "elementtointensityfunctionoffset", "color"),
    *("acquisitiondate", "transformtype"),
}
_LETTERS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "I": (2, 1), "S": (2, -1)}
"""Patient axis (LPS) that starts at a side, and its sign: RAI starts right, in front and below."""

_ACROSS = 0.1
"""Cosine below which an axis does not run in a direction at all."""
_LAST = re.compile(rb"^[ \t]*ElementDataFile[ \t]*=[^\n]*\n", re.IGNORECASE | re.MULTILINE)
_ONE_FILE = "save it as one .mha file"
_JOIN = (
    "no header may name other files to read; join the two where both lie, with 3D Slicer or"
    ' SimpleITK: WriteImage(ReadImage("ct.mhd"), "ct.mha")'
)


def parse(start: bytes) -> Parsed:
    """Read a header, up to and including the line ElementDataFile."""
    end = _LAST.search(start)
    if end is None:
        return None, (Fault("unreadable: its header is not that of a MetaImage file"),)
    fields, repeated = _fields(start[: end.end()])
    faults = [Fault(f"the header has {name} twice, or under two names") for name in repeated]
    faults += _storage_faults(fields)
    count = fields.get("ndims", "")
    sizes = _numbers(fields, "dimsize")
    if sizes is None or not all(n.is_integer() for n in sizes):
        faults.append(Fault(f"DimSize is {_said(fields, 'dimsize')}, not whole numbers"))
    elif str(len(sizes)) != count:
        faults.append(Fault(f"NDims is {_said(fields, 'ndims')}, but DimSize has {len(sizes)}"))
    elif len(sizes) != 3:
        faults.append(not_3d([int(n) for n in sizes]))
    else:
        faults += _grid_faults(fields, [int(n) for n in sizes])
    return (None if faults else _header(fields, end.end())), tuple(faults)


def pairs(start: bytes) -> dict[str, str]:
    """Return the fields without meaning for grid or storage: comments, names, further keys."""
    end = _LAST.search(start)
    found: dict[str, str] = {}
    for line in start[: end.end() if end else len(start)].decode("latin-1").split("\n"):
        key, _, value = line.partition("=")
        if key.strip() and key.strip().lower() not in _KNOWN | set(_SAME):
            found[key.strip()] = value.strip()
    return found


def _fields(header: bytes) -> tuple[dict[str, str], list[str]]:
    """Return the fields by name in lower case, and the names that come twice."""
    fields: dict[str, str] = {}
    repeated: list[str] = []
    for line in header.decode("latin-1").split("\n"):
        key, _, value = line.partition("=")
        name = _SAME.get(key.strip().lower(), key.strip().lower())
        if not name:
            continue
        if name in fields and name in _KNOWN:
            repeated.append(key.strip())
        fields[name] = value.strip()
    return fields, repeated


def _storage_faults(fields: Mapping[str, str]) -> Iterator[Fault]:
    if fields.get("objecttype", "Image").lower() != "image":
        yield Fault(f"ObjectType is {_said(fields, 'objecttype')}, not Image")
    if fields["elementdatafile"].lower() != "local":
        yield Fault("a detached header: its voxels are in another file", _JOIN)
    if fields.get("headersize", "0") != "0":
        said = _said(fields, "headersize")
        yield Fault(f"HeaderSize is {said}: where the voxels begin is unclear", _ONE_FILE)
    if not _true(fields, "binarydata"):
        yield Fault(f"BinaryData is {_said(fields, 'binarydata')}, not True", _ONE_FILE)
    channels = fields.get("elementnumberofchannels", "1")
    if channels != "1":
        yield colour_fault(channels)
    kind = fields.get("elementtype", "").upper()
    if kind not in _TYPES:
        said = _said(fields, "elementtype")
        yield Fault(f"ElementType is {said}, which is not a type of grey values")
    elif _TYPES[kind][1] != "1":
        yield from _order_faults(fields)
    yield from _packing_faults(fields)
    for name, plain in (("slope", 1.0), ("offset", 0.0)):
        found = _numbers(fields, f"elementtointensityfunction{name}")
        if found != [plain] and f"elementtointensityfunction{name}" in fields:
            said = fields[f"elementtointensityfunction{name}"]
            yield Fault(
                f"ElementToIntensityFunction{name.capitalize()} is {said}: the voxels are not HU",
                "save the volume with its values in HU",
            )


def _order_faults(fields: Mapping[str, str]) -> Iterator[Fault]:
    names = ("binarydatabyteordermsb", "elementbyteordermsb")
    given = {_true(fields, name) for name in names if name in fields}
    if len(given) != 1:
        yield Fault(
            f"BinaryDataByteOrderMSB is {_said(fields, names[0])} and ElementByteOrderMSB "
            f"{_said(fields, names[1])}: the order of bytes is "
            + ("contradictory" if given else "not said")
        )


def _packing_faults(fields: Mapping[str, str]) -> Iterator[Fault]:
    if _true(fields, "compresseddata"):
        size = fields.get("compresseddatasize", "")
        if not size.isdecimal() or int(size) == 0:
            yield Fault(f"CompressedDataSize is {_said(fields, 'compresseddatasize')}")


def _grid_faults(fields: Mapping[str, str], sizes: list[int]) -> Iterator[Fault]:
    spacing = _three(fields, "elementspacing")
    extent = _three(fields, "elementsize")
    offset = _three(fields, "offset")
    if spacing is None:
        what = f"ElementSpacing is {_said(fields, 'elementspacing')}, not three numbers"
        yield Fault(what + (f" (ElementSize {fields['elementsize']})" if extent else ""))
    elif "elementsize" in fields and (
        extent is None or not np.allclose(extent, spacing, rtol=RELATIVE, atol=0)
    ):
        yield Fault(
            f"ElementSpacing says {numbers(spacing)} mm, ElementSize {fields['elementsize']}",
            "find out which is right, and correct the other or convert the volume again",
        )
    if offset is None:
        yield Fault(f"Offset is {_said(fields, 'offset')}, not three numbers")
    centre = _three(fields, "centerofrotation") if "centerofrotation" in fields else [0.0] * 3
    if centre != [0.0] * 3:
        yield Fault(f"CenterOfRotation is {_said(fields, 'centerofrotation')}, not 0 0 0")
    faults = list(grid_faults(sizes, spacing or (), "ElementSpacing", offset or ()))
    yield from faults
    yield from _axis_faults(fields)
    if spacing is not None and not faults:
        unit = fields.get("distanceunits")
        yield from unit_faults(unit.lower() if unit else None, spacing, "DistanceUnits")


def _axis_faults(fields: Mapping[str, str]) -> Iterator[Fault]:
    found = _numbers(fields, "transformmatrix")
    if found is None or len(found) != 9:
        yield Fault(
            f"TransformMatrix is {_said(fields, 'transformmatrix')}: how the axes lie in the "
            "patient is not said"
        )
        return
    axes = np.reshape(found, (3, 3)).T
    lengths = np.linalg.norm(axes, axis=0)
    if (lengths > 0).all() and not np.allclose(lengths, 1, rtol=0, atol=1e-3):
        yield Fault(
            f"TransformMatrix stretches the axes by {numbers(lengths.tolist())}: it must only turn"
        )
        return
    faults = list(axis_faults(axes, "TransformMatrix"))
    yield from faults
    letters = fields.get("anatomicalorientation", "???").upper()
    if faults or letters == "???":
        return
    known = len(letters) == 3 and all(letter in _LETTERS for letter in letters)
    ways = [_LETTERS[letter] for letter in letters] if known else []
    along = [axes[patient, i] * sign for i, (patient, sign) in enumerate(ways)]
    # ITK writes the sides from which the axes start, others those to which they lead
    if not known or not (min(along) > _ACROSS or max(along) < -_ACROSS):
        yield Fault(
            f"AnatomicalOrientation says {letters}, TransformMatrix "
            f"{fields['transformmatrix']}: they contradict each other",
            "find out which is right, and correct the other or convert the volume again",
        )


def _numbers(fields: Mapping[str, str], name: str) -> list[float] | None:
    try:
        return [float(part) for part in fields[name].split()]
    except (KeyError, ValueError):
        return None


def _three(fields: Mapping[str, str], name: str) -> list[float] | None:
    found = _numbers(fields, name)
    return found if found is not None and len(found) == 3 else None


def _true(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "").lower() in ("true", "t", "1")


def _said(fields: Mapping[str, str], name: str) -> str:
    return fields.get(name) or "missing"


def _header(fields: Mapping[str, str], offset: int) -> VolumeHeader:
    sizes, matrix = _need(fields, "dimsize"), _need(fields, "transformmatrix")
    axes = np.reshape(matrix, (3, 3)).T
    big = any(_true(fields, n) for n in ("binarydatabyteordermsb", "elementbyteordermsb"))
    packed = _true(fields, "compresseddata")
    x, y, z = (int(n) for n in sizes)
    return VolumeHeader(
        size=(x, y, z),
        spacing=triple(_need(fields, "elementspacing")),
        direction=axes / np.linalg.norm(axes, axis=0),
        origin=triple(_need(fields, "offset")),
        voxel=(">" if big else "<") + _TYPES[fields["elementtype"].upper()],
        offset=offset,
        packing="zlib" if packed else "none",
        packed=int(fields["compresseddatasize"]) if packed else None,
    )


def _need(fields: Mapping[str, str], name: str) -> Sequence[float]:
    found = _numbers(fields, name)
    if found is None or not all(map(math.isfinite, found)):
        raise ValueError("a header with faults")
    return found
