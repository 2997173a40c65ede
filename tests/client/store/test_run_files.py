"""Files of a run: tables under safe names, and the last trained update."""

from __future__ import annotations

import dataclasses
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.store.privacy_budget import Spending
from client.store.run_files import ReplyCache, RunTables, StoredTable, safe_name
from client.store.site_db import Draft, SiteDb, site_db
from common.errors import StudyError
from common.masking.agreement import SignedKey
from common.messages.exchanges import RoundPlan, TrainReply, TrainRequest


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".hidden", "a..b", "a\x00", "a b", "x" * 200])
def test_a_name_from_another_party_never_leaves_its_folder(name: str) -> None:
    with pytest.raises(StudyError, match="cannot be a file name"):
        safe_name(name)


@given(st.text(min_size=1))
def test_whatever_passes_as_a_name_is_one_path_component(name: str) -> None:
    try:
        safe = safe_name(name)
    except StudyError:
        return
    assert Path("folder", safe).resolve().parent == Path("folder").resolve()


def test_tables_with_patients_ids_are_for_one_user_alone(tmp_path: Path) -> None:
    work = tmp_path / "new" / "work"
    before = os.umask(0o022)
    try:
        RunTables(work, "r").write("scores", "i", StoredTable(("a1",), ("x",), np.zeros((1, 1))))
    finally:
        os.umask(before)
    kept = [work.parent, work, *work.rglob("*")]
    assert len(kept) == 5
    assert not [path for path in kept if path.stat().st_mode & 0o077]


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    tables = RunTables(tmp_path, "federated")
    table = StoredTable(("p/1", "ü 2"), ("c",), np.array([[0.1], [np.pi]]))
    tables.write("dl3d/final/probability", "external_1", table)
    back = tables.read("dl3d/final/probability", "external_1")
    assert back.patients == table.patients
    assert back.columns == table.columns
    np.testing.assert_array_equal(back.values, table.values)
    with pytest.raises(KeyError):
        tables.read("dl3d/final/probability", "internal")


def test_runs_do_not_share_tables(tmp_path: Path) -> None:
    table = StoredTable(("p",), ("c",), np.zeros((1, 1)))
    RunTables(tmp_path, "federated").write("scores", "t", table)
    with pytest.raises(KeyError):
        RunTables(tmp_path, "local-a").read("scores", "t")


# -- the last update, sent again when it is asked for again ---------------------------------------

PLAN = RoundPlan(epochs=1, learning_rate=0.1, excluded_fold=-1, total=9, seed=3, keep=False)
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
OTHERS = [
    {"run": "q"},
    {"study": "f" * 64},
    {"session": "cd" * 8},
    {"number": 5},
    {"weights": np.ones(5, dtype=np.float32)},
    {"plan": dataclasses.replace(PLAN, seed=4)},
    {"keys": (SignedKey("a", "r", "0" * 64, "1" * 64, "s", "other", "signature"),)},
]


class Training:
    """Comes out differently each time, as on a graphics card."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> TrainReply:
        self.times += 1
        parameters = np.full(5, 2**32 - self.times, dtype=np.uint32)
        statistics = np.full(5, 2**64 - self.times, dtype=np.uint64)
        return TrainReply("a", **REQUEST.echo, parameters=parameters, statistics=statistics)


def cache(work: Path) -> ReplyCache:
    """As a new process of the site has it."""
    return ReplyCache(work / "runs" / "r", Draft(work))


def same(one: TrainReply, other: TrainReply) -> bool:
    names = [field.name for field in dataclasses.fields(one)]  # type: ignore[arg-type]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_the_same_request_gets_the_same_update_even_from_a_new_process(tmp_path: Path) -> None:
    train = Training()
    first = cache(tmp_path).reply(REQUEST, train)
    again = cache(tmp_path).reply(dataclasses.replace(REQUEST), train)
    assert train.times == 1
    assert same(first, again)
    assert (again.parameters.dtype, again.statistics.dtype) == (np.uint32, np.uint64)


@pytest.mark.parametrize("change", OTHERS, ids=lambda change: next(iter(change)))
def test_any_other_request_is_answered_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    train = Training()
    cache(tmp_path).reply(REQUEST, train)
    cache(tmp_path).reply(dataclasses.replace(REQUEST, **change), train)
    assert train.times == 2


def test_only_the_last_update_is_put_by_and_for_the_owner_alone(tmp_path: Path) -> None:
    train = Training()
    for number in range(3):
        cache(tmp_path).reply(dataclasses.replace(REQUEST, number=number), train)
    (kept,) = tmp_path.rglob("reply-*.safetensors")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_repeated_request_waits_for_the_training_in_progress(tmp_path: Path) -> None:
    train, started, go_on = Training(), threading.Event(), threading.Event()
    replies: list[TrainReply] = []

    def slow() -> TrainReply:
        started.set()
        go_on.wait(10)
        return train()

    first = threading.Thread(target=lambda: replies.append(cache(tmp_path).reply(REQUEST, slow)))
    first.start()
    started.wait(10)
    second = threading.Thread(target=lambda: replies.append(cache(tmp_path).reply(REQUEST, slow)))
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
        cache(tmp_path).reply(REQUEST, fails)
    train = Training()
    cache(tmp_path).reply(REQUEST, train)
    assert train.times == 1


def test_a_reply_whose_cost_was_not_remembered_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash after the file was written and before what it cost was: it is trained again."""

    def crash(self: Draft) -> None:
        raise KeyboardInterrupt

    train = Training()
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(Draft, "remember", crash)
        cache(tmp_path).reply(REQUEST, train)
    assert list(tmp_path.rglob("reply-*.safetensors"))
    cache(tmp_path).reply(REQUEST, train)
    cache(tmp_path).reply(REQUEST, train)
    assert train.times == 2


def test_what_a_training_cost_is_remembered_once_with_its_reply(tmp_path: Path) -> None:
    def costly() -> TrainReply:
        draft.spend("r", spending)
        draft.fix("mask", "use", "content")
        return Training()()

    draft, spending = Draft(tmp_path), Spending("dl3d", "fold0", 1.0, 0.1, 5)
    ReplyCache(tmp_path / "runs" / "r", draft).reply(REQUEST, costly)
    assert site_db(tmp_path).spendings("r") == (spending,)
    draft.remember()  # the release that follows
    ReplyCache(tmp_path / "runs" / "r", draft).reply(REQUEST, costly)
    assert SiteDb(tmp_path).spendings("r") == (spending,)
    assert SiteDb(tmp_path).fact("mask", "use") == "content"
