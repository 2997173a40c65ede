"""Attack (m): a site's process dies anywhere, or its folder is put back to an older copy."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Error, Message, RecordDict

import client.store.heads
import server.federation.federation
from client.app import app
from client.site import load_site
from client.store.heads import LedgerHeads
from client.store.ledger import ledger_path
from client.store.run_keys import VARIABLE, new_start
from client.store.site_db import site_db
from client.workspace import open_workspace
from common.errors import SiteError
from common.flower.internals import ErrorCode
from common.ledger.audit import audit
from common.ledger.verify import read_entries, verify
from common.masking.update import Update, to_ring32
from common.messages.exchanges import RoundPlan, SumItem, TrainReply
from common.statistics.moments import Means
from common.transforms import Select
from common.transforms.views import table
from server.federation.federation import Federation
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import simulated_identity

pytestmark = pytest.mark.usefixtures("server_identity")
FORKED = multiprocessing.get_context("fork")
VICTIM = "a"
ITEM = SumItem(Means(), table("clinical").then(Select(columns=("marker",))), "train")
NOTHING = np.zeros((0, 2), dtype=np.int64)


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def after(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Let the process die when this method has returned."""

    def place(patch: pytest.MonkeyPatch) -> None:
        from client.store.releases import Releases

        method = getattr(Releases, name)

        def dying(*args: Any, **kwargs: Any) -> Any:
            method(*args, **kwargs)
            die()

        patch.setattr(Releases, name, dying)

    return place


def at(target: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Let the process die where it calls this."""
    return lambda patch: patch.setattr(target, die)


PLACES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the reservation": at("client.store.releases.Releases.reserve"),
    "after the reservation": at("client.handlers.answer_sums"),
    "after computing": at("client.store.masks.RunMasks.hide"),
    "after masking": at("client.handlers.end_to_end"),
    "before the ledger entry": at("client.store.releases.Releases.record"),
    "between the entry and its line": at("client.store.ledger.Ledger.catch_up"),
    "after the ledger entry": after("record"),
    "before the reply is released": at("client.gate.site_gate.SiteGate.release"),
    "after the reply is released": lambda _: None,
}


class Mortal(InProcessGrid):
    """A grid whose victim answers every message in a process of its own, which may die.

    The others answer here and keep nothing from message to message: a fork of the tests takes
    longer than an answer.
    """

    def __init__(self, sites: dict[str, Path]) -> None:
        super().__init__(app, sites)
        self.sites, self.starts = sites, {name: new_start() for name in sites}
        self.dies: Callable[[pytest.MonkeyPatch], None] | None = None
        self.restarts = False
        self.deaths = 0

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = []
        for message_id in message_ids:
            if (message := self._waiting.pop(message_id, None)) is not None:
                replies.append(self._answer(message))
        return replies

    def _answer(self, message: Message) -> Message:
        site = list(self.sites)[message.metadata.dst_node_id - SERVER_NODE - 1]
        if site != VICTIM:
            return Message(self._content(message, site), reply_to=message)
        dies = self.dies if message.metadata.message_type == "query.sum" else None
        reading, writing = FORKED.Pipe(duplex=False)
        process = FORKED.Process(target=self._serve, args=(message, site, dies, writing))
        process.start()
        writing.close()
        try:
            content = reading.recv()
        except EOFError:
            content = None
        process.join()
        if content is None:
            self.dies = None
            self.deaths += 1
            if self.restarts:
                self.starts[site] = new_start()
            return Message(Error(ErrorCode.CLIENT_APP_CRASHED, ""), reply_to=message)
        return Message(content, reply_to=message)

    def _serve(self, message: Message, site: str, dies: Any, writing: Any) -> None:
        if dies is not None:
            dies(pytest.MonkeyPatch())
        content = self._content(message, site)
        if dies is not None:
            die()
        writing.send(content)

    def _content(self, message: Message, site: str) -> RecordDict:
        """Answer with nothing in memory of what was before."""
        node = message.metadata.dst_node_id
        config: dict[str, Any] = {"site-config": str(self.sites[site])}
        open_workspace.cache_clear()
        site_db.cache_clear()
        with pytest.MonkeyPatch.context() as patch, task_identity(node):
            patch.setenv(VARIABLE, self.starts[site][VARIABLE])
            content = app(message, Context(1, node, config, RecordDict(), {})).content
        open_workspace.cache_clear()
        site_db.cache_clear()
        return content


@pytest.fixture
def federation(coordinator: Any, tabular: Path) -> Federation:
    rehearsal = coordinator.rehearse(tabular)
    made = Federation(Mortal(rehearsal.sites), rehearsal.study, "r")
    made.connection.sleep = lambda _: None
    made.connection.clock = iter(range(10**9)).__next__  # type: ignore[assignment]
    made.enrol()
    return made


def works(federation: Any) -> dict[str, Path]:
    return {name: load_site(path).work for name, path in federation.grid.sites.items()}


@pytest.mark.parametrize("restarts", [False, True], ids=["message", "program"])
@pytest.mark.parametrize("place", PLACES)
def test_a_site_goes_on_wherever_its_process_was_killed(
    federation: Any, place: str, restarts: bool
) -> None:
    undisturbed = federation.sum_many([ITEM])[0]
    federation.grid.dies, federation.grid.restarts = PLACES[place], restarts
    disturbed = federation.sum_many([ITEM])[0]
    assert federation.grid.deaths == 1
    assert np.array_equal(disturbed.mean, undisturbed.mean)
    assert np.array_equal(federation.sum_many([ITEM])[0].mean, undisturbed.mean)
    ledgers = {name: ledger_path(work) for name, work in works(federation).items()}
    for name, path in ledgers.items():
        assert verify(path, simulated_identity(name).public_key()) == []
    assert audit({name: read_entries(path) for name, path in ledgers.items()}) == []
    study = federation.study.digest()
    for work in works(federation).values():
        assert len(site_db(work).questions(study, "query.sum")) == 1
        assert site_db(work).questions(study, "refused") == frozenset()


# -- a folder that is put back -----------------------------------------------------------------


def put_back(federation: Any, copy: Path) -> None:
    """Stop the victim, put an older copy of its work folder in place, and start it again."""
    work = works(federation)[VICTIM]
    shutil.rmtree(work)
    shutil.copytree(copy, work)
    site_db.cache_clear()  # the simulation that placed the site had its memory open
    federation.grid.starts[VICTIM] = new_start()


def backup(federation: Any, folder: Path) -> Path:
    return Path(shutil.copytree(works(federation)[VICTIM], folder))


def log_of(federation: Any, site: str) -> str:
    kept = [works(federation)[site] / name for name in ("errors.log", "gate.log")]
    return "".join(path.read_text(encoding="utf-8") for path in kept if path.is_file())


def test_an_older_copy_is_refused_by_name_until_the_newest_is_there(
    federation: Any, tmp_path: Path
) -> None:
    older = backup(federation, tmp_path / "older")
    undisturbed = federation.sum_many([ITEM])[0]
    newest = backup(federation, tmp_path / "newest")
    put_back(federation, older)
    for _ in range(2):
        with pytest.raises(SiteError, match="site a: its ledger was put back to an older copy"):
            federation.sum_many([ITEM])
    assert "restore the newest backup of its work folder" in log_of(federation, VICTIM)
    assert LedgerHeads(works(federation)[VICTIM], VICTIM).missing() is not None
    put_back(federation, newest)
    assert np.array_equal(federation.sum_many([ITEM])[0].mean, undisturbed.mean)


def test_what_was_found_is_remembered_if_the_coordinator_then_keeps_silent(
    federation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = backup(federation, tmp_path / "older")
    federation.sum_many([ITEM])
    put_back(federation, older)
    with pytest.raises(SiteError, match="site a: its ledger was put back"):
        federation.sum_many([ITEM])
    monkeypatch.setattr(server.federation.federation, "attach_newest", lambda *_: None)
    federation.receipts.newest.clear()
    with pytest.raises(SiteError, match="site a: its ledger was put back"):
        federation.sum_many([ITEM])


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that hands no receipts back, and looks at none."""
    monkeypatch.setattr(server.federation.federation, "attach_newest", lambda *_: None)
    monkeypatch.setattr(server.federation.federation.Receipts, "take", lambda *_, **__: None)


@pytest.mark.usefixtures("silent")
def test_without_the_coordinators_help_another_site_notices_and_names_it(
    federation: Any, tmp_path: Path
) -> None:
    """Every site signs the end of its ledger with its key, which no coordinator can leave out."""
    older = backup(federation, tmp_path / "older")
    federation.sum_many([ITEM])
    federation.enrol_anew(VICTIM)
    federation.sum_many([ITEM])
    put_back(federation, older)
    with pytest.raises(SiteError, match="site b: it found that the ledger of another hospital"):
        federation.sum_many([ITEM])
    assert "the ledger of site a is older" in log_of(federation, "b")


@pytest.mark.usefixtures("silent")
def test_on_a_variant_without_these_lines_nobody_notices(
    federation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.store.heads.LedgerHeads, "check_others", lambda *_: None)
    older = backup(federation, tmp_path / "older")
    federation.sum_many([ITEM])
    federation.enrol_anew(VICTIM)
    federation.sum_many([ITEM])
    put_back(federation, older)
    federation.sum_many([ITEM])


# -- a mask for other data -----------------------------------------------------------------------


def change_of(time: int) -> Any:
    return np.random.default_rng(time).normal(0.0, 1e-3, 50).astype(np.float32)


@pytest.fixture
def trained(
    coordinator: Any, tabular: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[bool], list[Any]]]:
    """The victim's vectors before and after an older copy is put back and trains differently."""
    times = iter(range(100))

    def train_network(workspace: Any, _: Any) -> Update:
        change = change_of(next(times)) if workspace.name == VICTIM else np.zeros(50, np.float32)
        return Update(change, np.zeros(0, dtype=np.float32), np.ones(5))

    def run(restarts: bool) -> list[Any]:
        monkeypatch.setattr("client.training.round.train_network", train_network)
        monkeypatch.setenv(VARIABLE, "11" * 32)
        rehearsal = coordinator.rehearse(tabular)
        federation = rehearsal.federation()
        federation.enrol()
        work = load_site(rehearsal.sites[VICTIM]).work
        older = shutil.copytree(work, tmp_path / "older")
        session = federation.session
        train(federation)
        shutil.rmtree(work)
        shutil.copytree(older, work)
        open_workspace.cache_clear()
        site_db.cache_clear()
        if restarts:
            monkeypatch.setenv(VARIABLE, "22" * 32)
        federation.number = 0
        train(federation)
        assert (federation.session != session) is restarts
        heard = [h for h in federation.grid.heard if isinstance(h.reply, TrainReply)]
        return [h.reply for h in heard if h.site == VICTIM]

    yield run
    open_workspace.cache_clear()
    site_db.cache_clear()


def train(federation: Any) -> None:
    plan = RoundPlan(1, 0.01, excluded_fold=-1, total=145, keep=False)
    federation.train("dl3d", "final", np.zeros(50, dtype=np.float32), NOTHING, plan)


def hidden() -> Any:
    return to_ring32(change_of(0), sites=3) - to_ring32(change_of(1), sites=3)


@pytest.mark.usefixtures("declares_dl3d", "silent")
def test_a_restored_folder_that_is_started_again_uses_no_mask_twice(
    trained: Callable[[bool], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.store.heads.LedgerHeads, "check_others", lambda *_: None)
    first, second = trained(True)
    assert not (first.parameters - second.parameters == hidden()).any()


@pytest.mark.usefixtures("declares_dl3d", "silent")
def test_a_key_on_disk_would_hide_other_data_under_the_mask_of_before(
    trained: Callable[[bool], list[Any]],
) -> None:
    """The variant without the line: the same start, as if the key were bound to none."""
    first, second = trained(False)
    assert np.array_equal(first.parameters - second.parameters, hidden())
