"""Checkpoints of a run: finished steps, progress within one, and its counts so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.messages.checkpoint import Checkpoint, Slot


def counted(folder: Path, counts: dict[str, Any]) -> Checkpoint:
    return Checkpoint(folder, "study", lambda: counts)


def test_a_step_is_run_once_over_all_starts(tmp_path: Path) -> None:
    runs: list[int] = []

    def run() -> dict[str, Any]:
        runs.append(1)
        return {"weights": np.arange(3.0)}

    for _ in range(2):
        found = Checkpoint(tmp_path, "study").step("clinical", run)
        assert found["weights"].tolist() == [0.0, 1.0, 2.0]
    assert runs == [1]


def test_a_step_that_fails_is_run_again(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "study")
    with pytest.raises(ZeroDivisionError):
        checkpoint.step("clinical", lambda: 1 / 0)
    assert not checkpoint.has("clinical")
    assert checkpoint.step("clinical", lambda: 2) == 2


def test_another_study_is_refused(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "study")
    with pytest.raises(InputError, match="belongs to another study"):
        Checkpoint(tmp_path, "other")


def test_steps_of_another_release_are_refused(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "study")
    (tmp_path / "study").write_text("study", encoding="utf-8")
    with pytest.raises(InputError, match="or release"):
        Checkpoint(tmp_path, "study")


def test_a_slot_holds_the_last_round_only(tmp_path: Path) -> None:
    slot = Slot(Checkpoint(tmp_path, "study"), "dl3d-fold0-rounds")
    assert slot.read() is None
    for number in range(3):
        slot.write({"losses": (0.5,) * number})
    assert Slot(Checkpoint(tmp_path, "study"), "dl3d-fold0-rounds").read() == {"losses": (0.5, 0.5)}
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    slot.clear()
    slot.clear()
    assert slot.read() is None


def test_counts_are_those_of_the_last_write_whichever_file_it_went_to(tmp_path: Path) -> None:
    counts = {"bytes": 0}
    checkpoint = counted(tmp_path, counts)
    assert checkpoint.newest() == {}
    slot = Slot(checkpoint, "rounds")
    for _ in range(2):
        counts["bytes"] += 1
        checkpoint.write("folds", 1)
        counts["bytes"] += 1
        slot.write(2)
    again = counted(tmp_path, counts)
    assert again.newest()["bytes"] == 4
    counts["bytes"] = 7
    again.write("clinical", 0)
    slot.clear()
    assert counted(tmp_path, counts).newest()["bytes"] == 7


def test_what_a_kill_left_half_written_counts_for_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "study")
    checkpoint.write("folds", (5, 6))
    (tmp_path / ".clinical.safetensors.part").write_bytes(b"\x00" * 100)
    (tmp_path / ".folds.safetensors.part").write_bytes(b"\x00" * 100)
    again = Checkpoint(tmp_path, "study")
    assert not again.has("clinical")
    assert again.read("folds") == (5, 6)
    assert again.step("clinical", lambda: 3) == 3
