"""State of a site between rounds, and a round that is requested twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.training.state import TrainingState
from common.errors import StudyError


def state(folder: Path, what: str = "control") -> TrainingState:
    return TrainingState(folder, "dl3d", "fold0", what)


def vector(value: float) -> np.ndarray:
    return np.full(3, value, dtype=np.float32)


def test_a_round_asked_again_begins_with_the_same(tmp_path: Path) -> None:
    assert state(tmp_path).before(0) is None
    state(tmp_path).after(0, vector(1.0))
    for _ in range(2):
        carried = state(tmp_path).before(1)
        assert carried is not None
        assert carried.tolist() == [1.0, 1.0, 1.0]
        state(tmp_path).after(1, carried + 1)
    last = state(tmp_path).before(2)
    assert last is not None
    assert last.tolist() == [2.0, 2.0, 2.0]


def test_what_no_round_can_ask_for_again_is_removed(tmp_path: Path) -> None:
    for number in range(4):
        state(tmp_path).after(number, vector(number))
        state(tmp_path).forget_before(number)
    left = sorted(path.name for path in (tmp_path / "training").iterdir())
    assert [name.split(".")[1] for name in left] == ["3", "4"]


def test_trainings_and_what_they_carry_are_kept_apart(tmp_path: Path) -> None:
    state(tmp_path).after(0, vector(1.0))
    state(tmp_path, "norms").after(0, vector(2.0))
    TrainingState(tmp_path, "dl3d", "final", "control").after(0, vector(3.0))
    own, other = state(tmp_path).before(1), state(tmp_path, "norms").before(1)
    assert own is not None
    assert other is not None
    assert (own[0], other[0]) == (1.0, 2.0)


def test_what_is_gone_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"carried into round 5 of a training is gone.*backup"):
        state(tmp_path).before(5)


def test_what_belongs_to_the_finished_network_outlives_the_rounds(tmp_path: Path) -> None:
    assert state(tmp_path, "norms").kept() is None
    state(tmp_path, "norms").keep(vector(4.0))
    state(tmp_path, "norms").forget_before(99)
    kept = state(tmp_path, "norms").kept()
    assert kept is not None
    assert kept.tolist() == [4.0, 4.0, 4.0]
