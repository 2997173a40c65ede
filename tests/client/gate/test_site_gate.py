"""The gate of one site holds the thresholds that the site's file has now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Error, Message, RecordDict

from client.app import app
from client.gate import site_gate
from client.gate.schema import StoppedError
from client.gate.site_gate import AdmittedRequest, SiteGate, gate_mod
from client.site import LOG, load_site
from client.store.heads import RolledBackError
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolReply, EnrolRequest, Problem, SumRequest
from common.study.model import Study, load_study, write_study
from server.app import app as server_app
from sim.engines.inprocess import run_in_process, task_identity
from sim.jobs import Job
from sim.sites import place_coordinator, place_sites, with_identities, write_site


@pytest.fixture
def thresholds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Smallest number of rows that each inspected reply was held to."""
    found: list[int] = []

    def note(_: str, __: Any, content: RecordDict, context: Any) -> RecordDict:
        found.append(context.privacy.min_rows)
        return content

    monkeypatch.setattr(site_gate, "inspect", note)
    return found


def asked(study: Study) -> AdmittedRequest:
    return AdmittedRequest("query.sum", SumRequest.__new__(SumRequest), study)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            RolledBackError("a", 7),
            "restore the newest backup of its work folder",
        ),
        (
            StoppedError("study_not_approved", "study abc is not approved"),
            "read what changed (fedlnm-site approve STUDY.toml --diff), and approve it or not",
        ),
        (ValueError("odd"), "not answered: ValueError: odd (gate_failed, log "),
    ],
)
def test_what_the_gate_stops_is_on_the_screen_with_cause_and_cure(
    site: Path, caplog: pytest.LogCaptureFixture, error: Exception, words: str
) -> None:
    SiteGate(load_site(site), site).stop(error, AdmittedRequest("query.sum"))
    (line,) = [r.getMessage() for r in caplog.records if r.name == LOG.name]
    assert line.startswith("site a: not answered: ")
    assert words in line


def test_a_threshold_that_is_raised_while_the_site_runs_holds_for_the_next_reply(
    site: Path, study: Study, thresholds: list[int]
) -> None:
    gate = SiteGate(load_site(site), site)
    gate.release(asked(study), RecordDict())
    settings = load_site(site)
    stricter = study.privacy.model_copy(update={"min_rows": study.privacy.min_rows + 7})
    write_site(site.parent, settings.model_copy(update={"privacy": stricter}))
    gate.release(asked(study), RecordDict())
    assert thresholds[1] == study.privacy.min_rows + 7 > thresholds[0]


def test_nothing_leaves_while_the_sites_file_cannot_be_read(
    site: Path, study: Study, thresholds: list[int]
) -> None:
    gate = SiteGate(load_site(site), site)
    site.write_text("min_rows =", encoding="utf-8")
    left = decode(gate.release(asked(study), RecordDict()))
    assert isinstance(left, Problem)
    assert thresholds == []


def gated(message: Message, context: Context) -> Message:
    return gate_mod(message, context, app)


def placed(tabular: Path, approvals: str) -> dict[str, Path]:
    data = {name: tabular / name for name in ("a", "b", "c")}
    sites = place_sites(data, tabular / "run", tabular / "cache", exclude_bad_patients=False)
    for path in sites.values():
        changed = load_site(path).model_copy(update={"approvals": approvals})
        write_site(path.parent, changed)
    return sites


@pytest.mark.slow
def test_a_whole_study_passes_the_gate(tabular: Path) -> None:
    sites = placed(tabular, "open")
    study = with_identities(load_study(tabular / "study.toml"))
    file = write_study(study, tabular / "in" / "study.toml")
    out = tabular / "run"
    key = place_coordinator(tabular / "in")
    job = Job("federated", file, sites, out, "inprocess", key)
    run_in_process(server_app, gated, sites, job.run_config)  # type: ignore[arg-type]
    assert json.loads((out / "run.json").read_text())["performance"]
    assert not list(out.rglob("gate.log"))


class Asking:
    """One enrolment through the mod, with any app behind it."""

    def __init__(self, tabular: Path, node_config: dict[str, Any]) -> None:
        study = with_identities(load_study(tabular / "study.toml"))
        self.request = EnrolRequest("r", study.digest(), study.model_dump_json())
        self.config, self.called = node_config, False

    def __call__(self, inner: Any = app, run_config: dict[str, Any] | None = None) -> Any:
        def behind(message: Message, context: Context) -> Message:
            self.called = True
            reply: Message = inner(message, context)
            return reply

        context = Context(1, 7, dict(self.config), RecordDict(), dict(run_config or {}))
        with task_identity(7):
            return gate_mod(Message(encode(self.request), 7, "query.enrol"), context, behind)


@pytest.fixture
def asking(tabular: Path) -> Iterator[Asking]:
    yield Asking(tabular, {"site-config": str(placed(tabular, "open")["a"])})


def test_an_honest_app_is_heard(asking: Asking) -> None:
    assert isinstance(decode(asking().content), EnrolReply)


def test_a_study_that_is_not_approved_is_not_computed(tabular: Path) -> None:
    asking = Asking(tabular, {"site-config": str(placed(tabular, "required")["a"])})
    assert decode(asking().content).kind == "study_not_approved"
    assert not asking.called


def test_flowers_own_errors_lose_their_text(asking: Asking) -> None:
    reply = asking(lambda message, _: Message(Error(2, "Muster-Max"), reply_to=message))
    assert reply.error.code == 2
    assert "Muster" not in str(reply.error.reason)


def test_a_node_that_knows_no_site_says_nothing_but_that(tabular: Path) -> None:
    reply = Asking(tabular, {})()
    assert isinstance(decode(reply.content), Problem)


def test_a_simulated_node_beyond_the_sites_can_only_say_that_it_is_nobody(
    tabular: Path, tmp_path: Path
) -> None:
    listing = tmp_path / "sites.txt"
    listing.write_text("")
    asking = Asking(tabular, {"partition-id": 3})
    config = {"site-configs": str(listing)}
    assert decode(asking(run_config=config).content).site == ""
    talkative = asking(lambda message, _: Message(message.content, reply_to=message), config)
    assert isinstance(decode(talkative.content), Problem)
