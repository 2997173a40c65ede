"""The coordinator restarts or reports what ends unexpectedly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from common.errors import StudyError
from common.flower.app import FlowerApp, installed_app
from common.flower.control import Node, RunState, UnreachableError
from common.messages.joining import JoinRequest, node_key_pem
from common.utils.processes import holding
from server.deployment import supervisor as supervisor_module
from server.deployment.folder import CoordinatorFolder
from server.deployment.roster import Roster, enrol, expel
from server.deployment.run_folder import PROGRAM_LOCK, RunFolder
from server.deployment.supervisor import Supervisor, register_sites
from tests import builders

Joiner = Callable[[str], JoinRequest]
COMPLETED = RunState("finished", "completed", "")
FAILED = RunState("finished", "failed", "killed")
RUNNING = RunState("running", "", "")
Step = Callable[[], RunState]


class FakeControl:
    """The SuperLink as a test wants it: each call for the run's state is the next step."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps, self.submitted, self.stopped = steps, [], []
        self.known: dict[bytes, str] = {}
        self.leftover = [41]

    submitted: list[dict[str, str]]
    stopped: list[int]

    def start_run(self, app: FlowerApp, config: dict[str, str]) -> int:
        assert app == installed_app()
        self.submitted.append(config)
        return len(self.submitted)

    def run_state(self, run_id: int) -> RunState:
        return self.steps.pop(0)()

    def unfinished_runs(self) -> list[int]:
        return self.leftover

    def stop_run(self, run_id: int) -> None:
        self.stopped.append(run_id)

    def nodes(self) -> list[Node]:
        names = enumerate(self.known.items())
        return [Node(number, name, key, "online") for number, (key, name) in names]

    def register(self, name: str, public_key: bytes) -> None:
        self.known[public_key] = name

    def unregister(self, node_id: int) -> None:
        del self.known[self.nodes()[node_id].public_key]

    def close(self) -> None:
        """As the real one."""


class FakeServices:
    """SuperLink and SuperExec that never die by themselves."""

    def __init__(self, *_: Any) -> None:
        self.superlink = self
        self.stops = 0

    @contextmanager
    def running(self) -> Iterator[FakeServices]:
        yield self

    def start_superexec(self) -> None:
        """As the real one."""

    def revive(self) -> list[str]:
        return []

    def rotate_logs(self) -> None:
        """As the real one."""

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def run(folder: CoordinatorFolder) -> RunFolder:
    made = RunFolder(folder.runs / "tabular-1")
    made.path.mkdir(parents=True)
    return made


@pytest.fixture
def told() -> list[str]:
    """Lines that the coordinator's people read of those who are waited for."""
    return []


@pytest.fixture
def supervise(
    folder: CoordinatorFolder, run: RunFolder, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> Callable[..., FakeControl]:
    monkeypatch.setattr(supervisor_module, "Services", FakeServices)
    monkeypatch.setattr(supervisor_module, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(supervisor_module, "ASK_SECONDS", 0.0)

    def start(*steps: Step) -> FakeControl:
        control = FakeControl(list(steps))
        monkeypatch.setattr(supervisor_module, "Control", lambda *_: control)
        try:
            Supervisor(folder, run, lambda: None, told.append).supervise()
        finally:
            start.control = control  # type: ignore[attr-defined]
        return control

    return start


@pytest.fixture
def emit(run: RunFolder) -> Callable[..., Step]:
    """A step at which the study's program has written an event and ended."""

    def step(state: RunState, put_by: str = "", **event: Any) -> Step:
        def happen() -> RunState:
            if event:
                with run.events_file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"time": 0, **event}) + "\n")
            if put_by:
                (run.path / "checkpoint").mkdir(exist_ok=True)
                (run.path / "checkpoint" / put_by).touch()
            return state

        return happen

    return step


def kinds(run: RunFolder) -> list[str]:
    return [event["kind"] for event in run.events()]


def test_a_finished_study_ends_the_coordinator(
    supervise: Callable[..., FakeControl], emit: Callable[..., Step]
) -> None:
    control = supervise(emit(RUNNING), emit(COMPLETED, kind="finished"))
    assert len(control.submitted) == 1
    assert control.submitted[0]["run-name"] == "tabular-1"


@pytest.mark.parametrize("late", [False, True])
def test_who_is_waited_for_is_said_from_the_first_second_and_when_it_changes(
    supervise: Callable[..., FakeControl],
    emit: Callable[..., Step],
    run: RunFolder,
    told: list[str],
    folder: CoordinatorFolder,
    request_of: Joiner,
    monkeypatch: pytest.MonkeyPatch,
    late: bool,
) -> None:
    monkeypatch.setattr(supervisor_module, "CALL_SECONDS", -1.0 if late else 90.0)
    run.study_file.parent.mkdir()
    builders.study_file(run.study_file.parent / "study.toml", sites=[{"name": n} for n in "abc"])
    for name in "ab":  # c has never been enrolled here
        enrol(folder, request_of(name), replace=False)
    supervise(
        emit(RUNNING),
        emit(RUNNING, kind="enrolled", site="a"),
        emit(RUNNING, kind="enrolled", site="b"),
        emit(RUNNING, kind="enrolled", site="c"),
        emit(COMPLETED, kind="finished"),
    )
    cure = " -> call c: is fedlnm-site run running, and what does fedlnm-site doctor say there?"
    cure = cure if late else ""
    assert told == [
        "starting Flower's SuperLink, which hospitals connect to",
        "starting the study's program; hospitals connect meanwhile",
        "waiting for c (not connected), a (connected; reads its patients), b (connected; reads its"
        f" patients){cure}",
        f"waiting for c (not connected), b (connected; reads its patients){cure}",
        f"waiting for c (not connected){cure}",
        "every hospital has joined",
    ]


def test_nobody_is_waited_for_once_the_study_has_stopped(
    supervise: Callable[..., FakeControl],
    emit: Callable[..., Step],
    run: RunFolder,
    told: list[str],
) -> None:
    run.study_file.parent.mkdir()
    builders.study_file(run.study_file.parent / "study.toml", sites=[{"name": n} for n in "abc"])

    def stops() -> RunState:
        emit(RUNNING, kind="enrolled", site="a")()
        return emit(RUNNING, kind="failed", message="c has not approved this study", exit_code=1)()

    with pytest.raises(StudyError, match="c has not approved"):
        supervise(stops, emit(COMPLETED))
    waited = [line for line in told if line.startswith("waiting for")]
    assert waited == ["waiting for a (not connected), b (not connected), c (not connected)"]


def test_runs_that_a_killed_coordinator_left_are_stopped_first(
    supervise: Callable[..., FakeControl], emit: Callable[..., Step]
) -> None:
    assert supervise(emit(COMPLETED, kind="finished")).stopped == [41]


def test_a_program_that_was_killed_is_missed_before_the_superlink_knows(
    supervise: Callable[..., FakeControl], emit: Callable[..., Step], run: RunFolder
) -> None:
    """Flower takes a program for alive until it has missed several of its calls."""
    with ExitStack() as program:
        program.enter_context(holding(run.path / PROGRAM_LOCK))

        def killed() -> RunState:
            program.close()
            return RUNNING

        control = supervise(emit(RUNNING), killed, emit(COMPLETED, kind="finished"))
    assert control.steps == []
    assert control.stopped == [41, 1]
    assert len(control.submitted) == 2
    assert kinds(run) == ["restarted", "finished"]


@pytest.mark.parametrize("kind", ["finished", "failed", "crashed"])
def test_a_program_that_said_how_it_ended_is_not_taken_for_killed(
    supervise: Callable[..., FakeControl], emit: Callable[..., Step], run: RunFolder, kind: str
) -> None:
    with ExitStack() as program:
        program.enter_context(holding(run.path / PROGRAM_LOCK))
        says = emit(RUNNING, kind=kind, message="why", exit_code=1)

        def ended() -> RunState:
            says()
            program.close()
            return RUNNING

        last = emit(COMPLETED, **({"kind": "finished"} if kind == "crashed" else {}))
        steps = [emit(RUNNING), ended, emit(RUNNING), emit(FAILED), last]
        with suppress(StudyError):
            supervise(*steps)
    assert supervise.control.stopped == [41]  # type: ignore[attr-defined]


def test_a_program_that_died_is_submitted_again_with_the_same_folder(
    supervise: Callable[..., FakeControl], emit: Callable[..., Step], run: RunFolder
) -> None:
    control = supervise(emit(FAILED), emit(COMPLETED, kind="finished"))
    assert control.submitted[0] == control.submitted[1]
    assert kinds(run) == ["restarted", "finished"]


def test_a_study_that_stops_with_a_message_is_not_submitted_again(
    supervise: Any, emit: Callable[..., Step]
) -> None:
    with pytest.raises(StudyError, match="site b: no reply") as caught:
        supervise(emit(FAILED, kind="failed", message="site b: no reply", exit_code=2))
    assert caught.value.exit_code == 2
    assert len(supervise.control.submitted) == 1


def test_a_program_that_dies_without_getting_further_is_given_up(
    supervise: Any, emit: Callable[..., Step]
) -> None:
    steps = [emit(FAILED, kind="crashed", message="MemoryError: ") for _ in range(5)]
    with pytest.raises(StudyError, match=r"ended 3 times without getting further \(MemoryError"):
        supervise(*steps)
    assert len(supervise.control.submitted) == 3


def test_a_program_that_gets_further_each_time_is_kept_going(
    supervise: Callable[..., FakeControl], emit: Callable[..., Step]
) -> None:
    steps = [emit(FAILED, put_by=f"step{number}") for number in range(6)]
    control = supervise(*steps, emit(COMPLETED, kind="finished"))
    assert len(control.submitted) == 7


def test_a_superlink_that_says_nothing_for_long_is_started_again(
    supervise: Callable[..., FakeControl],
    emit: Callable[..., Step],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(supervisor_module, "SILENT_SECONDS", -1.0)
    monkeypatch.setattr(FakeServices, "stop", lambda _: stopped.append("SuperLink"))

    def silent() -> RunState:
        raise UnreachableError("the SuperLink does not answer")

    supervise(silent, emit(COMPLETED, kind="finished"))
    assert stopped == ["SuperLink"]


def test_a_superlink_that_is_away_when_the_study_is_submitted_is_waited_for(
    supervise: Callable[..., FakeControl],
    emit: Callable[..., Step],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away, start_run = [1, 2], FakeControl.start_run

    def sometimes_away(self: FakeControl, *args: Any) -> int:
        if away:
            away.pop()
            raise UnreachableError("the SuperLink does not answer")
        return start_run(self, *args)

    monkeypatch.setattr(FakeControl, "start_run", sometimes_away)
    assert len(supervise(emit(COMPLETED, kind="finished")).submitted) == 1
    assert away == []


def test_a_site_that_joins_during_a_run_is_registered(
    supervise: Callable[..., FakeControl],
    emit: Callable[..., Step],
    folder: CoordinatorFolder,
    request_of: Joiner,
) -> None:
    request = request_of("late")

    def join() -> RunState:
        enrol(folder, request, replace=False)
        return RUNNING

    control = supervise(join, emit(RUNNING), emit(COMPLETED, kind="finished"))
    assert control.known == {node_key_pem(request.node_key): "late"}


def test_nodes_are_registered_as_the_roster_says(
    folder: CoordinatorFolder, request_of: Joiner
) -> None:
    control: Any = FakeControl([])
    roster = Roster(sites=(request_of("a"), request_of("b")))
    register_sites(control, roster)
    assert sorted(control.known.values()) == ["a", "b"]
    before = dict(control.known)
    register_sites(control, roster)
    assert control.known == before
    register_sites(control, roster.without("a"))
    assert list(control.known.values()) == ["b"]


def test_a_site_taken_off_the_roster_is_unregistered(
    supervise: Callable[..., FakeControl],
    emit: Callable[..., Step],
    folder: CoordinatorFolder,
    request_of: Joiner,
) -> None:
    enrol(folder, request_of("a"), replace=False)

    def leave() -> RunState:
        (folder.roster).touch()
        expel(folder, "a")
        return RUNNING

    control = supervise(leave, emit(RUNNING), emit(COMPLETED, kind="finished"))
    assert control.known == {}


# -- several studies -------------------------------------------------------------------------------


def of_runs(
    folder: CoordinatorFolder, monkeypatch: pytest.MonkeyPatch, told: list[str], *ends: str
) -> list[RunFolder]:
    """Supervise runs side by side, each of which ends with this event at the first look."""
    monkeypatch.setattr(supervisor_module, "Services", FakeServices)
    monkeypatch.setattr(supervisor_module, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(supervisor_module, "ASK_SECONDS", 0.0)
    runs = [RunFolder(folder.runs / f"study{n}-1") for n in range(len(ends))]
    for one in runs:
        one.path.mkdir(parents=True)

    class Control(FakeControl):
        def __init__(self, *_: object) -> None:
            super().__init__([])
            self.leftover = []

        def run_state(self, run_id: int) -> RunState:
            name = self.submitted[0]["run-name"]
            (number,) = [n for n, one in enumerate(runs) if one.name == name]
            event = {"time": 0, "kind": ends[number], "message": f"of {name}", "exit_code": 2}
            runs[number].events_file.write_text(json.dumps(event) + "\n", encoding="utf-8")
            return COMPLETED

    monkeypatch.setattr(supervisor_module, "Control", Control)
    first, *others = [Supervisor(folder, one, lambda: None, told.append) for one in runs]
    try:
        first.supervise(*others)
    finally:
        told += [event["kind"] for one in runs for event in one.events()]
    return runs


def test_several_studies_are_run_over_one_superlink(
    folder: CoordinatorFolder, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    of_runs(folder, monkeypatch, told, "finished", "finished")
    assert told[-2:] == ["finished", "finished"]
    assert told.count("starting Flower's SuperLink, which hospitals connect to") == 1


def test_a_study_that_stops_does_not_stop_the_others(
    folder: CoordinatorFolder, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    with pytest.raises(StudyError, match="of study0-1") as caught:
        of_runs(folder, monkeypatch, told, "failed", "finished")
    assert caught.value.exit_code == 2
    assert told[-2:] == ["failed", "finished"]
    assert "stopped: of study0-1" in told
