"""One fault a run, each with the hospitals running on from the run before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from server.deployment.init import renew

pytestmark = pytest.mark.faults
HOUR, CUT_SECONDS = 3600, 90
# room for half a line of a ledger
LITTLE = 100


@pytest.fixture(scope="module", autouse=True)
def hospitals(stage: Any, clock: Any) -> Iterator[None]:
    """All hospitals, over all runs; the clock of one of them can be put wrong."""
    with stage.sites(environment={"a": clock.environment}):
        yield


@pytest.mark.parametrize("name", ["supernode", "launcher"])
def test_a_program_of_a_site_is_killed_while_it_answers(stage: Any, name: str) -> None:
    with stage.run() as run:
        stage.amid(run, "a")
        getattr(stage, name)("a").kill()
        stage.finishes_as_undisturbed(run)


def test_the_process_that_answers_a_message_is_killed(stage: Any) -> None:
    with stage.run() as run:
        stage.amid(run, "a")
        stage.kill_answering("a")
        stage.finishes_as_undisturbed(run)


def test_a_site_is_killed_with_all_its_programs_and_started_again(stage: Any) -> None:
    with stage.run() as run:
        stage.amid(run, "b")
        stage.screens["b"].process.kill()
        run.reaches("waiting")
        stage.start_again("b")
        stage.finishes_as_undisturbed(run)


@pytest.mark.parametrize(
    ("program", "what"),
    [
        ("common.flower.superlink", "SuperLink"),
        ("flower-superexec", "SuperExec"),
        ("flwr-serverapp", "the study's program"),
    ],
)
def test_a_program_of_the_coordinator_is_killed_amid_a_round(
    stage: Any, program: str, what: str
) -> None:
    with stage.run() as run:
        stage.amid(run, "a")
        run.program(program).kill()
        run.reaches("restarted", what=what)
        stage.finishes_as_undisturbed(run)


def test_the_coordinator_is_killed_with_all_its_programs_and_resumes(stage: Any) -> None:
    with stage.run() as run:
        stage.amid(run, "a")
        run.screen.process.kill()
    with stage.run("resume") as resumed:
        stage.finishes_as_undisturbed(resumed)


def test_the_line_of_a_site_is_cut_for_a_while(stage: Any) -> None:
    with stage.run() as run:
        stage.amid(run, "a")
        stage.lines["a"].cut()
        time.sleep(CUT_SECONDS)
        stage.lines["a"].mend()
        stage.finishes_as_undisturbed(run)


def limit_files(programs: Iterable[psutil.Process], size: int) -> None:
    """Let no file of these programs, and of those that they start, become longer than this."""
    for one in programs:
        with suppress(psutil.NoSuchProcess):
            one.rlimit(psutil.RLIMIT_FSIZE, (size, psutil.RLIM_INFINITY))


def test_the_disk_of_a_site_is_full_for_a_while(stage: Any) -> None:
    """No file of the site can grow, by the kernel's own limit: half a line is written at most."""
    with stage.run() as run:
        stage.amid(run, "a")
        room = (stage.work("a") / "ledger.jsonl").stat().st_size + LITTLE
        limit_files(stage.programs("a"), room)
        assert run.screen.ends() == 1
    assert "site a" in run.screen.text
    limit_files(stage.programs("a"), psutil.RLIM_INFINITY)
    with stage.run("resume") as resumed:
        stage.finishes_as_undisturbed(resumed)


@pytest.mark.parametrize("shift", [HOUR, -HOUR])
def test_the_clock_of_a_site_goes_wrong_for_a_while(stage: Any, clock: Any, shift: int) -> None:
    with stage.run() as run:
        stage.amid(run, "a")
        clock.put_forward(shift)
        try:
            stage.screens["a"].says("let this machine set its clock from a time server")
        finally:
            clock.put_right()
        stage.finishes_as_undisturbed(run)


def test_the_certificate_expires_between_a_run_and_its_resumption(stage: Any) -> None:
    with stage.run() as run:
        stage.amid(run, "a")
        run.screen.process.terminate()
        assert run.screen.ends() == 130
    renew(stage.hub, days=-1)
    with stage.run("resume") as resumed:
        assert resumed.screen.ends() == 1
    assert "the server's certificate has expired" in resumed.screen.text
    renew(stage.hub)
    with stage.run("resume") as resumed:
        stage.finishes_as_undisturbed(resumed)
