"""The gate as a mod: a whole study passes it, and nothing that is not approved is computed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Error, Message, RecordDict

from client.app import app
from client.gate.mod import gate_mod
from client.site import load_site
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolReply, EnrolRequest, Problem
from common.study.model import load_study, write_study
from server.app import app as server_app
from sim.engines.inprocess import run_in_process, task_identity
from sim.identities import place_coordinator, with_identities
from sim.jobs import Job
from sim.sites import place_sites, write_site


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
