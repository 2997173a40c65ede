"""Attack (m): many questions at the same moment, before the site has counted the first."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from client.app import app
from client.store.ledger import ledger_path
from client.store.site_db import REFUSED, SiteDb
from common.bundle.bundle import Bundle, sign_files
from common.ledger.verify import read_entries, verify
from common.messages.codec import decode, encode
from common.messages.exchanges import (
    EvaluateReply,
    EvaluateRequest,
    Problem,
    Refused,
    SumItem,
    SumReply,
    SumRequest,
)
from common.statistics.moments import Means
from common.statistics.svm import SvmGradient
from common.transforms import Clip, Impute, Select
from common.transforms.views import table
from sim.engines.inprocess import task_identity
from sim.sites import COORDINATOR, simulated_identity
from tests.fixtures.models import clinical_probability

pytestmark = pytest.mark.usefixtures("server_identity")
AT_ONCE = 24
MARKER = ("marker",)
RAW = table("clinical").then(Select(columns=MARKER))
FORKED = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Hospital:
    """One site that answers every message in a process of its own, as in a deployment."""

    rehearsal: Any
    federation: Any
    name: str

    def ask(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        """Ask all at the same moment; the replies, in order."""
        start, replies = FORKED.Barrier(len(requests)), FORKED.SimpleQueue()
        processes = [
            FORKED.Process(target=self._answer, args=(kind, request, i, start, replies))
            for i, request in enumerate(requests)
        ]
        for process in processes:
            process.start()
        found = dict(replies.get() for _ in processes)
        for process in processes:
            process.join()
        return [decode(found[i]) for i in range(len(requests))]

    def _answer(self, kind: str, request: Any, i: int, start: Any, replies: Any) -> None:
        config: dict[str, Any] = {"site-config": str(self.rehearsal.sites[self.name])}
        context = Context(1, 7, config, RecordDict(), {})
        with task_identity(7):
            message = Message(encode(request), 7, kind)
            start.wait()
            replies.put((i, app(message, context).content))

    def handout(self, edge: float) -> EvaluateRequest:
        study = self.rehearsal.study
        models = {"clinical": clinical_probability(study, MARKER)}
        cutoffs, settings = dict.fromkeys(models, 0.5), study.canonical()
        bundle = Bundle(study.digest(), models, {}, cutoffs, {}, settings, {})
        return EvaluateRequest(
            run="r",
            study=study.digest(),
            bundle=sign_files(bundle.to_files(), simulated_identity(COORDINATOR)),
            test_sets=("external_1",),
            edges=np.array([[0.0, edge, 1.0]]),
        )

    def sums(self, number: int, item: SumItem) -> SumRequest:
        study, keys = self.rehearsal.study.digest(), self.federation._keys()
        return SumRequest("r", study, self.federation.session, number, (item,), keys)

    @property
    def work(self) -> Path:
        return Path(self.rehearsal.workspace(self.name).settings.work)


@pytest.fixture
def hospital(coordinator: Any, tabular: Path) -> Hospital:
    rehearsal = coordinator.rehearse(tabular)
    federation = rehearsal.federation()
    federation.enrol()
    return Hospital(rehearsal, federation, "c")


def answered(replies: Sequence[Any]) -> int:
    return sum(isinstance(reply, EvaluateReply | SumReply) for reply in replies)


def test_of_many_different_questions_at_once_only_as_many_are_answered_as_are_allowed(
    hospital: Hospital,
) -> None:
    questions = [hospital.handout(edge) for edge in np.linspace(0.3, 0.7, AT_ONCE)]
    replies = hospital.ask("evaluate.handout", questions)
    refused = [reply for reply in replies if isinstance(reply, Refused)]
    assert answered(replies) == hospital.rehearsal.study.privacy.max_releases
    assert {one.rule for reply in refused for one in reply.refusals} <= {"releases", "refusals"}
    assert len(refused) + answered(replies) == AT_ONCE
    assert verify(ledger_path(hospital.work), simulated_identity("c").public_key()) == []


def test_without_the_reservation_more_are_computed(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is computed, and all but a few stop only when the ledger is written."""
    monkeypatch.setattr(SiteDb, "reserve", lambda *_: None)
    computed = FORKED.Value("i", 0)
    evaluate = hospital_evaluate(computed)
    monkeypatch.setattr("client.handlers.evaluate", evaluate)
    questions = [hospital.handout(edge) for edge in np.linspace(0.3, 0.7, AT_ONCE)]
    hospital.ask("evaluate.handout", questions)
    assert computed.value > hospital.rehearsal.study.privacy.max_releases


def test_no_more_are_computed_than_are_allowed(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = FORKED.Value("i", 0)
    monkeypatch.setattr("client.handlers.evaluate", hospital_evaluate(computed))
    questions = [hospital.handout(edge) for edge in np.linspace(0.3, 0.7, AT_ONCE)]
    hospital.ask("evaluate.handout", questions)
    assert computed.value == hospital.rehearsal.study.privacy.max_releases


def hospital_evaluate(computed: Any) -> Any:
    """The handler, which counts how often it is called and takes its time."""
    from client import handlers

    evaluate = handlers.evaluate

    def counting(workspace: Any, request: Any) -> Any:
        with computed.get_lock():
            computed.value += 1
        FORKED.Event().wait(0.5)
        return evaluate(workspace, request)

    return counting


@pytest.mark.parametrize("at_once", [2, AT_ONCE])
def test_the_same_question_many_times_at_once_has_one_answer(
    hospital: Hospital, at_once: int
) -> None:
    question = hospital.sums(0, SumItem(Means(), RAW, "train"))
    replies = hospital.ask("query.sum", [question] * at_once)
    assert answered(replies) == at_once
    assert len({reply.ring64.tobytes() + reply.ring32.tobytes() for reply in replies}) == 1
    entries = [e for e in read_entries(ledger_path(hospital.work)) if e.exchange == "query.sum"]
    assert len({entry.payload for entry in entries}) == 1
    assert len(SiteDb(hospital.work).questions(hospital.rehearsal.study.digest(), "query.sum")) == 1


def test_no_more_fail_at_once_than_one_after_the_other(hospital: Hospital) -> None:
    """A failure tells about the numbers, so all that may still fail count."""

    def too_large(which: int) -> SumItem:
        weights = np.array([[1e200, float(which)]])
        gradient = SvmGradient(weights, np.zeros((1, 5)), np.array([-1]))
        filled = RAW.then(Impute(columns=MARKER, fill=np.zeros(1)), Clip(limit=3.0))
        return SumItem(gradient, filled, "train")

    questions = [hospital.sums(which, too_large(which)) for which in range(AT_ONCE)]
    replies = hospital.ask("query.sum", questions)
    problems = [reply for reply in replies if isinstance(reply, Problem)]
    assert len(problems) == hospital.rehearsal.study.privacy.max_refusals
    study = hospital.rehearsal.study.digest()
    assert len(SiteDb(hospital.work).questions(study, REFUSED)) == len(problems)


def test_a_question_whose_process_died_counts_until_it_is_asked_again(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = hospital.rehearsal.study.digest()
    with monkeypatch.context() as dying:
        dying.setattr("client.handlers.evaluate", dies)
        for edge in (0.3, 0.4):
            process = FORKED.Process(
                target=hospital._answer,
                args=(
                    "evaluate.handout",
                    hospital.handout(edge),
                    0,
                    FORKED.Barrier(1),
                    FORKED.SimpleQueue(),
                ),
            )
            process.start()
            process.join()
    db = SiteDb(hospital.work)
    assert db.questions(study, "evaluate.handout") == frozenset()
    assert len(db.counted(study, "evaluate.handout")) == 2
    assert answered(hospital.ask("evaluate.handout", [hospital.handout(0.3)])) == 1
    assert len(db.questions(study, "evaluate.handout")) == 1
    assert len(db.counted(study, "evaluate.handout")) == 2
    rest = [hospital.handout(edge) for edge in np.linspace(0.5, 0.9, AT_ONCE)]
    most = hospital.rehearsal.study.privacy.max_releases
    assert answered(hospital.ask("evaluate.handout", rest)) == most - 2


def dies(*_: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
