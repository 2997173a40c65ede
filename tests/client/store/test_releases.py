"""A release is remembered whole before it leaves, whatever happens to the process meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from client import handlers
from client.app import app
from client.data.cohort import read_cohort
from client.site import SiteSettings, load_site
from client.store.ledger import ledger_path
from client.store.releases import Releases
from client.store.site_db import REFUSED, SiteDb, remember_study
from client.workspace import open_workspace
from common.errors import StudyError
from common.ledger.verify import read_entries, verify
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolReply, EnrolRequest, Problem, SumItem, SumRequest
from common.statistics.svm import SvmGradient
from common.study.model import Study
from common.transforms import Select
from common.transforms.views import table
from sim.engines.inprocess import task_identity
from sim.sites import simulated_identity, with_identities
from tests import builders

TWO_GRADIENTS = {"privacy": {"max_svm_rounds": 2}, "svm": {"max_rounds": 2}}
PUBLIC = simulated_identity("a").public_key()

# answers an enrolment in a process of its own, which is killed at a step of the release
CHILD = """
import os, signal, sys
from pathlib import Path
import client.store.ledger as ledger
import client.store.site_db as site_db
from client import handlers
from client.site import load_site
from client.workspace import open_workspace
from common.messages.codec import encode
from common.messages.exchanges import EnrolRequest

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half(path, data):
    with path.open("ab") as file:
        file.write(data[: len(data) // 2])
        file.flush()
    if data:
        die()

site, digest, step = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
workspace = open_workspace(site, digest, "first")
request = EnrolRequest(run="first", study=digest, study_json="")
reply = handlers.enrol(workspace, request)
if step == "before the transaction ends":
    site_db.Draft.remember = die
elif step == "between transaction and ledger":
    ledger.Ledger.catch_up = die
elif step == "in the middle of the line":
    ledger.append_durably = half
elif step == "between line and head":
    ledger.write_durably = die
workspace.releases.record("query.enrol", request, reply, encode(reply))
print("sent")
"""
STEPS = {
    "before the transaction ends": False,
    "between transaction and ledger": True,
    "in the middle of the line": True,
    "between line and head": True,
    "never": True,
}


@dataclass(frozen=True)
class Hospital:
    """Hospital a of the tabular study, which its site was shown."""

    site: Path
    study: Study

    @property
    def settings(self) -> SiteSettings:
        return load_site(self.site)

    def releases(self, run: str) -> Releases:
        """As a new process of the site has them, over the cohort as it is now."""
        cohort = read_cohort(self.settings.data, "a", self.study)
        return Releases(self.settings, self.study, run, cohort)

    def decisions(self) -> list[tuple[str, str, str]]:
        entries = read_entries(ledger_path(self.settings.work))
        return [(entry.run, entry.decision, entry.reason) for entry in entries]

    def lose_a_patient(self) -> None:
        path = self.settings.data / "cohort.csv"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:5] + lines[6:]), encoding="utf-8")

    def enrolment(self, run: str) -> EnrolRequest:
        return EnrolRequest(run, self.study.digest(), self.study.model_dump_json())


@pytest.fixture
def hospital(site: Path, tabular: Path) -> Hospital:
    study = with_identities(builders.amended(tabular / "study.toml", **TWO_GRADIENTS))
    remember_study(load_site(site).work, study)
    return Hospital(site, study)


# -- a process that dies ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_a_release_is_remembered_before_it_leaves_wherever_the_process_dies(
    hospital: Hospital, step: str
) -> None:
    command = [sys.executable, "-c", CHILD, str(hospital.site), hospital.study.digest(), step]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (
        ("sent\n", 0) if step == "never" else ("", -signal.SIGKILL)
    ), done.stderr
    remembered = STEPS[step]
    work = hospital.settings.work
    assert bool(SiteDb(work).memberships()) is remembered
    assert (SiteDb(work).fact("cohort", f"first/{hospital.study.digest()[:16]}") is not None) is (
        remembered
    )

    hospital.lose_a_patient()
    found = hospital.releases("second").refusals("query.enrol", hospital.enrolment("second"))
    assert [one.rule for one in found] == (["membership"] if remembered else [])
    # the ledger has what was remembered, and nothing else
    assert hospital.decisions() == ([("first", "released", "")] if remembered else [])
    assert verify(ledger_path(work), PUBLIC) == []


def test_the_ledger_goes_on_after_a_line_that_a_crash_kept_back(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Any) -> None:
        raise KeyboardInterrupt

    releases, request = hospital.releases("first"), hospital.enrolment("first")
    with monkeypatch.context() as crash, pytest.raises(KeyboardInterrupt):
        crash.setattr("client.store.ledger.Ledger.catch_up", gone)
        releases.record(
            "query.enrol", request, problem := Problem("x", "0" * 8, "a"), encode(problem)
        )
    assert not ledger_path(hospital.settings.work).read_bytes()
    releases.record("query.enrol", request, problem, encode(problem))
    assert hospital.decisions() == [("first", "stopped", "problem")] * 2
    assert verify(ledger_path(hospital.settings.work), PUBLIC) == []


# -- two processes at once -------------------------------------------------------------------------


def test_what_another_process_released_meanwhile_stops_a_release(hospital: Hospital) -> None:
    first = hospital.releases("first")
    hospital.lose_a_patient()
    second = hospital.releases("second")
    reply = EnrolReply("a", hospital.study.digest(), {}, {}, {}, (), 0)
    for run, releases in (("first", first), ("second", second)):
        assert releases.refusals("query.enrol", hospital.enrolment(run)) == ()
    assert first.record("query.enrol", hospital.enrolment("first"), reply, encode(reply)) == ()
    late = second.record("query.enrol", hospital.enrolment("second"), reply, encode(reply))
    assert [one.rule for one in late] == ["membership"]
    assert hospital.decisions() == [("first", "released", "")]


@pytest.fixture
def node_identity() -> Iterator[None]:
    with task_identity(7):
        yield


@pytest.mark.usefixtures("node_identity")
def test_the_coordinator_then_gets_a_refusal_and_the_ledger_says_so(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol = handlers.enrol

    def overtaken(workspace: Any, request: Any) -> Any:
        reply = enrol(workspace, request)
        hospital.lose_a_patient()
        hospital.releases("other").record(
            "query.enrol", hospital.enrolment("other"), reply, encode(reply)
        )
        return reply

    monkeypatch.setattr(handlers, "enrol", overtaken)
    open_workspace.cache_clear()
    config: dict[str, Any] = {"site-config": str(hospital.site)}
    context = Context(run_id=1, node_id=7, node_config=config, state=RecordDict(), run_config={})
    message = Message(encode(hospital.enrolment("ours")), 7, "query.enrol")
    reply = decode(app(message, context).content)
    assert {one.rule for one in reply.refusals} == {"membership"}
    assert hospital.decisions() == [("other", "released", ""), ("ours", "refused", "membership")]


# -- gradients: each reveals a little --------------------------------------------------------------


def gradient(number: int, *columns: str) -> SumItem:
    weights = np.full((1, 1 + len(columns)), 0.01 * number)
    asked = SvmGradient(weights, np.zeros((1, 5)), np.array([-1]))
    return SumItem(asked, table("clinical").then(Select(columns=columns)), "train")


@pytest.fixture
def ask(hospital: Hospital) -> Callable[..., tuple[str, ...]]:
    """A question with these gradients, answered where nothing forbids it; rules that do."""

    def asked(run: str, *items: SumItem, answered: bool = True) -> tuple[str, ...]:
        releases = hospital.releases(run)
        study = hospital.study.digest()
        request = SumRequest(run=run, study=study, session="s", number=1, items=items, keys=())
        found = releases.refusals("query.sum", request)
        reply: Any = Problem("x", "0" * 8, "a")
        if answered and not found:
            reply = decode(encode(EnrolReply("a", study, {}, {}, {}, (), 0)))
        releases.record("query.sum", request, reply, encode(reply))
        return tuple(one.rule for one in found)

    return asked


def test_gradients_are_counted_over_runs_and_the_same_question_once(
    ask: Callable[..., tuple[str, ...]],
) -> None:
    assert ask("first", gradient(0, "marker")) == ()
    assert ask("second", gradient(0, "marker")) == ()
    assert ask("second", gradient(1, "marker")) == ()
    assert ask("third", gradient(1, "marker")) == ()
    assert ask("third", gradient(2, "marker")) == ("svm_rounds",)
    assert ask("third", gradient(0, "stage")) == ("svm_rounds",)
    assert ask("fourth", gradient(1, "marker")) == ()


def test_all_gradients_of_one_request_count(ask: Callable[..., tuple[str, ...]]) -> None:
    many = [gradient(number, "marker") for number in range(3)]
    assert ask("r", *many) == ("svm_rounds",)
    assert ask("r", *many[:2]) == ()


def test_a_gradient_that_was_not_given_does_not_count(
    ask: Callable[..., tuple[str, ...]],
) -> None:
    for number in range(5):
        assert ask("r", gradient(number, "marker"), answered=False) == ()
    assert ask("r", gradient(5, "marker"), gradient(6, "marker")) == ()


def test_what_failed_is_remembered_as_a_question_and_not_as_a_release(
    hospital: Hospital, ask: Callable[..., tuple[str, ...]]
) -> None:
    ask("r", gradient(0, "marker"), answered=False)
    db, study = SiteDb(hospital.settings.work), hospital.study.digest()
    assert len(db.questions(study, REFUSED)) == 1
    assert db.memberships() == ()
    assert db.questions(study, "query.sum") == frozenset()


def test_a_lost_memory_is_never_begun_anew(hospital: Hospital) -> None:
    releases, request = hospital.releases("first"), hospital.enrolment("first")
    reply = EnrolReply("a", hospital.study.digest(), {}, {}, {}, (), 0)
    releases.record("query.enrol", request, reply, encode(reply))
    for path in hospital.settings.work.glob("site.db*"):
        path.unlink()
    with pytest.raises(StudyError, match="memory is missing, though its ledger has entries"):
        releases.record("query.enrol", request, reply, encode(reply))
    with pytest.raises(StudyError, match="memory is missing, though its ledger has entries"):
        hospital.releases("second")
    assert not list(hospital.settings.work.glob("site.db*"))
