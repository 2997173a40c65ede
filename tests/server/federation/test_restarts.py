"""A hospital's program ends in the middle of a run: all agree on new keys, and the run goes on."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from client.app import app
from client.site import load_site
from client.store.ledger import ledger_path
from client.store.run_keys import VARIABLE, new_start
from client.store.site_db import REFUSED, SiteDb
from client.workspace import Workspace, open_workspace
from common.errors import SiteError
from common.ledger.audit import audit
from common.ledger.verify import read_entries
from common.messages.codec import decode
from common.messages.exchanges import (
    AgreeRequest,
    EnrolRequest,
    KeyRequest,
    Problem,
    SumItem,
    SumRequest,
)
from common.statistics.moments import Means
from common.study.model import load_study
from common.transforms import Select
from common.transforms.views import table
from server.federation.federation import Federation
from server.federation.restarts import MOST_RESTARTS
from server.progress.events import Events
from server.progress.screen import describe
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import place_sites, with_identities

ITEM = SumItem(Means(), table("clinical").then(Select(columns=("marker",))), "train")


class Restarting(InProcessGrid):
    """A grid of sites whose programs can be started again, each by itself."""

    def __init__(self, sites: dict[str, Path]) -> None:
        super().__init__(app, sites)
        self.sites = sites
        self.starts = {name: new_start() for name in sites}
        self.memory: dict[tuple[Any, ...], Workspace] = {}
        self.heard: list[tuple[str, Any, Any]] = []
        self.before: Callable[[str, Any], None] = lambda site, request: None

    def restart(self, site: str) -> None:
        """Start a site's program again, which forgets all that it had in memory."""
        self.starts[site] = new_start()
        self.memory = {key: kept for key, kept in self.memory.items() if key[0] != self.sites[site]}

    def workspace(self, *which: Any) -> Workspace:
        """Return a workspace; a site keeps it until its program is started again."""
        if which not in self.memory:
            self.memory[which] = open_workspace.__wrapped__(*which)
        return self.memory[which]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = []
        for message_id in message_ids:
            message = self._waiting[message_id]
            site = list(self.sites)[message.metadata.dst_node_id - SERVER_NODE - 1]
            request = decode(message.content)
            self.before(site, request)
            os.environ.update(self.starts[site])
            for reply in super().pull_messages([message_id]):
                self.heard.append((site, request, decode(reply.content)))
                replies.append(reply)
        return replies


@pytest.fixture
def federation(tabular: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Federation]:
    monkeypatch.setenv(VARIABLE, "00" * 32)
    study = with_identities(load_study(tabular / "study.toml"))
    data = {name: tabular / name for name in study.site_names}
    sites = place_sites(data, tabular / "run", tabular / "cache", exclude_bad_patients=False)
    with task_identity(SERVER_NODE):
        grid = Restarting(sites)
        monkeypatch.setattr("client.app.open_workspace", grid.workspace)
        made = Federation(grid, study, "r", Events(tabular / "events.jsonl"))
        made.enrol()
        yield made


def events(federation: Federation) -> list[Any]:
    import json

    path = federation.events.path
    assert path is not None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ledgers(federation: Federation) -> dict[str, Any]:
    sites: dict[str, Path] = federation.grid.sites  # type: ignore[attr-defined]
    works = {name: load_site(path).work for name, path in sites.items()}
    return {name: read_entries(ledger_path(work)) for name, work in works.items()}


@pytest.mark.parametrize("restarted", ["a", "c", "abc"])
def test_a_question_is_asked_again_under_new_keys_and_has_the_same_total(
    federation: Any, restarted: str
) -> None:
    first = federation.sum_many([ITEM])[0]
    before, session, number = federation._keys(), federation.session, federation.number
    counted = federation.transfers.table()
    for site in restarted:
        federation.grid.restart(site)
    again = federation.sum_many([ITEM])[0]
    assert np.array_equal(first.mean, again.mean)
    assert federation.number == number + 1, "asked again under its own number"
    for row, earlier in zip(federation.transfers.table(), counted, strict=True):
        again = row["exchange"] == "query.sum"
        assert row["rounds"] == (2 if again else 1), "what is asked again counts once"
        assert row["bytes_up"] == earlier["bytes_up"] * (2 if again else 1)
    assert federation.session != session
    now = federation._keys()
    assert not {key.public_key for key in before} & {key.public_key for key in now}
    (renewed,) = (describe(one) for one in events(federation) if one["kind"] == "keys_renewed")
    assert f"{restarted[0]} was started again: all agree on new keys" in renewed
    # the same question under the new keys is no more than one question, and nothing was refused
    work = load_site(federation.grid.sites["a"]).work
    digest = federation.study.digest()
    assert len(SiteDb(work).questions(digest, "query.sum")) == 1
    assert SiteDb(work).questions(digest, REFUSED) == frozenset()
    assert audit(ledgers(federation)) == []


@pytest.mark.parametrize("exchange", [KeyRequest, AgreeRequest])
@pytest.mark.parametrize("first", [True, False], ids=["at first", "while all enrol anew"])
def test_a_site_that_is_started_again_while_all_agree_on_a_key_is_enrolled_anew(
    federation: Any, exchange: type, first: bool
) -> None:
    undisturbed = federation.sum_many([ITEM])[0]
    sessions, counted = [], federation.transfers.table()

    def restart_once(site: str, request: Any) -> None:
        if site == "b" and isinstance(request, exchange) and not sessions:
            sessions.append(request.session)
            federation.grid.restart("b")

    federation.grid.before = restart_once
    disturbed = federation
    if first:
        disturbed = Federation(federation.grid, federation.study, "r", federation.events)
        disturbed.enrol()
    else:
        federation.grid.restart("a")
    again = disturbed.sum_many([ITEM])[0]
    assert np.array_equal(undisturbed.mean, again.mean)
    assert len(sessions) == 1
    assert disturbed.session not in sessions
    renewed = [one["site"] for one in events(federation) if one["kind"] == "keys_renewed"]
    assert renewed == (["b"] if first else ["a", "b"])
    if first:
        assert disturbed.transfers.table() == counted, "what is asked again counts once"
    assert audit(ledgers(federation)) == []


def test_a_site_whose_program_ends_whenever_it_agrees_stops_the_enrolment_by_name(
    federation: Any,
) -> None:
    federation.grid.before = lambda site, request: (
        federation.grid.restart(site) if isinstance(request, AgreeRequest) else None
    )
    again = Federation(federation.grid, federation.study, "r")
    with pytest.raises(SiteError, match=rf"site a: .* started again {MOST_RESTARTS} times"):
        again.enrol()


def test_a_site_computes_nothing_under_keys_that_it_does_not_have(
    federation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "client.handlers.materialise", lambda *_: asked.append(1) or pytest.fail("computed")
    )
    for site in "abc":
        federation.grid.restart(site)
    federation.grid.before = lambda site, request: (
        federation.grid.restart(site) if isinstance(request, SumRequest) else None
    )
    with pytest.raises(SiteError, match=rf"site a: .* started again {MOST_RESTARTS} times"):
        federation.sum_many([ITEM])
    assert asked == []
    problems = [r for _, q, r in federation.grid.heard if isinstance(q, SumRequest)]
    assert {reply.kind for reply in problems if isinstance(reply, Problem)} == {"restarted"}
    assert len(problems) == MOST_RESTARTS


def test_a_site_that_comes_back_with_other_patients_stops_the_run_by_name(
    federation: Any, tabular: Path
) -> None:
    federation.sum_many([ITEM])
    federation.grid.restart("b")

    def lose_many(site: str, request: Any) -> None:
        if isinstance(request, EnrolRequest) and site == "b":
            path = tabular / "b" / "cohort.csv"
            rows = list(csv.reader(path.open(encoding="utf-8")))
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([rows[0], *rows[13:]])

    federation.grid.before = lose_many
    with pytest.raises(SiteError, match="site b: ") as stopped:
        federation.sum_many([ITEM])
    # its own memory stops it first: a run goes on over the cohort that it began with
    assert "(data," in str(stopped.value) or "other counts" in str(stopped.value)


def test_counts_that_changed_since_the_run_began_are_named(federation: Any) -> None:
    from dataclasses import replace

    from server.federation.restarts import check_unchanged

    before = federation.members
    check_unchanged(before, dict(before))
    counts = {**before["b"].counts, "train": (1, 1)}
    now = {**before, "b": replace(before["b"], counts=counts, readings=("r2",))}
    with pytest.raises(SiteError, match="site b: it enrolled with other counts and readings than"):
        check_unchanged(before, now)
