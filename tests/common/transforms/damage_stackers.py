"""Damages stackers, in a process of its own: all end in a ValueError or in probabilities."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.transforms import Stack

Rng = np.random.Generator
NASTY = (-1, 0, 1, 2, 3, 2**31 - 1, 2**31, 2**40, -(2**63), 1e308, -1e-300, "x", None, True)
EDGE = (0, 1, 2, 127, 128, 255)


def parts_of(blob: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file.getvalue()


def spoil_bytes(data: bytes, rng: Rng) -> bytes:
    """A few bytes changed, or the end cut off."""
    spoilt = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        new = rng.choice(EDGE) if rng.random() < 0.5 else rng.integers(256)
        spoilt[int(rng.integers(len(spoilt)))] = int(new)
    return bytes(spoilt[: int(rng.integers(len(spoilt)))] if rng.random() < 0.05 else spoilt)


def spoil_array(data: bytes, rng: Rng) -> bytes:
    """Some whole numbers changed, under a header that still fits."""
    array = np.load(io.BytesIO(data)).copy()
    flat: Any = array.reshape(-1)
    if array.dtype.names:
        flat = flat[str(rng.choice(array.dtype.names))]
    extreme = (
        (np.inf, np.nan, -1.0, 1e300, 0.0) if flat.dtype.kind == "f" else (-(2**62), -3, 2**40)
    )
    limits = np.iinfo(flat.dtype) if flat.dtype.kind in "iu" else None
    for _ in range(int(rng.integers(1, 4))):
        new = float(rng.choice(extreme)) if rng.random() < 0.5 else float(rng.integers(-4, 40))
        flat[int(rng.integers(flat.size))] = (
            new if limits is None else np.clip(int(new), limits.min // 2, limits.max // 2)
        )
    file = io.BytesIO()
    np.save(file, array if rng.random() < 0.8 else array.reshape(-1)[: flat.size // 2])
    return file.getvalue()


def spoil_schema(data: bytes, rng: Rng) -> bytes:
    """Another literal, another file, or a branch that is missing."""
    schema = json.loads(data)
    nodes = list(walk(schema))
    files = [node["file"] for node in nodes if "file" in node]
    node = nodes[int(rng.integers(len(nodes)))]
    if node.get("__loader__") == "JsonNode":
        node["content"] = json.dumps(NASTY[int(rng.integers(len(NASTY)))])
    elif "file" in node:
        node["file"] = str(rng.choice(files))
    elif rng.random() < 0.5:
        node.pop(str(rng.choice(sorted(node))))
    else:
        other = nodes[int(rng.integers(len(nodes)))].get("content")
        node["content"] = json.loads(json.dumps(other))
    return json.dumps(schema).encode()


def walk(state: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of a schema."""
    if isinstance(state, dict):
        if "__loader__" in state:
            yield state
        for part in state.values():
            yield from walk(part)
    elif isinstance(state, list):
        for part in state:
            yield from walk(part)


def spoilt(blob: bytes, rng: Rng) -> bytes:
    """A stacker with something changed: in an array, in the schema, or anywhere in the file."""
    parts, kind = parts_of(blob), rng.random()
    if kind < 0.1:
        return spoil_bytes(blob, rng)
    name = "schema.json"
    if kind < 0.75:
        name = str(rng.choice([one for one in parts if one.endswith(".npy")]))
    how = spoil_schema if name == "schema.json" else spoil_array if kind < 0.6 else spoil_bytes
    return pack({**parts, name: how(parts[name], rng)})


def main(path: str, count: int) -> None:
    """Prints how many were refused and how many scored."""
    from common.statistics.base import Rows

    blob, rng = Path(path).read_bytes(), np.random.default_rng(7)
    values = np.random.default_rng(1).random((40, 2))
    rows = Rows(values, ("a", "b"), np.zeros(40), np.zeros(40, dtype=np.int64))
    refused = 0
    for _ in range(count):
        data = np.frombuffer(spoilt(blob, rng), dtype=np.uint8)
        try:
            scored = Stack(columns=("a", "b"), blob=data, name="s").apply(rows).values
        except ValueError:
            refused += 1
            continue
        assert ((scored >= 0.0) & (scored <= 1.0)).all()
    print(refused, count - refused)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
