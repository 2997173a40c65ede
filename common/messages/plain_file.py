"""A plain value in one file, without pickle: safetensors, with the tree in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from common.messages.plain import from_tree, to_tree
from common.utils.durable import make_folder, place_durably


def write_plain(path: Path, value: Any, notes: str = "") -> None:
    """Write a value; the file is there whole, or as it was before, whatever happens meanwhile.

    Parameters
    ----------
    notes : a text that goes with it, and can be read without reading the value.

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
    """The value of a file that `write_plain` made; sequences come back as tuples."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        tree = json.loads(file.metadata()["tree"])
        arrays = [file.get_tensor(str(i)) for i in range(len(file.keys()))]
    return from_tree(tree, arrays)


def read_notes(path: Path) -> str:
    """The notes of a file that `write_plain` made."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return str(file.metadata()["notes"])
