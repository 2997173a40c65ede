"""A skops file read as data: names, numbers and arrays, and never an object.

skops makes objects of scikit-learn's types and can vouch for the types alone. What such an object
holds goes unchecked into compiled code, where a child number of a tree is an address. So nothing
is made here: classes are names that can be compared, and a number is a number.
"""

from __future__ import annotations

import ast
import io
import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Self
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from numpy.lib.format import descr_to_dtype
from numpy.typing import NDArray

Array = NDArray[Any]
_NOT_ONE = "not a stacker that this release reads"
_MAGIC = b"\x93NUMPY\x01\x00"
LONGEST_HEAD = 1024
# what Python's readers raise where a file is damaged
_UNREADABLE = (
    *(BadZipFile, LookupError, RuntimeError, EOFError, OSError),
    *(MemoryError, OverflowError, struct.error),
)


class SkopsFile:
    """The parts of one file.

    Raises
    ------
    ValueError : not a skops file, or one that is packed: its size would not bound what it holds.
    """

    def __init__(self, blob: bytes) -> None:
        self._left = len(blob)
        try:
            with ZipFile(io.BytesIO(blob)) as archive:
                parts = archive.infolist()
                packed = any(part.compress_type != ZIP_STORED for part in parts)
                if packed or sum(part.file_size for part in parts) > len(blob):
                    raise ValueError(_NOT_ONE)
                self._parts = {part.filename: archive.read(part) for part in parts}
            self._schema = json.loads(self._parts["schema.json"])
            self._known = dict(_numbered(self._schema))
        except _UNREADABLE as error:
            raise ValueError(f"{_NOT_ONE} ({type(error).__name__})") from None

    @property
    def root(self) -> SkopsNode:
        """What the file holds."""
        return SkopsNode(self, self._schema)

    def part(self, name: object) -> bytes:
        """Bytes of a part; ValueError where there is none.

        Altogether no more than the file holds: a part that many entries refer to would grow.
        """
        if not isinstance(name, str) or name not in self._parts:
            raise ValueError(_NOT_ONE)
        self._left -= len(self._parts[name])
        if self._left < 0:
            raise ValueError(f"{_NOT_ONE}: parts that are used many times over")
        return self._parts[name]

    def known(self, number: object) -> Mapping[str, Any]:
        """What stands elsewhere in the file under a number; ValueError where nothing does."""
        found = self._known.get(number) if isinstance(number, int) else None
        if found is None:
            raise ValueError(_NOT_ONE)
        return found


class SkopsNode:
    """One entry of the file's schema; every look at it is a ValueError where it is another kind."""

    def __init__(self, file: SkopsFile, state: object) -> None:
        if isinstance(state, dict) and state.get("__loader__") == "CachedNode":
            state = file.known(state.get("__id__"))
        if not isinstance(state, dict):
            raise ValueError(_NOT_ONE)
        self._file, self._state = file, state

    @property
    def type_name(self) -> str:
        """Module and class, as written."""
        return f"{self._state.get('__module__')}.{self._state.get('__class__')}"

    def of_type(self, *names: str) -> Self:
        """This very node, if it stands for one of these classes."""
        if self.type_name not in names:
            raise ValueError(f"the stacker holds a type that is not trusted: {self.type_name}")
        return self

    def __getitem__(self, name: str) -> SkopsNode:
        """An attribute of an object, or an entry of a dictionary."""
        inside = self._content(dict)
        if inside.get("__loader__") == "DictNode":  # an object's attributes are one
            inside = SkopsNode(self._file, inside)._content(dict)
        if name not in inside:
            raise ValueError(f"{_NOT_ONE}: {self.type_name} without {name}")
        return SkopsNode(self._file, inside[name])

    def items(self) -> tuple[SkopsNode, ...]:
        """Entries of a list, a tuple or an array of objects."""
        return tuple(SkopsNode(self._file, one) for one in self._content(list))

    def text(self) -> str:
        """A text."""
        found = self._plain()
        if not isinstance(found, str):
            raise ValueError(_NOT_ONE)
        return found

    def number(self) -> float:
        """A finite number, Python's or numpy's."""
        if self._state.get("__loader__") == "NdArrayNode":
            return float(self.numbers(())[()])
        found = self._plain()
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise ValueError(_NOT_ONE)
        return float(_finite(np.array(found, dtype=np.float64))[()])

    def numbers(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """An array of finite numbers of this shape; -1 is any length."""
        array = self.array()
        fits = array.ndim == len(shape) and all(
            wanted in (-1, size) for wanted, size in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype.kind not in "iuf":
            raise ValueError(f"{_NOT_ONE}: an array of another shape")
        return _finite(array.astype(np.float64))

    def array(self) -> Array:
        """An array as it is stored; no objects."""
        if self._state.get("__loader__") != "NdArrayNode" or self._state.get("type") != "numpy":
            raise ValueError(_NOT_ONE)
        return _read_array(self._file.part(self._state.get("file")))

    def _content(self, kind: type) -> Any:
        content = self._state.get("content")
        if not isinstance(content, kind):
            raise ValueError(_NOT_ONE)
        return content

    def _plain(self) -> object:
        if self._state.get("__loader__") != "JsonNode":
            raise ValueError(_NOT_ONE)
        try:
            return json.loads(self._content(str))
        except RecursionError:
            raise ValueError(_NOT_ONE) from None


def _read_array(data: bytes) -> Array:
    """An array in numpy's format 1.0, of exactly the size that its header says."""
    start = len(_MAGIC) + 2
    head = int.from_bytes(data[len(_MAGIC) : start], "little")
    if not data.startswith(_MAGIC) or head > LONGEST_HEAD:
        raise ValueError(f"{_NOT_ONE}: an array of another format")
    rest = data[start + head :]
    try:
        shape, by_column, dtype = _layout(data[start : start + head].decode("latin1"))
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(rest):
            raise ValueError(f"{_NOT_ONE}: an array of another size than it says")
        if not rest:
            return np.zeros(shape, dtype)
        return np.frombuffer(rest, dtype).reshape(shape, order="F" if by_column else "C")
    except (*_UNREADABLE, SyntaxError, TypeError) as error:
        raise ValueError(f"{_NOT_ONE} ({type(error).__name__})") from None


def _layout(head: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type, of a header; numpy's own reader falls over some that are damaged."""
    found = ast.literal_eval(head.strip())
    if not isinstance(found, dict) or not isinstance(found["shape"], tuple):
        raise ValueError(_NOT_ONE)
    shape = found["shape"]
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(_NOT_ONE)
    return shape, bool(found["fortran_order"]), descr_to_dtype(found["descr"])


def _finite(array: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(array).all():
        raise ValueError(f"{_NOT_ONE}: a number that is not finite")
    return array


def _numbered(state: object) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Nodes with a number of their own, which others refer to."""
    if isinstance(state, dict):
        number = state.get("__id__")
        if isinstance(number, int) and state.get("__loader__") != "CachedNode":
            yield number, state
        for part in state.values():
            yield from _numbered(part)
    elif isinstance(state, list):
        for part in state:
            yield from _numbered(part)
