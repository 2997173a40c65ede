"""Updates of a site: one question for each round of a run, and the last update kept."""

from __future__ import annotations

import dataclasses
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.store.privacy_budget import Spending
from client.store.site_db import Draft, SiteDb, site_db
from client.store.updates import Updates
from common.masking.agreement import SignedKey
from common.masking.update import Update
from common.messages.exchanges import RoundPlan, TrainRequest
from common.study.model import PrivacySettings

PRIVACY = PrivacySettings()
PLAN = RoundPlan(epochs=1, learning_rate=0.1, excluded_fold=0, total=9, keep=False, round=3)
REQUEST = TrainRequest(
    run="r",
    study="0" * 64,
    session="ab" * 8,
    number=4,
    network="dl3d",
    variant="fold0",
    weights=np.arange(5, dtype=np.float32),
    running=np.zeros((0, 2), dtype=np.int64),
    plan=PLAN,
    keys=(SignedKey("a", "r", "0" * 64, "1" * 64, "s", "key", "signature"),),
)
SENT_AGAIN = [
    {"session": "cd" * 8},
    {"number": 5},
    {"keys": (SignedKey("a", "r", "0" * 64, "1" * 64, "s", "other", "signature"),)},
]
OTHERS = [
    {"weights": np.ones(5, dtype=np.float32)},
    {"control": np.ones(5, dtype=np.float32)},
    {"running": np.ones((1, 2), dtype=np.int64)},
    {"plan": dataclasses.replace(PLAN, learning_rate=0.2)},
    {"plan": dataclasses.replace(PLAN, total=10)},
]


class Training:
    """Comes out differently each time, as on a graphics card."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Update:
        self.times += 1
        change = np.full(5, self.times, dtype=np.float32)
        return Update(change, np.zeros(0, dtype=np.float32), np.full(5, float(self.times)))


def updates(work: Path, *, kept: bool = True) -> Updates:
    """As a new process of the site has it."""
    site_db.cache_clear()
    return Updates(work / "runs" / "r", Draft(work), kept=kept)


def rules(work: Path, request: TrainRequest) -> list[str]:
    return [one.rule for one in updates(work).reserve(request, PRIVACY)]


def same(one: Update, other: Update) -> bool:
    names = [field.name for field in dataclasses.fields(one)]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


# -- one question for each round ------------------------------------------------------------------


@pytest.mark.parametrize("change", [{}, *SENT_AGAIN], ids=lambda c: next(iter(c), "nothing"))
def test_the_same_question_may_be_asked_again(tmp_path: Path, change: dict[str, Any]) -> None:
    assert rules(tmp_path, REQUEST) == []
    assert rules(tmp_path, dataclasses.replace(REQUEST, **change)) == []


@pytest.mark.parametrize("change", OTHERS, ids=lambda change: next(iter(change)))
def test_another_question_about_the_same_round_is_refused_for_ever(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    other = dataclasses.replace(REQUEST, **change)
    assert rules(tmp_path, REQUEST) == []
    assert rules(tmp_path, other) == ["update"]
    assert rules(tmp_path, other) == ["update"]
    assert rules(tmp_path, REQUEST) == []


def test_each_round_each_variant_and_each_network_has_its_question(tmp_path: Path) -> None:
    plans = [dataclasses.replace(PLAN, round=number) for number in range(3)]
    asked = [dataclasses.replace(REQUEST, plan=plan) for plan in plans]
    asked += [dataclasses.replace(REQUEST, variant="final")]
    asked += [dataclasses.replace(REQUEST, network="dl2d")]
    assert [rules(tmp_path, one) for one in asked] == [[]] * 5


@pytest.mark.parametrize("keep", [True, False])
def test_features_and_last_loss_are_asked_for_once_a_training(tmp_path: Path, keep: bool) -> None:
    plans = [dataclasses.replace(PLAN, epochs=0, keep=keep, round=number) for number in (3, 4)]
    asked = [dataclasses.replace(REQUEST, plan=plan) for plan in plans]
    assert rules(tmp_path, REQUEST) == []
    assert [rules(tmp_path, one) for one in asked] == [[], ["update"]]


def test_of_different_questions_at_once_one_is_taken(tmp_path: Path) -> None:
    asked = [
        dataclasses.replace(REQUEST, weights=np.full(5, number, dtype=np.float32))
        for number in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: updates(tmp_path).reserve(one, PRIVACY), asked))
    assert found.count(()) == 1


def test_a_round_is_answered_in_a_few_runs_and_in_these_again(tmp_path: Path) -> None:
    most = PRIVACY.max_releases
    runs = [dataclasses.replace(REQUEST, run=f"r{number}") for number in range(most + 1)]
    assert [rules(tmp_path, one) for one in runs] == [[]] * most + [["releases"]]
    assert rules(tmp_path, runs[0]) == []
    other_round = dataclasses.replace(runs[-1], plan=dataclasses.replace(PLAN, round=4))
    assert rules(tmp_path, other_round) == []
    assert rules(tmp_path, dataclasses.replace(runs[-1], study="f" * 64)) == []


# -- the last update, sent again when it is asked for again ---------------------------------------


@pytest.mark.parametrize("change", [{}, *SENT_AGAIN], ids=lambda c: next(iter(c), "nothing"))
def test_the_same_question_gets_the_same_update_even_from_a_new_process(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """A resumed run asks in another session, under other keys and masks."""
    train = Training()
    first = updates(tmp_path).update(REQUEST, train)
    again = updates(tmp_path).update(dataclasses.replace(REQUEST, **change), train)
    assert train.times == 1
    assert same(first, again)
    dtypes = (again.change.dtype, again.control.dtype, again.sums.dtype)
    assert dtypes == (np.float32, np.float32, np.float64)


@pytest.mark.parametrize(
    "change", [*OTHERS, {"run": "q"}, {"study": "f" * 64}], ids=lambda change: next(iter(change))
)
def test_any_other_question_is_answered_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    train = Training()
    updates(tmp_path).update(REQUEST, train)
    updates(tmp_path).update(dataclasses.replace(REQUEST, **change), train)
    assert train.times == 2


def test_in_a_simulation_nothing_is_stored(tmp_path: Path) -> None:
    train = Training()
    for _ in range(2):
        updates(tmp_path, kept=False).update(REQUEST, train)
    assert train.times == 2
    assert not list(tmp_path.rglob("*.safetensors"))


def test_only_the_last_update_is_kept_and_for_the_owner_alone(tmp_path: Path) -> None:
    train = Training()
    for number in range(3):
        plan = dataclasses.replace(PLAN, round=number)
        updates(tmp_path).update(dataclasses.replace(REQUEST, plan=plan), train)
    (kept,) = tmp_path.rglob("update-*.safetensors")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_repeated_request_waits_for_the_training_in_progress(tmp_path: Path) -> None:
    train, started, go_on = Training(), threading.Event(), threading.Event()
    found: list[Update] = []

    def slow() -> Update:
        started.set()
        go_on.wait(10)
        return train()

    first = threading.Thread(target=lambda: found.append(updates(tmp_path).update(REQUEST, slow)))
    first.start()
    started.wait(10)
    second = threading.Thread(target=lambda: found.append(updates(tmp_path).update(REQUEST, slow)))
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert train.times == 1
    assert same(*found)


def test_a_training_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fails() -> Update:
        raise MemoryError

    with pytest.raises(MemoryError):
        updates(tmp_path).update(REQUEST, fails)
    train = Training()
    updates(tmp_path).update(REQUEST, train)
    assert train.times == 1


def test_an_update_whose_cost_was_not_remembered_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash after the file was written and before what it cost was: it is trained again."""

    def crash(self: Draft) -> None:
        raise KeyboardInterrupt

    train = Training()
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(Draft, "remember", crash)
        updates(tmp_path).update(REQUEST, train)
    assert list(tmp_path.rglob("update-*.safetensors"))
    updates(tmp_path).update(REQUEST, train)
    updates(tmp_path).update(REQUEST, train)
    assert train.times == 2


def test_what_a_training_cost_is_remembered_once_with_its_update(tmp_path: Path) -> None:
    def costly() -> Update:
        draft.spend("r", spending)
        return Training()()

    draft, spending = Draft(tmp_path), Spending("dl3d", "fold0", 1.0, 0.1, 5)
    own = Updates(tmp_path / "runs" / "r", draft, kept=True)
    own.update(REQUEST, costly)
    assert site_db(tmp_path).spendings("r") == (spending,)
    draft.remember()  # the release that follows
    own.update(REQUEST, costly)
    assert SiteDb(tmp_path).spendings("r") == (spending,)
