"""Section 8 of docs/coordinator.md: each way to go on, typed as it stands there, after a run.

The sums before and after are real ones; the hospitals give them in this process.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import client.store.departures
from client.app import app
from client.commands.init import join
from client.gate import approvals
from client.site import load_site
from client.store.departures import utc_now
from client.store.site_db import remember_study
from common.errors import RefusedError, SiteError
from common.masking import identity
from common.messages.exchanges import SumItem
from common.messages.joining import Invitation, JoinRequest
from common.statistics.moments import Means
from common.study.model import load_study
from common.transforms import Select
from common.transforms.views import table
from common.utils.processes import free_port
from server.deployment.folder import CoordinatorFolder, CoordinatorSettings
from server.deployment.init import make_coordinator
from server.deployment.preparing import prepare
from server.deployment.roster import enrol
from server.deployment.run_folder import new_run
from server.federation.federation import Federation
from server.progress.events import Events
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from tests import builders
from tests.parties import Party

MEANS = SumItem(Means(), table("clinical").then(Select(columns=("marker",))), "train")
DAY = 86_400


@dataclass
class Hospitals:
    """A coordinator and hospitals that know each other, each in a folder of its own."""

    root: Path
    hub: CoordinatorFolder
    coordinator: Party
    parties: dict[str, Party]

    def site(self, name: str) -> Path:
        return self.parties[name].folder / f"site-{name}"

    def add(self, name: str, data: Path) -> None:
        """A hospital joins."""
        names = {"qilu": f"site-{name}"}
        self.parties[name] = Party("site.md", self.root / f"machine-{name}", names)
        invitation = Invitation.read(self.hub.invitation)
        made = join(self.site(name), name, invitation, free_port())
        shutil.copy(data / "cohort.csv", self.site(name) / "data")
        enrol(self.hub, JoinRequest.read(made.request_file), replace=False)
        text = (self.site(name) / "site.toml").read_text(encoding="utf-8")
        # no line to the coordinator, and one sum in place of the study's program
        own = text.partition("[deployment]")[0] + "verify = false\n"
        (self.site(name) / "here.toml").write_text(own, encoding="utf-8")

    def prepared(self, names: str) -> Path:
        """The study of these hospitals, as the coordinator prepares it."""
        file = self.coordinator.folder / "study.toml"
        builders.amend(file, sites=names, tests={"internal": ("internal_test", names)})
        return prepare(self.hub, file).file

    def approve(self, names: str) -> None:
        """These hospitals get the study and approve it, unseen."""
        study = load_study(self.hub.prepared_study("tabular"))
        for name in names:
            self.coordinator.sends("hub/for-sites/tabular/study.toml", self.parties[name])
            settings = load_site(self.site(name) / "site.toml")
            remember_study(settings.work, study)
            private = identity.load(settings.identity).private
            approvals.approve(settings.work, private, study.digest(), study.name)

    def give_sums(self, label: str) -> None:
        """Enrolment and one sum of the prepared study."""
        run = new_run(self.hub, self.hub.prepared_study("tabular"))
        run.path.rename(self.hub.runs / label)
        events = Events(self.hub.runs / label / "events.jsonl")
        study = load_study(self.hub.runs / label / "input" / "study.toml")
        sites = {name: self.site(name) / "here.toml" for name in study.site_names}
        federation = Federation(
            grid=InProcessGrid(app, sites), study=study, run=label, events=events
        )
        with task_identity(SERVER_NODE):
            federation.enrol()
            federation.sum_many([MEANS])

    def days_pass(self, days: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """At the coordinator, whose events become older, and on the hospitals' clocks."""
        for file in self.hub.runs.glob("*/events.jsonl"):
            events = [json.loads(line) for line in file.read_text().splitlines()]
            older = [{**event, "time": event["time"] - days * DAY} for event in events]
            file.write_text("".join(json.dumps(event) + "\n" for event in older))
        later = utc_now() + timedelta(days=days)
        monkeypatch.setattr(client.store.departures, "utc_now", lambda: later)


@pytest.fixture
def made(tmp_path: Path, tabular: Path) -> Hospitals:
    """Four hospitals, and the study of the four, prepared."""
    names = {"larynx": "tabular"}
    coordinator = Party("coordinator.md", tmp_path / "coordinator", names)
    settings = CoordinatorSettings(address="hub.example:443", port=8000)
    hub = make_coordinator(coordinator.folder / "hub", settings)
    shutil.copy(tabular / "study.toml", coordinator.folder)
    hospitals = Hospitals(tmp_path, hub, coordinator, {})
    for name in "abcd":
        hospitals.add(name, tabular / (name if name != "d" else "b"))
    hospitals.prepared("abcd")
    return hospitals


@pytest.fixture
def hospitals(made: Hospitals) -> Iterator[Hospitals]:
    """The same after a run of the four."""
    made.approve("abcd")
    made.give_sums("first")
    return made


def refused(follow: Callable[[], Any]) -> str:
    """The words of a command that does not do what it was asked."""
    with pytest.raises(AssertionError) as said:
        follow()
    return " ".join(str(said.value).split())


def test_a_hospital_that_is_off_after_a_run_is_waited_for(hospitals: Hospitals) -> None:
    file = hospitals.coordinator.folder / "study.toml"
    builders.amend(file, sites="abc", tests={"internal": ("internal_test", "abc")})
    said = " ".join(hospitals.coordinator.follow(5).split())
    assert "run first gave them already, and now they are asked without d" in said
    assert "-> keep the sites of the earlier sums" in said
    assert "prepare --without FILE" in said
    hospitals.approve("abc")
    found = refused(lambda: hospitals.parties["a"].follow(4))
    assert "not ready" in found
    for words in ("given together with a, b, c, d", "rule participants", "tell the coordinator"):
        assert words in found
    with pytest.raises(RefusedError, match="rule participants"):
        hospitals.give_sums("second")


def test_a_hospital_that_signs_that_it_leaves_is_let_go(hospitals: Hospitals) -> None:
    leaving = hospitals.parties["d"]
    said = leaving.follow(9, "leaves")
    assert "has this hospital's OWN numbers" in said
    assert "left; give this file to the coordinator: left.toml" in said
    leaving.sends("left.toml", hospitals.coordinator)
    said = hospitals.coordinator.follow(8, "leaves")
    assert "without d, whose own sums may be found by subtraction from now on" in said
    assert "would be refused" not in said
    for name in "abc":
        party = hospitals.parties[name]
        hospitals.coordinator.sends("hub/for-sites/tabular/study.toml", party)
        assert "the difference is d's alone" in " ".join(party.follow(5).split())
    hospitals.give_sums("second")


def test_a_hospital_that_cannot_sign_is_let_go_by_what_it_signed_before(
    made: Hospitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospitals, dead = made, made.parties["d"]
    hospitals.coordinator.sends("hub/for-sites/tabular/study.toml", dead)
    said = dead.follow(5, "away")
    assert "It costs what leaving costs" in said
    hospitals.approve("abcd")
    dead.sends("site-d/d.may-leave-tabular.toml", hospitals.coordinator)
    hospitals.give_sums("first")
    shutil.rmtree(dead.folder)

    def go_on() -> str:
        return hospitals.coordinator.follow(8, "away", qilu="d")

    assert "d may be left out after more than 60 days, and answered here on" in refused(go_on)
    hospitals.days_pass(61, monkeypatch)
    assert "without d, whose own sums may be found" in go_on()
    for name in "abc":
        party = hospitals.parties[name]
        hospitals.coordinator.sends("hub/for-sites/tabular/study.toml", party)
        said = " ".join(party.follow(5).split())  # by the true clock
        assert "TOO EARLY: by this hospital's ledger the last sum together with d" in said
        assert "CALL d, at a number that you know already" in said
    hospitals.give_sums("second")
    monkeypatch.undo()
    with pytest.raises(SiteError, match=r"there not long ago, by this site's ledger \(not_absent"):
        hospitals.give_sums("third")


def test_a_hospital_that_lost_its_keys_is_let_go_by_the_word_of_three(
    hospitals: Hospitals,
) -> None:
    """The coordinator's, a's and b's."""
    lost, coordinator = hospitals.parties["d"], hospitals.coordinator
    shutil.rmtree(hospitals.site("d") / "keys")
    found = refused(lambda: lost.follow(9, "leaves"))
    assert "the identity key cannot be read" in found
    assert "After a run it can only be let go: fedlnm-site leave --lost-keys" in found
    invitation = Invitation.read(hospitals.hub.invitation)
    anew = join(lost.folder / "site-d-anew", "d", invitation, free_port())
    said = lost.follow(9, "lost-keys")
    assert f"fingerprint that you read to them: {anew.fingerprint}" in said
    lost.sends("left.toml", coordinator)
    said = coordinator.follow(8, "lost-keys")
    assert "d says that it lost its keys, and asks to be let go for good" in said
    assert f"fingerprint of its new key: {anew.fingerprint}" in said
    assert "CALL d, at a number that you know already" in said
    names = {"ruijin.confirms": "site-a.confirms", "renji.confirms": "site-b.confirms"}
    shutil.copy(coordinator.folder / "hub.confirms.toml", coordinator.folder / "none.toml")
    for name in "ab":
        lost.sends("left.toml", hospitals.parties[name])
        hospitals.parties[name].follow(9, "confirms")
        hospitals.parties[name].sends(f"site-{name}.confirms.toml", coordinator)
    few = {**names, "renji.confirms": "none"}
    found = refused(lambda: coordinator.follow(8, "confirmed", **few))
    assert "confirmed by the coordinator, a, not by the coordinator and two hospitals" in found
    assert "would be refused" not in coordinator.follow(8, "confirmed", **names)
    for name in "abc":
        party = hospitals.parties[name]
        coordinator.sends("hub/for-sites/tabular/study.toml", party)
        said = " ".join(party.follow(5).split())
        assert f"signed with a new one: {anew.fingerprint}, confirmed by the coordinator" in said
        assert "CALL d, at a number that you know already" in said
    hospitals.give_sums("second")


def test_a_hospital_that_joins_after_a_run_is_foretold_to_be_refused(
    hospitals: Hospitals, tabular: Path
) -> None:
    hospitals.add("e", tabular / "c")
    file = hospitals.coordinator.folder / "study.toml"
    builders.amend(file, sites="abcde", tests={"internal": ("internal_test", "abcde")})
    said = " ".join(hospitals.coordinator.follow(5).split())
    assert "now they are asked with e besides (rule participants)" in said
    assert "change three or more at once" in said
    hospitals.approve("abcde")
    with pytest.raises(RefusedError, match="rule participants"):
        hospitals.give_sums("second")
    for name in "fg":
        hospitals.add(name, tabular / "c")
    builders.amend(file, sites="abcdefg", tests={"internal": ("internal_test", "abcdefg")})
    assert "would be refused" not in hospitals.coordinator.follow(5)
    hospitals.approve("abcdefg")
    hospitals.give_sums("third")
