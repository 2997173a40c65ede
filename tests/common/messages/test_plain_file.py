"""Plain values in files: exact, whole or not at all, for the owner alone."""

from __future__ import annotations

import math
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.messages.plain import read_notes, read_plain, write_plain

ARRAYS: list[Any] = [
    np.arange(6, dtype=np.float32).reshape(2, 3).T,
    np.array([2**64 - 1, 0], dtype=np.uint64),
    np.array([2**32 - 1], dtype=np.uint32),
    np.zeros((0, 2), dtype=np.int64),
    np.array(3.5),
]


def test_values_come_back_to_the_last_bit(tmp_path: Path) -> None:
    value = {"numbers": (0.1, -0.0, 5e-324, math.nan, math.inf, 7), "text": "é", "none": None}
    write_plain(tmp_path / "x", {**value, "arrays": tuple(ARRAYS)})
    found = read_plain(tmp_path / "x")
    assert repr(found["numbers"]) == repr(value["numbers"])
    assert (found["text"], found["none"]) == ("é", None)
    for stored, array in zip(found["arrays"], ARRAYS, strict=True):
        assert (stored.dtype, stored.shape) == (array.dtype, array.shape)
        assert stored.tobytes() == array.tobytes()


def test_many_arrays_keep_their_order(tmp_path: Path) -> None:
    write_plain(tmp_path / "x", [np.full(2, i) for i in range(30)])
    assert [int(array[0]) for array in read_plain(tmp_path / "x")] == list(range(30))


def test_an_array_that_was_read_may_be_changed_and_the_file_stays(tmp_path: Path) -> None:
    write_plain(tmp_path / "x", np.zeros(3))
    read = read_plain(tmp_path / "x")
    read += 1.0
    assert read_plain(tmp_path / "x").tolist() == [0.0, 0.0, 0.0]


def test_notes_are_read_without_the_value(tmp_path: Path) -> None:
    write_plain(tmp_path / "x", np.zeros(3), notes="so far")
    assert read_notes(tmp_path / "x") == "so far"


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_plain(path, "old")

    def full(*_: Any, **__: Any) -> None:
        (tmp_path / ".x.part").write_bytes(b"half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_plain(path, "new")
    assert read_plain(path) == "old"
    monkeypatch.undo()
    write_plain(path, "new")
    assert read_plain(path) == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_what_is_not_plain_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not plain data"):
        write_plain(tmp_path / "x", object())
    assert not list(tmp_path.iterdir())
