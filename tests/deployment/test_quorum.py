"""Rounds that need three of four hospitals, in a real deployment in which programs are killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sim.rehearsal import command, results_of

AWAY = "west"
NUMBERS = count(1)
TRAININGS = ("fold0", "fold1", "fold2", "final")


@pytest.fixture(scope="module", autouse=True)
def hospitals(quorum_stage: Any) -> Iterator[None]:
    """All hospitals, over all runs."""
    with quorum_stage.sites():
        yield


@pytest.fixture
def stage(quorum_stage: Any) -> Any:
    """The hospitals with a study of this test's own: of each they give rows once."""
    return quorum_stage.another(f"quorum-{next(NUMBERS)}")


def kill_in_the_first_training(stage: Any, run: Any) -> None:
    """Kill all programs of a hospital after a round, and let the others go on without it."""
    run.reaches("round", variant="fold0", round=1)
    stage.screens[AWAY].process.kill()


def reaches_another(run: Any, exchange: str) -> None:
    """Return once one more hospital has answered an exchange, before all have."""
    run.reaches("contact", 1 + run.reported("contact", exchange=exchange), exchange=exchange)


def ends_with_one_set_a_step(stage: Any, run: Any) -> None:
    """The run ends; the report says who was away; all ledgers agree."""
    assert run.screen.ends() == 0, run.screen.text[-3000:]
    assert run.reported("went_on") > 0
    folder: Path = run.folder.path
    (said,) = [text for text in results_of(folder)["warnings"] if "rounds missed: " in text]
    assert f"{AWAY} " in said
    assert said in (folder / "report" / "index.html").read_text(encoding="utf-8")
    for name in stage.lines:
        sent_in = folder / "sites" / name
        sent_in.mkdir(parents=True)
        for file in ("ledger.jsonl", "ledger.head.json"):
            shutil.copy(stage.work(name) / file, sent_in)
    command("server", "audit", folder, "--study", stage.study_file)


def test_hospital_and_coordinator_are_killed_in_a_training(stage: Any) -> None:
    with stage.run() as run:
        kill_in_the_first_training(stage, run)
        run.reaches("lost", site=AWAY)
        reaches_another(run, "query.sign")
        run.screen.process.kill()
    stage.start_again(AWAY)
    with stage.run("resume") as resumed:
        ends_with_one_set_a_step(stage, resumed)
    assert f"goes on without {AWAY}, back in the next training" in resumed.screen.text


@pytest.mark.faults
def test_a_hospital_is_killed_between_its_update_and_its_signature(stage: Any) -> None:
    """The others give the same updates under fresh masks, and it is back in the next training."""
    others = [name for name in stage.lines if name != AWAY]
    with stage.run() as run:
        run.reaches("phase", phase="dl2d")
        for name in others:  # the sum that comes before the first round
            run.reaches("contact", site=name, exchange="query.sum", within="dl2d")
        # with two answers a round has no quorum: nobody is asked to sign before it is dead
        with stage.held_up(others[1:]):
            run.reaches("contact", site=AWAY, exchange="train.network")
            stage.kill(AWAY)
        run.reaches("not_signed", variant="fold0")
        stage.start_again(AWAY)
        ends_with_one_set_a_step(stage, run)
    assert "a hospital answered and was gone; the others answer again" in run.screen.text


@pytest.mark.faults
@pytest.mark.parametrize("exchange", ["query.sign", "query.open"])
def test_the_studys_program_is_killed_while_a_sum_is_opened(stage: Any, exchange: str) -> None:
    with stage.run() as run:
        kill_in_the_first_training(stage, run)
        run.reaches("lost", site=AWAY)
        reaches_another(run, exchange)
        run.program("flwr-serverapp").kill()
        run.reaches("restarted", what="the study's program")
        stage.start_again(AWAY)
        ends_with_one_set_a_step(stage, run)


@pytest.mark.faults
def test_a_hospital_is_away_until_all_trainings_have_ended(stage: Any) -> None:
    """Statistics need its features, so the run waits for it then, and not before."""
    with stage.run() as run:
        kill_in_the_first_training(stage, run)
        for variant in TRAININGS:
            run.reaches("round", variant=variant, round=2)
        run.reaches("waiting")
        stage.start_again(AWAY)
        ends_with_one_set_a_step(stage, run)
