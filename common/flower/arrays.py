"""Put Flower's large arrays together once, where Flower copies them four times.

Flower 1.41 copies every part of an array that arrives, joins the copies in a buffer that grows, and
copies that. For the weights of a large network this takes seconds of a round in each program on the
way, and most of its memory. Replaces `inflate` of two of Flower's classes; its checks stay.
"""

from __future__ import annotations

import ctypes
from typing import Any, cast

from flwr.app.message import Array
from flwr.app.message.arraychunk import ArrayChunk
from flwr.supercore.constant import HEAD_BODY_DIVIDER
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_children_ids_from_object_content,
    get_object_type_from_object_content,
)

from common.utils.bounded import MOST_SETTINGS, parse_json

_ARRAY_INFLATE = Array.inflate.__func__  # type: ignore[attr-defined]
_NOTHING = memoryview(b"")
_NEW_BYTES = ctypes.pythonapi.PyBytes_FromStringAndSize
_NEW_BYTES.argtypes, _NEW_BYTES.restype = [ctypes.c_char_p, ctypes.c_ssize_t], ctypes.py_object
_ADDRESS = ctypes.pythonapi.PyBytes_AsString
_ADDRESS.argtypes, _ADDRESS.restype = [ctypes.py_object], ctypes.c_void_p


def join_arrays_once() -> None:
    """Replace Flower's way of putting arrays together, in this process."""
    Array.inflate = classmethod(_inflate_array)  # type: ignore[assignment,method-assign]
    ArrayChunk.inflate = classmethod(_inflate_chunk)  # type: ignore[assignment,method-assign]


def _inflate_chunk(
    cls: type[ArrayChunk], object_content: bytes, children: dict[str, Any] | None = None
) -> ArrayChunk:
    """Return the part of an array where it lies in the bytes that arrived.

    Raises
    ------
    ValueError : another kind of object, or one with parts of its own.
    """
    if children or get_object_type_from_object_content(object_content) != cls.__qualname__:
        raise ValueError("not a part of an array")
    start = object_content.index(HEAD_BODY_DIVIDER) + len(HEAD_BODY_DIVIDER)
    return cls(data=memoryview(object_content)[start:])


def _inflate_array(
    cls: type[Array], object_content: bytes, children: dict[str, Any] | None = None
) -> Array:
    """Return an array put together from its parts.

    Raises
    ------
    ValueError : as in Flower, parts other than those announced.
    """
    parts = cast("dict[str, ArrayChunk]", children or {})
    checked = {name: ArrayChunk(_NOTHING) for name in parts}
    array = cast(Array, _ARRAY_INFLATE(cls, object_content, checked))
    names = get_object_children_ids_from_object_content(object_content)
    order = parse_json(get_object_body(object_content, cls), MOST_SETTINGS)["arraychunk_ids"]
    array.data = _joined([parts[names[position]] for position in order])
    return array


def _joined(parts: list[ArrayChunk]) -> bytes:
    """Return the bytes of the parts end to end.

    Each part then becomes a view of the whole, so that its received bytes are freed before the next
    one is copied; a part that another array shares stays readable.
    """
    size = sum(len(part.data) for part in parts)
    # Python's C interface allows this: new bytes may be filled by their creator alone
    whole: bytes = _NEW_BYTES(None, size)
    target = memoryview((ctypes.c_ubyte * size).from_address(_ADDRESS(whole))).cast("B")
    view, start = memoryview(whole), 0
    for part in parts:
        end = start + len(part.data)
        target[start:end] = part.data
        part.data = view[start:end]
        start = end
    return whole
