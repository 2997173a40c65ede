"""Convert plain objects to and from Flower's RecordDict.

The number of parts, not their size, dominates the transfer of a small message: each is a call of
its own at every program on the way. So all arrays of one dtype are joined, their layout travels in
the header, and few numbers travel there too. A buffer of many numbers equals the output of
`numpy.save`, written without its copies, which take seconds and gigabytes for a large network.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.lib import format as npy
from numpy.typing import NDArray

from common.messages.plain import from_tree, to_tree
from common.utils.bounded import MIB, parse_json

DTYPES = ("float64", "float32", "int64", "uint64", "uint32", "uint16", "uint8")
MOST_HEADER = 16 * MIB
MOST_INLINE = 64 * 1024
"""Bytes of numbers that travel in the header; those of a message with more have buffers."""
MOST_ARRAYS, MOST_AXES, LONGEST_AXIS = 50_000, 8, 1 << 31
_HEADER, _ARRAYS, _JSON = "header", "arrays", "json"
_KIND = "numpy.ndarray"  # Flower's name for such a buffer
_DECODED = "_fedlnm_decoded"


def encode(value: Any) -> RecordDict:
    """Encode a plain object as a RecordDict with a JSON header and its numbers by dtype.

    Raises
    ------
    TypeError : an array of a dtype that does not travel.
    """
    tree, arrays = to_tree(value)
    layout: list[list[Any]] = []
    buffers: dict[str, list[NDArray[Any]]] = {}
    for array in arrays:
        dtype = array.dtype.name
        if dtype not in DTYPES:
            raise TypeError(f"arrays of {dtype} do not travel")
        layout.append([dtype, list(array.shape)])
        buffers.setdefault(dtype, []).append(array.ravel())
    header = json.dumps({"tree": tree, "layout": layout}, allow_nan=False)
    if sum(array.nbytes for array in arrays) <= MOST_INLINE:
        inline = {dtype: b"".join(map(_raw, parts)) for dtype, parts in buffers.items()}
        return RecordDict({_HEADER: ConfigRecord({_JSON: header, **inline})})
    record = RecordDict({_HEADER: ConfigRecord({_JSON: header})})
    record[_ARRAYS] = ArrayRecord({dtype: _packed(parts) for dtype, parts in buffers.items()})
    return record


def _raw(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def decode(record: RecordDict) -> Any:
    """Decode the plain object in a RecordDict; its arrays are read-only views of the buffers.

    Raises
    ------
    ValueError : the record is not one that `encode` makes.
    """
    try:
        header = parse_json(header_of(record), MOST_HEADER)
        tree, layout = header["tree"], header["layout"]
        buffers = _numbers(record)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a message of this system: {type(error).__name__}") from None
    arrays: list[NDArray[Any]] = []
    position = dict.fromkeys(buffers, 0)
    for dtype, shape in _checked(layout):
        if dtype not in DTYPES or dtype not in buffers or buffers[dtype].dtype.name != dtype:
            raise ValueError("the layout names a buffer that is not there")
        size = math.prod(shape)
        start = position[dtype]
        part = buffers[dtype][start : start + size]
        if part.size != size:
            raise ValueError("a buffer is shorter than its layout says")
        arrays.append(part.reshape(shape))
        position[dtype] = start + size
    if any(position[name] != buffer.size for name, buffer in buffers.items()):
        raise ValueError("a buffer is longer than its layout says")
    return from_tree(tree, arrays)


def _numbers(record: RecordDict) -> dict[str, NDArray[Any]]:
    """Return the numbers of a record by dtype, without a copy.

    Raises
    ------
    KeyError, TypeError, ValueError : not as `encode` writes them.
    """
    buffers = {name: _unpacked(array) for name, array in buffers_of(record).items()}
    for name, data in _inline(record).items():
        if name in buffers or name not in DTYPES or len(data) > MOST_INLINE:
            raise ValueError("numbers in the header that do not belong there")
        buffers[name] = np.frombuffer(data, dtype=np.dtype(name).newbyteorder("<"))
    return buffers


def _checked(layout: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield dtype and shape of each array.

    Raises
    ------
    ValueError : not pairs of a name and lengths; more arrays, axes or entries along an axis than
        any message has.
    """
    if type(layout) is not list or len(layout) > MOST_ARRAYS:
        raise ValueError("a layout that is not a list, or of too many arrays")
    for entry in layout:
        if type(entry) is not list or len(entry) != 2:
            raise ValueError("a layout whose entries are not a name and a shape")
        name, shape = entry
        if type(name) is not str or type(shape) is not list or len(shape) > MOST_AXES:
            raise ValueError("a layout whose entries are not a name and a shape")
        if not all(type(length) is int and 0 <= length <= LONGEST_AXIS for length in shape):
            raise ValueError("a layout with an axis of an impossible length")
        yield name, tuple(shape)


def decode_once(record: RecordDict) -> Any:
    """Decode a record, and return the same object whenever the same record is read again.

    For requests: the gate and the app read the same one, and so do all sites of one process. Values
    derived from all of its numbers, such as its digest, are then computed once.
    """
    kept = vars(record)
    if _DECODED not in kept:
        kept[_DECODED] = decode(record)
    return kept[_DECODED]


def keep_decoded(record: RecordDict, value: Any) -> None:
    """Let `decode_once` return this in place of what the record holds."""
    vars(record)[_DECODED] = value


def _packed(parts: list[NDArray[Any]]) -> Array:
    """Join one-dimensional arrays of one dtype, in the format of `numpy.save`."""
    own = [np.ascontiguousarray(part) for part in parts]
    size = sum(part.size for part in own)
    file = BytesIO()
    description = {"descr": own[0].dtype.str, "fortran_order": False, "shape": (size,)}
    npy.write_array_header_1_0(file, description)
    head = file.getvalue()
    data = _unpacked_from(own, head)
    if data is None:
        data = b"".join([head, *(part.view(np.uint8).data for part in own)])
    return Array(dtype=own[0].dtype.name, shape=(size,), stype=_KIND, data=data)


def _unpacked_from(parts: list[NDArray[Any]], head: bytes) -> bytes | None:
    """Return the buffer that `_unpacked` read this one array from, if nothing else is in it.

    It must start with this head; as bytes never change, it equals what would be written again.
    """
    base: Any = parts[0]
    while isinstance(base, np.ndarray):
        base = base.base
    if len(parts) > 1 or type(base) is not bytes or not base.startswith(head):
        return None
    numbers = np.frombuffer(base, dtype=np.uint8, offset=len(head))
    same_place = numbers.ctypes.data == parts[0].ctypes.data
    return base if same_place and numbers.size == parts[0].nbytes else None


def _unpacked(array: Array) -> NDArray[Any]:
    """Return the numbers of a buffer without a copy.

    Raises
    ------
    ValueError : not what `_packed` makes.
    """
    head = BytesIO(array.data)  # no copy
    if array.stype != _KIND or npy.read_magic(head) != (1, 0):
        raise ValueError("a buffer of another kind")
    shape, _, dtype = npy.read_array_header_1_0(head)
    if len(shape) != 1 or dtype.name not in DTYPES or shape[0] < 0:
        raise ValueError(f"a buffer of {dtype.name} with {len(shape)} axes")
    return np.frombuffer(array.data, dtype=dtype, count=shape[0], offset=head.tell())


def size_of(record: RecordDict) -> int:
    """Return the bytes of a record's header and numbers."""
    return len(header_of(record).encode()) + sum(map(len, _data(record).values()))


def digest_of(record: RecordDict) -> str:
    """Return the SHA-256 (hex) of a record as it is sent: header, then numbers by dtype."""
    digest = hashlib.sha256(header_of(record).encode())
    for name, data in sorted(_data(record).items()):
        digest.update(f"\n{name}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def _data(record: RecordDict) -> dict[str, bytes]:
    return {name: array.data for name, array in buffers_of(record).items()} | _inline(record)


# Flower's own `config_records` and `array_records` hold reference cycles: once they are used, the
# record stays in memory until the garbage is collected.


def header_of(record: RecordDict) -> str:
    """Return the JSON text of a record.

    Raises
    ------
    KeyError, TypeError : there is none.
    """
    return str(_config(record)[_JSON])


def _config(record: RecordDict) -> ConfigRecord:
    header = record[_HEADER]
    if not isinstance(header, ConfigRecord):
        raise TypeError("the header is not one")
    return header


def _inline(record: RecordDict) -> dict[str, bytes]:
    """Return the numbers in the header by dtype.

    Raises
    ------
    TypeError : something else is there.
    """
    found = {name: value for name, value in _config(record).items() if name != _JSON}
    if not all(type(value) is bytes for value in found.values()):
        raise TypeError("the header holds something beside its text and numbers")
    return found  # type: ignore[return-value]


def buffers_of(record: RecordDict) -> dict[str, Array]:
    """Return the buffers of a record by dtype; few numbers have none.

    Raises
    ------
    TypeError : they are something else.
    """
    if _ARRAYS not in record:
        return {}
    arrays = record[_ARRAYS]
    if not isinstance(arrays, ArrayRecord):
        raise TypeError("the arrays are none")
    return dict(arrays.items())
