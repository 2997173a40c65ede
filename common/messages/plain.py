"""Plain data trees: dataclasses in messages, checkpoints and bundles, without pickle.

A class marked `@plain` is a frozen dataclass whose fields are numbers, strings, None, tuples,
dictionaries with string keys, numpy arrays, or other plain classes. `to_tree` turns an object into
JSON-able data plus a list of arrays; `from_tree` builds only classes that were marked, so data from
another party can never name code to run.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform

import numpy as np
from numpy.typing import NDArray

from common.utils.bounded import DEEPEST, is_too_deep
from common.utils.durable import make_folder, place_durably

T = TypeVar("T")
_CLASSES: dict[str, type[Any]] = {}
_FIELDS: dict[type[Any], tuple[str, ...]] = {}
_CLASS_KEY, _ARRAY_KEY = "__class__", "__array__"
_LEAVES = frozenset({type(None), bool, int, float, str})


@dataclass_transform(frozen_default=True)
def plain(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass that can travel; its class name is its name on the wire."""
    made = dataclasses.dataclass(frozen=True, eq=False)(cls)
    name = cls.__name__
    if name in _CLASSES and _CLASSES[name].__module__ != cls.__module__:
        raise TypeError(f"two plain classes are called {name}")
    _CLASSES[name] = made
    _FIELDS[made] = tuple(one.name for one in dataclasses.fields(cast(Any, made)))
    return made


def to_tree(value: Any) -> tuple[Any, list[NDArray[Any]]]:
    """Return the JSON-able tree and the arrays it refers to by position.

    Raises
    ------
    TypeError : a value that is not plain data.
    """
    arrays: list[NDArray[Any]] = []
    return _walk(value, arrays), arrays


# not a nested function: it would refer to itself, and keep the arrays of a large network in memory
# until the garbage is collected
def _walk(item: Any, arrays: list[NDArray[Any]]) -> Any:
    """Convert one value, moving its arrays to the list."""
    if type(item) in _LEAVES or isinstance(item, int | float | str):
        return item
    if isinstance(item, np.ndarray):
        arrays.append(item)
        return {_ARRAY_KEY: len(arrays) - 1}
    if isinstance(item, np.generic):
        return item.item()
    if isinstance(item, tuple | list):
        # shortcut for long lists of names or numbers, the bulk of a message
        if _LEAVES.issuperset(map(type, item)):
            return list(item)
        return [_walk(part, arrays) for part in item]
    if isinstance(item, dict):
        return {_string_key(key): _walk(part, arrays) for key, part in item.items()}
    if (names := _FIELDS.get(type(item))) is not None:
        fields = {name: _walk(getattr(item, name), arrays) for name in names}
        return {_CLASS_KEY: type(item).__name__, **fields}
    raise TypeError(f"{type(item).__name__} is not plain data")


def _string_key(key: Any) -> str:
    if not isinstance(key, str) or key in (_CLASS_KEY, _ARRAY_KEY):
        raise TypeError(f"{key!r} cannot be a key of plain data")
    return key


def from_tree(tree: Any, arrays: list[NDArray[Any]]) -> Any:
    """Rebuild the object of a `to_tree`; sequences come back as tuples.

    Raises
    ------
    ValueError : an unknown class, unexpected or missing fields, more levels than `DEEPEST`, an
        array that is missing or used twice (a small file would become a large object).
    """
    if is_too_deep(tree):
        raise ValueError(f"plain data of more than {DEEPEST} levels")
    return _build(tree, [*arrays])


def _build(item: Any, arrays: list[NDArray[Any] | None]) -> Any:
    if isinstance(item, list):
        if _LEAVES.issuperset(map(type, item)):
            return tuple(item)
        return tuple(_build(part, arrays) for part in item)
    if not isinstance(item, dict):
        return item
    if _ARRAY_KEY in item:
        index = item[_ARRAY_KEY]
        if type(index) is not int or not 0 <= index < len(arrays) or len(item) > 1:
            raise ValueError("plain data refers to an array that is not there")
        array, arrays[index] = arrays[index], None
        if array is None:
            raise ValueError("plain data refers to an array twice")
        return array
    if _CLASS_KEY not in item:
        return {key: _build(part, arrays) for key, part in item.items()}
    name = item[_CLASS_KEY]
    cls = _CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ValueError(f"unknown class {str(name)[:40]!r} in plain data")
    given = {key: _build(part, arrays) for key, part in item.items() if key != _CLASS_KEY}
    if given.keys() != set(_FIELDS[cls]):
        raise ValueError(f"fields of {cls.__name__} do not match this release")
    return cls(**given)


def write_plain(path: Path, value: Any, notes: str = "") -> None:
    """Write a value atomically: after any interruption the file is complete or as it was before.

    Parameters
    ----------
    notes : a text stored with it, readable without reading the value.

    Raises
    ------
    TypeError : a value that is not plain data.
    """
    from safetensors.numpy import save_file

    tree, arrays = to_tree(value)
    numbered = {str(i): np.asarray(array, order="C") for i, array in enumerate(arrays)}
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    save_file(numbered, part, metadata={"tree": json.dumps(tree), "notes": notes})
    place_durably(part, path)


def read_plain(path: Path) -> Any:
    """Read the value from a file of `write_plain`; sequences come back as tuples."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        tree = json.loads(file.metadata()["tree"])
        arrays = [file.get_tensor(str(i)) for i in range(len(file.keys()))]
    return from_tree(tree, arrays)


def read_notes(path: Path) -> str:
    """Read the notes from a file of `write_plain`."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return str(file.metadata()["notes"])
