"""State of a run, read from its events."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.study.model import load_study, write_study
from server.deployment.folder import CoordinatorFolder
from server.deployment.run_folder import RunFolder
from server.deployment.status import read_status
from server.live.snapshot import of_deployment

PLAN = {"kind": "started", "phases": ["enrolment", "dl2d"], "rounds": {"dl2d": 72}}
JOINED = {"kind": "enrolled", "site": "a", "counts": {}}
PHASE = {"kind": "phase", "phase": "dl2d", "number": 2, "phases": 2}


def rounds(*numbers: int) -> list[dict[str, Any]]:
    return [
        {
            "kind": "round",
            "network": "dl2d",
            "variant": "fold0",
            "round": number,
            "rounds": 12,
            "loss": 0.5,
            "seconds": 60.0,
        }
        for number in numbers
    ]


@pytest.fixture
def run(folder: CoordinatorFolder, tabular_master: Path) -> RunFolder:
    made = RunFolder(folder.runs / "tabular-1")
    study = load_study(tabular_master / "study.toml")
    network = study.dl2d.model_copy(update={"rounds": 12})
    models = ("clinical", "dl2d")
    study = study.model_copy(update={"base_models": models, "dl2d": network})
    write_study(study, made.study_file)
    return made


def happened(run: RunFolder, *events: dict[str, Any]) -> None:
    lines = [json.dumps({"time": 1_700_000_000.0, **event}) + "\n" for event in events]
    run.events_file.write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def busy(folder: CoordinatorFolder) -> Iterator[None]:
    """A coordinator's command holds the folder."""
    with (folder.state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_run_that_nobody_keeps_going_was_interrupted(
    folder: CoordinatorFolder, run: RunFolder
) -> None:
    happened(run, PLAN, JOINED, PHASE, *rounds(1, 2))
    status = read_status(folder, run)
    assert status.state == "interrupted"
    reported = list(status.lines())
    assert "phase: 2D network (2 of 2)" in reported
    assert "rounds of network training: 2 of 72" in reported
    assert "  a: joined" in reported
    assert "  b: not yet here" in reported
    assert not any("time left" in line for line in reported)


@pytest.mark.usefixtures("busy")
def test_a_run_under_way_tells_the_time_left(folder: CoordinatorFolder, run: RunFolder) -> None:
    happened(run, PLAN, PHASE, *rounds(1, 2))
    status = read_status(folder, run)
    assert status.state == "under way"
    assert "time left: about 1 h 10 min" in list(status.lines())


@pytest.mark.usefixtures("busy")
def test_who_is_waited_for_is_told(folder: CoordinatorFolder, run: RunFolder) -> None:
    site = {"site": "b", "seconds": 90, "why": "not connected"}
    happened(run, PLAN, PHASE, {"kind": "waiting", "exchange": "query.sum", "sites": [site]})
    text = "\n".join(read_status(folder, run).lines())
    assert "b: not yet here, waited for since 2023-11-14T22:11:50+00:00 (not connected)" in text


def test_programs_that_were_started_again_are_counted(
    folder: CoordinatorFolder, run: RunFolder
) -> None:
    happened(run, PLAN, {"kind": "restarted", "what": "SuperLink"}, PHASE)
    assert "programs started again: 1" in list(read_status(folder, run).lines())


def test_why_a_run_stopped_is_told(folder: CoordinatorFolder, run: RunFolder) -> None:
    happened(run, PLAN, {"kind": "failed", "message": "site b: no reply", "exit_code": 1})
    status = read_status(folder, run)
    assert status.state == "stopped"
    assert "  site b: no reply" in list(status.lines())


@pytest.mark.usefixtures("busy")
def test_a_stopped_run_that_was_taken_up_again_is_under_way(
    folder: CoordinatorFolder, run: RunFolder
) -> None:
    happened(run, PLAN, {"kind": "failed", "message": "site b: no reply", "exit_code": 1})
    assert read_status(folder, run).state == "under way"


def test_a_finished_run_is_finished(folder: CoordinatorFolder, run: RunFolder) -> None:
    happened(run, PLAN, PHASE, {"kind": "finished"})
    assert read_status(folder, run).state == "finished"


def test_a_run_without_events_is_told_of_too(folder: CoordinatorFolder, run: RunFolder) -> None:
    status = read_status(folder, run)
    assert status.state == "interrupted"
    assert "phase: none yet" in list(status.lines())


def test_the_live_page_is_told_the_same(folder: CoordinatorFolder, run: RunFolder) -> None:
    happened(run, PLAN, JOINED, PHASE, *rounds(1))
    reported = json.loads(json.dumps(of_deployment(folder, run).read(), allow_nan=False))
    assert (reported["state"], reported["run"], reported["study"]) == (
        "interrupted",
        "tabular-1",
        "tabular",
    )
    assert [name for name, site in reported["sites"].items() if not site["enrolled"]] == ["b", "c"]
    assert reported["curves"][0]["trainings"][0]["loss"] == [[1, 0.5]]
    assert 0 < reported["fraction"] < 1


def test_the_machine_readable_form_has_what_the_lines_have(
    folder: CoordinatorFolder, run: RunFolder
) -> None:
    happened(run, PLAN, JOINED, PHASE, *rounds(1))
    reported = json.loads(json.dumps(read_status(folder, run).as_dict()))
    assert (reported["state"], reported["phase"], reported["rounds_done"]) == (
        "interrupted",
        "dl2d",
        1,
    )
    assert {name: site["enrolled"] for name, site in reported["sites"].items()} == {
        "a": True,
        "b": False,
        "c": False,
    }
