"""The last update of a network is put by, and sent again when it is asked for again."""

from __future__ import annotations

import dataclasses
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client.store.reply_cache import Owed

from common.masking.agreement import SignedKey
from common.messages.exchanges import RoundPlan, TrainReply, TrainRequest

PLAN = RoundPlan(epochs=1, learning_rate=0.1, excluded_fold=-1, total=9, seed=3, keep=False)
REQUEST = TrainRequest(
    run="r",
    study="0" * 64,
    session="ab" * 8,
    number=4,
    network="dl3d",
    variant="fold0",
    weights=np.arange(5, dtype=np.float32),
    wide=np.zeros((0, 2), dtype=np.int64),
    plan=PLAN,
    keys=(SignedKey("a", "r", "0" * 64, "1" * 64, "key", "signature"),),
)
OTHERS = [
    {"run": "q"},
    {"study": "f" * 64},
    {"session": "cd" * 8},
    {"number": 5},
    {"weights": np.ones(5, dtype=np.float32)},
    {"plan": dataclasses.replace(PLAN, seed=4)},
    {"keys": (SignedKey("a", "r", "0" * 64, "1" * 64, "other", "signature"),)},
]


class Training:
    """Comes out differently each time, as on a graphics card."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> TrainReply:
        self.times += 1
        parameters = np.full(5, 2**32 - self.times, dtype=np.uint32)
        rest = np.full(5, 2**64 - self.times, dtype=np.uint64)
        return TrainReply("a", **REQUEST.echo, parameters=parameters, rest=rest)


def same(one: TrainReply, other: TrainReply) -> bool:
    names = [field.name for field in dataclasses.fields(one)]  # type: ignore[arg-type]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_the_same_request_gets_the_same_update_even_from_a_new_process(tmp_path: Path) -> None:
    train = Training()
    first = Owed(tmp_path).reply(REQUEST, train)
    again = Owed(tmp_path).reply(dataclasses.replace(REQUEST), train)
    assert train.times == 1
    assert same(first, again)
    assert (again.parameters.dtype, again.rest.dtype) == (np.uint32, np.uint64)


@pytest.mark.parametrize("change", OTHERS, ids=lambda change: next(iter(change)))
def test_any_other_request_is_answered_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    train = Training()
    Owed(tmp_path).reply(REQUEST, train)
    Owed(tmp_path).reply(dataclasses.replace(REQUEST, **change), train)
    assert train.times == 2


def test_only_the_last_update_is_put_by_and_for_the_owner_alone(tmp_path: Path) -> None:
    train = Training()
    for number in range(3):
        Owed(tmp_path).reply(dataclasses.replace(REQUEST, number=number), train)
    (kept,) = tmp_path.glob("owed-*.safetensors")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_who_asks_again_while_the_site_still_trains_gets_what_comes_of_it(tmp_path: Path) -> None:
    train, started, go_on = Training(), threading.Event(), threading.Event()
    replies: list[TrainReply] = []

    def slow() -> TrainReply:
        started.set()
        go_on.wait(10)
        return train()

    first = threading.Thread(target=lambda: replies.append(Owed(tmp_path).reply(REQUEST, slow)))
    first.start()
    started.wait(10)
    second = threading.Thread(target=lambda: replies.append(Owed(tmp_path).reply(REQUEST, slow)))
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert train.times == 1
    assert same(*replies)


def test_a_training_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fails() -> TrainReply:
        raise MemoryError

    with pytest.raises(MemoryError):
        Owed(tmp_path).reply(REQUEST, fails)
    train = Training()
    Owed(tmp_path).reply(REQUEST, train)
    assert train.times == 1
