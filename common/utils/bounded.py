"""Read files and texts of other parties within limits that hold before anything is unpacked.

Whoever crafts a file chooses what its sizes, names and nesting say. So no length that is only
stated decides how much memory is used, and every reader here stops at a limit of its own.
"""

from __future__ import annotations

import json
import stat
import tomllib
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from common.errors import InputError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
MOST_TEXT = 256 * MIB
"""Bytes of a text file; a table of a million patients with thirty columns has about 200 MB."""
MOST_SETTINGS = MIB
"""Bytes of a settings file (TOML) or of a small signed document."""
MOST_JSON = 256 * MIB
"""Characters of a JSON text of which nothing else is known."""
DEEPEST = 64
"""Levels of lists and objects inside each other; no file of this system has half as many."""
_CHUNK = 64 * KIB
_ENCRYPTED = 0x1
_UNIX_MODE = 16


def read_bytes(path: Path, most: int, remedy: str = "") -> bytes:
    """Return the content of a file.

    Raises
    ------
    InputError : more than `most` bytes; no more than one beyond them is read.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"larger than {in_words(most)}", where=str(path), remedy=remedy)
    return content


def parse_json(text: str | bytes, most: int = MOST_JSON) -> Any:
    """Return the data in a JSON text.

    Raises
    ------
    ValueError : not JSON, longer than `most`, or nested more than `DEEPEST` levels deep.
    """
    if len(text) > most:
        raise ValueError(f"JSON longer than {in_words(most)}")
    try:
        data = json.loads(text)
    except RecursionError:
        data = None
        too_deep = True
    else:
        too_deep = is_too_deep(data)
    if too_deep:
        raise ValueError(f"JSON of more than {DEEPEST} levels")
    return data


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Return the tables in a TOML text.

    Raises
    ------
    InputError : not TOML, longer than `MOST_SETTINGS`, or nested more than `DEEPEST` levels deep.
    """
    if len(text) > MOST_SETTINGS:
        raise InputError(f"larger than {in_words(MOST_SETTINGS)}", where=where)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}", where=where) from None
    except RecursionError:
        raise InputError(f"TOML of more than {DEEPEST} levels", where=where) from None
    if is_too_deep(data):
        raise InputError(f"TOML of more than {DEEPEST} levels", where=where)
    return data


def is_too_deep(data: object) -> bool:
    """Return whether lists and dictionaries lie more than `DEEPEST` levels inside each other."""
    level = [data] if isinstance(data, list | dict) else []
    for _ in range(DEEPEST + 1):
        parts = (one.values() if isinstance(one, dict) else one for one in level)
        level = [part for own in parts for part in own if isinstance(part, (list, dict))]
        if not level:
            return False
    return True


def read_zip(
    file: BinaryIO, *, most_members: int, most_bytes: int, most_ratio: float = 1.0
) -> Mapping[str, bytes]:
    """Return the members of a zip file by name; nothing is written to disk.

    Parameters
    ----------
    most_bytes : of all members together, unpacked.
    most_ratio : unpacked bytes from one byte of the file; at 1, a member may not be compressed.

    Raises
    ------
    ValueError : more or larger members, by the list of members or by what unpacks; a name that is
        absolute, leads out of a folder or comes twice; a link; another method; encryption.
    zipfile.BadZipFile, zlib.error, and others of Python's reader : damaged.
    """
    size = file.seek(0, 2)
    most_bytes = min(most_bytes, int(size * most_ratio))
    with ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > most_members or sum(one.file_size for one in members) > most_bytes:
            raise ValueError("a zip file with more in it than is allowed")
        names = [one.filename for one in members]
        if len({*names}) < len(names):
            raise ValueError("a zip file with a name twice")
        methods = (ZIP_STORED,) if most_ratio <= 1 else (ZIP_STORED, ZIP_DEFLATED)
        for one in members:
            _check_member(one, methods)
        found: dict[str, bytes] = {}
        for one in members:
            with archive.open(one) as stream:
                found[one.filename] = stream.read(most_bytes + 1)
            most_bytes -= len(found[one.filename])
            if most_bytes < 0:
                raise ValueError("a zip file that unpacks to more than it says")
    return found


def _check_member(one: ZipInfo, methods: tuple[int, ...]) -> None:
    path = PurePosixPath(one.filename.replace("\\", "/"))
    drive = path.parts[0].endswith(":") if path.parts else False
    if path.is_absolute() or drive or ".." in path.parts or not path.parts:
        raise ValueError("a zip file with a name that leads out of its folder")
    if stat.S_ISLNK(one.external_attr >> _UNIX_MODE):
        raise ValueError("a zip file with a link")
    if one.flag_bits & _ENCRYPTED or one.compress_type not in methods:
        raise ValueError("a zip file that is compressed in another way, or encrypted")


def inflates_within(data: bytes, most: int) -> bool:
    """Return whether raw deflate data unpack to at most `most` bytes; none of them is kept.

    Raises
    ------
    zlib.error : damaged.
    """
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    total, at = 0, 0
    while at < len(data) and not unpacker.eof:
        rest = data[at : at + _CHUNK]
        at += len(rest)
        while rest and not unpacker.eof:
            total += len(unpacker.decompress(rest, _CHUNK))
            if total > most:
                return False
            rest = unpacker.unconsumed_tail
    return total + len(unpacker.flush()) <= most


def in_words(size: int) -> str:
    """Return a number of bytes as people write it.

    Examples
    --------
    >>> in_words(3 << 20), in_words(4096), in_words(100)
    ('3 MiB', '4 KiB', '100 bytes')
    """
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
