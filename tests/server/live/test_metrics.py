"""The facts of a run for a monitoring system."""

from __future__ import annotations

import http.client
import re
from typing import Any

import pytest

from common.utils.loopback_pages import Metric
from server.live import snapshot
from server.live.serving import STATES, LiveServer
from tests import builders

LINE = re.compile(r'[a-z_]+\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\} [-+0-9.e]+')


def ask(server: LiveServer, path: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, str(answer.headers["Content-Type"]), answer.read().decode()
    connection.close()
    return found


def values(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines)
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.fixture
def under_way(run: Any) -> Any:
    builders.study_file(run.folder / "study.toml", sites=("north", "south", "west"))
    run.start()
    run.enter("enrolment")
    run.joined("north")
    late = [{"site": "south", "seconds": 90, "why": "never seen"}]
    run.emit("waiting", exchange="query.enrol", sites=late)
    return run


@pytest.mark.usefixtures("under_way")
def test_every_hospital_has_its_numbers_and_no_patient_is_counted(server: LiveServer) -> None:
    status, kind, text = ask(server, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = values(text)
    assert found['fedlnm_site_enrolled{run="mine",site="north"}'] == 1.0
    assert found['fedlnm_site_enrolled{run="mine",site="west"}'] == 0.0
    assert found['fedlnm_site_up_bytes_total{run="mine",site="north"}'] == 900.0
    assert found['fedlnm_site_waited_for_seconds{run="mine",site="south"}'] >= 90.0
    assert found['fedlnm_site_waited_for_seconds{run="mine",site="west"}'] == 0.0
    assert not [name for name in found if "last_reply" in name and "west" in name]
    own = 'fedlnm_run_state{run="mine",study="s",state="'
    states = {state: found[f'{own}{state}"}}'] for state in STATES}
    assert states == {**dict.fromkeys(STATES, 0.0), "under way": 1.0}
    assert found['fedlnm_run_phases{run="mine",study="s"}'] == 6.0
    assert "patient" not in text and "20" not in {f"{value:g}" for value in found.values()}


def test_a_run_is_well_until_it_stops(
    server: LiveServer, under_way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "FRESH_SECONDS", 0.0)
    assert ask(server, "/health")[::2] == (200, "under way\n")
    under_way.emit("failed", message="the disk is full", exit_code=1)
    assert ask(server, "/health")[::2] == (503, "stopped\n")


def test_facts_that_cannot_be_read_are_no_health(server: LiveServer, run: Any) -> None:
    (run.folder / "study.toml").write_text("no study", encoding="utf-8")
    for path in ("/health", "/metrics"):
        status, kind, text = ask(server, path)
        assert (status, kind) == (503, "text/plain; charset=utf-8") and "InputError" in text


def test_a_name_cannot_break_out_of_its_label_and_nothing_known_is_no_line() -> None:
    metric = Metric("m", "gauge", "Words.", [({"site": 'a"} 1\nb\\'}, 2.0), ({"site": "c"}, None)])
    assert list(metric.lines())[2:] == ['m{site="a\\"} 1\\nb\\\\"} 2.0']
    assert list(Metric("m", "gauge", "Words.", [({}, None)]).lines()) == []
