"""Plain objects <-> Flower RecordDict.

The number of arrays, not their size, dominates the transfer, so all arrays of one dtype are laid
end to end in one buffer, and the layout travels in the header.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from common.plain import from_tree, to_tree

DTYPES = ("float64", "float32", "int64", "uint64", "uint32", "uint16", "uint8")


def encode(value: Any) -> RecordDict:
    """A plain object as a RecordDict with a JSON header and at most one buffer per dtype.

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
    record = RecordDict({"header": ConfigRecord({"json": header})})
    fat = {
        dtype: Array(parts[0] if len(parts) == 1 else np.concatenate(parts))
        for dtype, parts in buffers.items()
    }
    record["arrays"] = ArrayRecord(fat)
    return record


def decode(record: RecordDict) -> Any:
    """The plain object in a RecordDict.

    Raises
    ------
    ValueError : the record is not one that `encode` makes.
    """
    try:
        header = json.loads(str(record.config_records["header"]["json"]))
        tree, layout = header["tree"], header["layout"]
        buffers = {name: array.numpy() for name, array in record.array_records["arrays"].items()}
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a message of this system: {type(error).__name__}") from None
    arrays: list[NDArray[Any]] = []
    position = dict.fromkeys(buffers, 0)
    for dtype, shape in layout:
        if dtype not in DTYPES or dtype not in buffers or buffers[dtype].dtype.name != dtype:
            raise ValueError(f"the layout names a buffer of {dtype} that is not there")
        size = int(np.prod(shape, dtype=np.int64))
        start = position[dtype]
        part = buffers[dtype][start : start + size]
        if size < 0 or part.size != size:
            raise ValueError("a buffer is shorter than its layout says")
        arrays.append(part.reshape(shape))
        position[dtype] = start + size
    if any(position[name] != buffer.size for name, buffer in buffers.items()):
        raise ValueError("a buffer is longer than its layout says")
    return from_tree(tree, arrays)


def size_of(record: RecordDict) -> int:
    """Bytes of a record's header and buffers."""
    text = len(str(record.config_records["header"]["json"]).encode())
    return text + sum(
        len(array.data) for arrays in record.array_records.values() for array in arrays.values()
    )
