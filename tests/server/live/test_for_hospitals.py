"""Hospitals see where a run is, and nothing of patients or of each other's refusals."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from common.masking import identity
from common.messages.status_ticket import Doorkeeper, StatusTicket
from common.utils.loopback_pages import Request
from server.live.for_hospitals import StatusPage
from server.live.snapshot import of_simulation
from tests import builders

OWN = identity.generate()
COORDINATOR = identity.public_text(OWN.public_key())
KEYS = {name: identity.generate() for name in ("north", "south", "west", "guest")}
SITES = ("north", "south", "west")


@pytest.fixture
def page(run: Any, tmp_path: Path) -> StatusPage:
    builders.study_file(run.folder / "study.toml", sites=SITES)
    run.start()
    run.enter("enrolment")
    run.joined("north")
    late = [{"site": "south", "seconds": 90, "why": "never seen"}]
    run.emit("waiting", exchange="query.enrol", sites=late)
    known = {name: identity.public_text(key.public_key()) for name, key in KEYS.items()}
    keeper = Doorkeeper(COORDINATOR, lambda: known, tmp_path / "tickets.json")
    return StatusPage(keeper, [(SITES, of_simulation(run.folder))])


def asked(page: StatusPage, site: str, header: str = "") -> Any:
    header = header or StatusTicket.sign(KEYS[site], site, COORDINATOR).header()
    return page(Request({"authorization": [header]}))


def test_a_hospital_sees_the_phase_and_who_is_waited_for(page: StatusPage) -> None:
    answer = asked(page, "west")
    (own,) = json.loads(answer.text)["runs"]
    assert (own["study"], own["state"], own["phase"]) == ("s", "under way", "hospitals enrol")
    assert [(one["site"], one["since"] is None) for one in own["waits_for"]] == [
        ("south", False),
        ("west", True),
    ]


def test_nothing_else_is_in_the_answer(page: StatusPage, run: Any) -> None:
    run.emit("refused", site="south", rule="rows", threshold=4711, subset="train")
    rows = [{"site": "south", "subset": "train", "rule": "rows", "threshold": 4711, "way": "w"}]
    run.emit("not_enrolled", rows=rows, note="")
    run.emit("failed", message="south has 4711 patients", exit_code=1)
    text = asked(page, "west").text
    (own,) = json.loads(text)["runs"]
    assert set(own) == {
        *("run", "study", "state", "begun", "now", "phase", "number", "phases", "done"),
        *("rounds_done", "rounds_planned", "seconds_left", "waits_for"),
    }
    for word in ("4711", "rows", "refus", "3400", "loss", "auc"):
        assert word not in text
    assert own["state"] == "stopped" and own["waits_for"] == []


def test_a_hospital_of_another_study_sees_no_run(page: StatusPage) -> None:
    assert json.loads(asked(page, "guest").text) == {"runs": []}


@pytest.mark.parametrize("header", ["", "Fedlnm x", "Basic bm9ydGg6cGFzc3dvcmQ="])
def test_a_stranger_hears_nothing_whatever_it_shows(page: StatusPage, header: str) -> None:
    for request in (Request({"authorization": [header]}), Request({})):
        answer = page(request)
        assert (answer.status, answer.text) == (HTTPStatus.FORBIDDEN, "not for you\n")


def test_of_two_tickets_none_counts(page: StatusPage) -> None:
    both = [StatusTicket.sign(KEYS["west"], "west", COORDINATOR).header() for _ in range(2)]
    assert page(Request({"authorization": both})).status == HTTPStatus.FORBIDDEN
