"""Headers of NRRD files (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from client.imaging.headers.volume import (
    Fault,
    Packing,
    Parsed,
    VolumeHeader,
    axis_faults,
    colour_fault,
    grid_faults,
    not_3d,
    triple,
    unit_faults,
)

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        *("longlong", "long long", "long long int", "signed long long"),
        *("signed long long int", "int64", "int64_t"),
    ),
    "u8": (*("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),),
    "f4": ("float",),
    "f8": ("double",),
}
_NAMES = {name: kind for kind, names in _TYPES.items() for name in names}
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_PACKINGS: dict[str, Packing] = {"raw": "none", "gzip": "gzip", "gz": "gzip"}
_GREY_KINDS = {"domain", "space", "???", "none"}
_MM = re.compile(r"mm|millimet(?:er|re)s?", re.IGNORECASE)
_SAME = {
    "datafile": "data file",
    "lineskip": "line skip",
    "byteskip": "byte skip",
    "oldmin": "old min",
    "oldmax": "old max",
    "axismins": "axis mins",
    "axismaxs": "axis maxs",
}
_FIELDS = {
    *("dimension", "space", "space dimension", "space units", "space origin", "space directions"),
    *("measurement frame", "type", "block size", "encoding", "endian", "content", "min", "max"),
    *("old min", "old max", "data file", "line skip", "byte skip", "number", "sample units"),
    *("sizes", "spacings", "thicknesses", "axis mins", "axis maxs", "centerings", "centers"),
    *("labels", "units", "kinds"),
}
_ONE_FILE = "save it as one .nrrd file, raw or gzip"
_JOIN = (
    "no header may name other files to read; join the two where both lie, with 3D Slicer or"
    ' SimpleITK: WriteImage(ReadImage("ct.nhdr"), "ct.nrrd")'
)


def parse(start: bytes) -> Parsed:
    """Read a header, up to and including the empty line that ends it."""
    lines, offset = _lines(start)
    if not re.fullmatch(r"NRRD000[1-5]", lines[0] if lines else ""):
        return None, (Fault("unreadable: its header is not that of a NRRD file"),)
    fields, repeated = _fields(lines[1:])
    if offset is None and "data file" not in fields:
        return None, (Fault("unreadable: truncated, no empty line ends its header"),)
    faults = [Fault(f'the header has the field "{name}" twice') for name in repeated]
    faults += [
        Fault(f'the header has a field "{name}", which NRRD does not know')
        for name in fields
        if name not in _FIELDS
    ]
    faults += _storage_faults(fields)
    sizes = _integers(fields.get("sizes", ""))
    faults += _shape_faults(fields, sizes)
    if len(sizes) == 3:
        faults += _grid_faults(fields, sizes)
    if faults or offset is None:
        return None, tuple(faults)
    return _header(fields, sizes, offset), ()


def pairs(start: bytes) -> dict[str, str]:
    """Return the pairs of key and value, and the text of the field `content`."""
    lines, _ = _lines(start)
    split = [line.split(":=", 1) for line in lines[1:] if ":=" in line]
    found = {key.strip(): value.strip() for key, value in split}
    content = _fields(lines[1:])[0].get("content")
    return found if content is None else {**found, "content": content}


def _lines(start: bytes) -> tuple[list[str], int | None]:
    """Return the lines of the header, and where the voxels begin (None: no empty line)."""
    end = re.search(rb"\r?\n\r?\n", start)
    text = start[: end.start()] if end else start
    lines = [line.rstrip("\r") for line in text.decode("latin-1").split("\n")]
    return lines, end.end() if end else None


def _fields(lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the fields by name in lower case, and the names that come twice."""
    fields: dict[str, str] = {}
    repeated: list[str] = []
    for line in lines:
        if line.startswith("#") or ":=" in line or ":" not in line:
            continue
        key, value = line.split(":", 1)
        name = _SAME.get(key.strip().lower(), key.strip().lower())
        if name in fields:
            repeated.append(name)
        fields[name] = value.strip()
    return fields, repeated


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split())
    except ValueError:
        return ()


def _storage_faults(fields: Mapping[str, str]) -> Iterator[Fault]:
    if "data file" in fields:
        yield Fault("a detached header: its voxels are in another file", _JOIN)
    if fields.get("encoding", "").lower() not in _PACKINGS:
        yield Fault(f"encoding is {_said(fields, 'encoding')}, not raw or gzip", _ONE_FILE)
    for name in ("byte skip", "line skip"):
        if fields.get(name, "0") != "0":
            yield Fault(f"{name} is {fields[name]}: where the voxels begin is unclear", _ONE_FILE)
    for name in ("old min", "old max"):
        if name in fields:
            yield Fault(
                f"{name} is {fields[name]}: the stored values were quantised and are not HU",
                "save the original values",
            )
    kind = _NAMES.get(fields.get("type", "").lower())
    if kind is None:
        yield Fault(f"type is {_said(fields, 'type')}, which is not a type of grey values")
    elif kind[1] != "1" and fields.get("endian", "").lower() not in ("little", "big"):
        yield Fault(f"endian is {_said(fields, 'endian')}, neither little nor big")


def _shape_faults(fields: Mapping[str, str], sizes: tuple[int, ...]) -> Iterator[Fault]:
    kinds = fields.get("kinds", "").split()
    if not sizes:
        yield Fault(f"sizes is {_said(fields, 'sizes')}, not whole numbers")
    elif fields.get("dimension", "") != str(len(sizes)):
        yield Fault(f"dimension is {_said(fields, 'dimension')}, but there are {len(sizes)} sizes")
    elif kinds and len(kinds) != len(sizes):
        yield Fault(f"kinds names {len(kinds)} axes, but there are {len(sizes)} sizes")
    else:
        strange = [i for i, kind in enumerate(kinds) if kind.lower() not in _GREY_KINDS]
        for axis in strange:
            if len(sizes) > 3 and kinds[axis].lower() != "time":
                yield colour_fault(sizes[axis])
            else:
                yield Fault(f"axis {axis + 1} is of the kind {kinds[axis]}, not of space")
        if not strange and len(sizes) != 3:
            yield not_3d(sizes)


def _grid_faults(fields: Mapping[str, str], sizes: tuple[int, ...]) -> Iterator[Fault]:
    space = fields.get("space", "").strip('"').lower()
    if space not in _SPACES:
        yield Fault(
            f"space is {_said(fields, 'space')}: how the axes lie in the patient is not said",
            "save it with space left-posterior-superior (or RAS, LAS) and space directions",
        )
    given = [name for name in ("spacings", "axis mins", "axis maxs") if name in fields]
    if "space directions" in fields and given:
        yield Fault(
            f"space directions are {fields['space directions']} and {given[0]} {fields[given[0]]}: "
            "only one may be given",
            "save it with space directions alone",
        )
    axes = _vectors(fields.get("space directions", ""))
    if axes is None:
        what = f"space directions is {_said(fields, 'space directions')}"
        if "spacings" in fields:
            what += f" (spacings {fields['spacings']})"
        yield Fault(f"{what}, not three vectors", "save it with three space directions")
    origin = _vectors(fields.get("space origin", ""), 1)
    if origin is None:
        yield Fault(
            f"space origin is {_said(fields, 'space origin')}, not a point",
            "save it with its origin",
        )
    places = [] if origin is None else origin[:, 0].tolist()
    if axes is None:
        yield from grid_faults(sizes, (), "", places)
        return
    spacing = np.linalg.norm(axes, axis=0).tolist()
    faults = list(grid_faults(sizes, spacing, "the spacing by space directions", places))
    yield from faults
    if not faults:
        yield from axis_faults(axes, "space directions")
        yield from _unit_faults(fields, spacing)


def _unit_faults(fields: Mapping[str, str], spacing: list[float]) -> Iterator[Fault]:
    for name in ("space units", "units"):
        units = [unit for unit in re.findall(r'"([^"]*)"', fields.get(name, "")) if unit.strip()]
        if not units and fields.get(name, "").replace('"', "").strip():
            units = fields[name].split()
        strange = [unit for unit in units if not _MM.fullmatch(unit.strip())]
        if strange or units:
            yield from unit_faults(strange[0] if strange else "mm", spacing, name)
            return
    yield from unit_faults(None, spacing, "space units")


def _vectors(text: str, count: int = 3) -> NDArray[np.float64] | None:
    """Return vectors "(a,b,c)" as columns; None unless there are `count` of three numbers."""
    if not re.fullmatch(r"\s*(\([^()]*\)\s*)+", text):
        return None
    try:
        found = [[float(v) for v in part.split(",")] for part in re.findall(r"\(([^()]*)\)", text)]
    except ValueError:
        return None
    if len(found) != count or any(len(vector) != 3 for vector in found):
        return None
    return np.array(found).T


def _said(fields: Mapping[str, str], name: str) -> str:
    return f'"{fields[name]}"' if fields.get(name) else "missing"


def _header(fields: Mapping[str, str], sizes: tuple[int, ...], offset: int) -> VolumeHeader:
    axes, origin = _vectors(fields["space directions"]), _vectors(fields["space origin"], 1)
    if axes is None or origin is None:
        raise ValueError("a header with faults")
    signs = np.array(_SPACES[fields["space"].strip('"').lower()])
    lengths = np.linalg.norm(axes, axis=0)
    x, y, z = sizes
    order = ">" if fields.get("endian", "").lower() == "big" else "<"
    return VolumeHeader(
        size=(x, y, z),
        spacing=triple(lengths.tolist()),
        direction=signs[:, None] * axes / lengths,
        origin=triple((signs * origin[:, 0]).tolist()),
        voxel=order + _NAMES[fields["type"].lower()],
        offset=offset,
        packing=_PACKINGS[fields["encoding"].lower()],
    )
