"""The global weights: which are the result, and going on from a stored state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.messages.plain import read_plain, write_plain
from common.study.strategy import strategies
from strategies.model import GlobalModel

SOME_STATISTICS = np.array([[1, 3]], dtype=np.int64)
SGD = {"optimiser": "sgd"}


def play(model: GlobalModel, changes: Any, update_of: Any, first: int, last: int) -> None:
    control = np.full(6, 0.125, dtype=np.float32)
    for number in range(first, last):
        own = control if model.control.size else None
        model.update(number, update_of(changes(number), 3.0, own))


def test_the_result_is_the_mean_of_the_last_rounds(
    model_of: Any, changes: Any, update_of: Any, start: Any
) -> None:
    model = model_of(rounds=4, average_last=0.5)
    seen = []
    for number in range(4):
        model.update(number, update_of(changes(number)))
        seen.append(model.weights.astype(np.float64))
    np.testing.assert_allclose(model.result(), (seen[2] + seen[3]) / 2, rtol=1e-7)


def test_before_the_last_rounds_the_result_is_the_newest(
    model_of: Any, changes: Any, update_of: Any, start: Any
) -> None:
    model = model_of(rounds=4, average_last=0.5)
    assert np.array_equal(model.result(), start)
    model.update(0, update_of(changes(0)))
    assert np.array_equal(model.result(), model.weights)
    assert model.state()["total"] is None


def test_the_best_round_is_that_of_the_least_held_out_loss(
    model_of: Any, changes: Any, update_of: Any
) -> None:
    model = model_of(rounds=4, select="best", patience=2)
    seen, given_up = [], []
    for number, loss in enumerate([0.7, 0.5, 0.6, 0.55]):
        model.update(number, update_of(changes(number)))
        model.scored(number + 1, loss)
        seen.append(model.weights)
        given_up.append(model.gives_up(number + 1))
    assert np.array_equal(model.result(), seen[1])
    assert model.best_round(4) == 2
    assert given_up == [False, False, False, True]


def test_the_last_round_can_be_the_best(model_of: Any, changes: Any, update_of: Any) -> None:
    model = model_of(rounds=2, select="best")
    for number, loss in enumerate([0.7, 0.6]):
        model.update(number, update_of(changes(number)))
        model.scored(number + 1, loss)
    assert np.array_equal(model.result(), model.weights)


@pytest.mark.parametrize("name", [name for name in strategies() if name != "krum"])
def test_running_statistics_are_averaged_whatever_the_strategy(
    name: str, model_of: Callable[..., GlobalModel], changes: Any, update_of: Any, start: Any
) -> None:
    model = model_of(SOME_STATISTICS, strategy=name, **SGD)
    given = update_of(
        changes(0), 1.0, np.zeros(6, dtype=np.float32) if model.control.size else None
    )
    model.update(0, given)
    np.testing.assert_allclose(model.weights[1:3], (start + given.change)[1:3], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in strategies() if name != "krum"])
@pytest.mark.parametrize("stopped_after", [1, 3])
@pytest.mark.parametrize("select", ["last", "best"])
def test_every_strategy_goes_on_from_its_state_on_disk_to_the_last_bit(
    name: str,
    stopped_after: int,
    select: str,
    model_of: Callable[..., GlobalModel],
    changes: Any,
    update_of: Any,
    tmp_path: Path,
) -> None:
    settings = {"strategy": name, "select": select, **SGD}
    if select == "last":
        settings["average_last"] = 0.75
    whole, first = model_of(SOME_STATISTICS, **settings), model_of(SOME_STATISTICS, **settings)
    play(whole, changes, update_of, 0, stopped_after)
    play(first, changes, update_of, 0, stopped_after)
    if select == "best":
        whole.scored(stopped_after, 0.5)
        first.scored(stopped_after, 0.5)
    write_plain(tmp_path / "state", first.state())
    again = model_of(SOME_STATISTICS, **settings)
    again.restore(read_plain(tmp_path / "state"))
    play(whole, changes, update_of, stopped_after, 4)
    play(again, changes, update_of, stopped_after, 4)
    assert again.result().tobytes() == whole.result().tobytes()
    assert again.weights.tobytes() == whole.weights.tobytes()
