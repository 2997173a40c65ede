"""Keep a run of a study going until it has ended, for `fedlnm-server run`."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import StudyError
from common.flower.app import installed_app
from common.flower.control import Control, RunState, UnreachableError
from common.flower.programs import flower_environment, flower_program
from common.masking import identity
from common.messages.joining import node_key_pem
from common.utils.durable import rotate
from common.utils.processes import BackgroundProgram, port_is_taken, stop_all, wait_until_ready
from server.deployment.folder import CoordinatorFolder
from server.deployment.roster import Roster, read_roster
from server.deployment.run_folder import RunFolder
from server.progress.events import Events

MOST_RESTARTS, RESTART_WINDOW = 5, 3600.0
PORT_SECONDS = 15.0
# the study's program gives the memory of a large message back at once: it may serve many sites
_GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
# it looks for a study to begin, once in a run, and every look costs the SuperLink
_SELDOM = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "1"}


PAGE_BYTES = 65536


class Services:
    """SuperLink and SuperExec, which the coordinator's command keeps running.

    The SuperExec is a program of its own (`--isolation process`), so that a study outlives a
    SuperLink that dies and comes back. Flower's database stays from run to run: the sites' nodes
    keep their registration, and need not be started again.
    """

    def __init__(
        self, folder: CoordinatorFolder, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._folder, self._settings, self._tell = folder, folder.settings(), tell
        environment = flower_environment(folder.state / "flower")
        self.superlink = BackgroundProgram(
            self._superlink_command(), environment, folder.state / "superlink.log"
        )
        self.superexec = BackgroundProgram(
            self._superexec_command(),
            environment | _GIVEN_BACK | _SELDOM,
            folder.state / "superexec.log",
        )
        self._restarts: dict[str, deque[float]] = defaultdict(deque)
        self._one_at_a_time, self._over = threading.Lock(), False

    @contextmanager
    def running(self) -> Iterator[Services]:
        """Run both while the block lasts.

        Raises
        ------
        StudyError : the port is taken, or the SuperLink does not start.
        """
        if not self._port_is_free():
            raise StudyError(
                f"somebody listens on port {self._settings.port} of this machine already",
                where=str(self._folder.settings_file),
                remedy="end that program, or choose another port and fedlnm-server renew",
            )
        try:
            self.start_superlink()
            yield self
        finally:
            with self._one_at_a_time:
                self._over = True
            stop_all([self.superexec, self.superlink])

    def _port_is_free(self) -> bool:
        """Tell if nobody listens, once a killed coordinator's SuperLink has had time to end."""
        deadline = time.monotonic() + PORT_SECONDS
        while port_is_taken(self._settings.port):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True

    def start_superlink(self) -> None:
        """Start the SuperLink and wait until it answers, or ends."""
        prepare_database(self._folder.database)
        self.superlink.start()
        wait_until_ready(self.superlink, self._settings.port, self._folder.authority, self._tell)

    def start_superexec(self) -> None:
        """Start the SuperExec, which runs what the SuperLink has to run."""
        self.superexec.start()

    def rotate_logs(self) -> None:
        """Put logs aside that have become too large."""
        for program in (self.superlink, self.superexec):
            if program.log is not None:
                rotate(program.log)

    def revive(self) -> list[str]:
        """Start again what has died, and return what that was; nothing once they are to end.

        Raises
        ------
        StudyError : it has died too often.
        """
        with self._one_at_a_time:
            return [] if self._over else self._revive()

    def _revive(self) -> list[str]:
        revived = []
        if not self.superlink.running:
            self._count("SuperLink", self.superlink)
            self.start_superlink()
            revived.append("SuperLink")
        if not self.superexec.running:
            self._count("SuperExec", self.superexec)
            self.start_superexec()
            revived.append("SuperExec")
        return revived

    def _count(self, name: str, program: BackgroundProgram) -> None:
        times, now = self._restarts[name], time.monotonic()
        times.append(now)
        while times[0] < now - RESTART_WINDOW:
            times.popleft()
        if len(times) > MOST_RESTARTS:
            raise StudyError(
                f"{name} ended {len(times)} times within an hour",
                where=str(program.log),
                remedy="put right what the log says, then fedlnm-server resume",
            )

    def _superlink_command(self) -> list[str]:
        folder = self._folder
        command = [sys.executable, "-P", "-m", "common.utils.start", "common.flower.superlink"]
        command += ["--host", "127.0.0.1"]
        command += ["--port", str(self._settings.port), "--isolation", "process"]
        command += ["--ssl-certfile", str(folder.server_certificate)]
        command += ["--ssl-keyfile", str(folder.server_key)]
        command += ["--ssl-ca-certfile", str(folder.authority)]
        command += ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
        command += ["--superexec-auth-secret-file", str(folder.superexec_secret)]
        return [*command, "--database", str(folder.database)]

    def _superexec_command(self) -> list[str]:
        folder = self._folder
        command = [flower_program("flower-superexec"), "--parent-pid", str(os.getpid())]
        command += ["--runtime-api-address", self._settings.superlink]
        command += ["--root-certificates", str(folder.authority)]
        return [*command, "--superexec-auth-secret-file", str(folder.superexec_secret)]


def prepare_database(path: Path) -> None:
    """Make the file with the largest pages there are; one that is there already stays as it is.

    A part of a network's weights is 5 MiB: SQLite's usual pages of 4 KiB make a chain of 1280 of
    it, which costs the SuperLink about twice the time. The size can only be chosen before anything
    is written.
    """
    if path.exists():
        return
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")


# progress is shown every second; Flower logs a line whenever it is asked how the run stands
POLL_SECONDS, ASK_SECONDS, SILENT_SECONDS = 1.0, 3.0, 120.0
MOST_FRUITLESS = 3
_REGISTERING = threading.Lock()


@dataclass
class Supervisor:
    """Supervisor of Flower's programs and the study, which starts again what dies.

    It works under `only_one`, also where it supervises several runs over one SuperLink.

    A study whose program died is submitted again, and goes on from its checkpoint. It is given up
    when that happens three times in a row without anything new being saved.

    Parameters
    ----------
    look : called about once a second, to show progress.
    tell : takes a line about what is waited for before the study asks anything.
    """

    folder: CoordinatorFolder
    run: RunFolder
    look: Callable[[], None]
    tell: Callable[[str], None] = lambda _: None
    _told: str = ""
    _roster_seen: float = -1.0
    _start_of_events: int = 0
    _asked_for: float = 0.0
    _events: Events = field(init=False)

    def __post_init__(self) -> None:
        self._events = Events(path=self.run.events_file)

    def supervise(self, *others: Supervisor) -> None:
        """Return when the results are there, of this run and of others at the same time.

        A run that stops does not stop the others.

        Raises
        ------
        StudyError : a study stopped with a message, or cannot be kept going; the first one that
            did, once all have ended.
        """
        self.tell("starting Flower's SuperLink, which hospitals connect to")
        with Services(self.folder, self.tell).running() as services:
            with self._connected() as control:
                for run_id in control.unfinished_runs():  # of a coordinator that was killed
                    control.stop_run(run_id)
                self._register_sites(control)
                self.tell("starting the study's program; hospitals connect meanwhile")
                services.start_superexec()
                if not others:
                    self._until_finished(control, services)
                    return
            _all_until_finished((self, *others), services)

    def _connected(self) -> closing[Control]:
        return closing(Control(self.folder.settings().superlink, self.folder.authority))

    def keep_going(self, services: Services) -> None:
        """Return when the results are there; over a SuperLink that runs.

        Raises
        ------
        StudyError : the study stopped with a message, or cannot be kept going.
        """
        with self._connected() as control:
            self._until_finished(control, services)

    def _until_finished(self, control: Control, services: Services) -> None:
        fruitless, saved = 0, self.run.last_checkpoint()
        while True:
            self._start_of_events = start = self.run.size_of_events()
            self._asked_for = time.monotonic()
            state = self._watch(self._submit(control, services), control, services)
            self.look()
            kinds = {event["kind"]: event for event in self.run.events(start)}
            if "finished" in kinds:
                return
            if "failed" in kinds:
                error = StudyError(str(kinds["failed"]["message"]))
                error.exit_code = int(kinds["failed"]["exit_code"])
                raise error
            fruitless = 0 if self.run.last_checkpoint() > saved else fruitless + 1
            saved = self.run.last_checkpoint()
            if fruitless >= MOST_FRUITLESS:
                raise StudyError(
                    f"the study's program ended {fruitless} times without getting further"
                    f" ({kinds.get('crashed', {}).get('message') or state.details})",
                    where=self.run.name,
                    remedy="crash.log in its folder, if there is one, says where; then"
                    " fedlnm-server resume",
                )
            self._events.emit("restarted", what="the study's program")

    def _submit(self, control: Control, services: Services) -> int:
        """Start the study's program; a SuperLink that has just died is started again first."""
        asked = time.monotonic()
        while True:
            try:
                return self._start(control)
            except UnreachableError:
                if time.monotonic() - asked > SILENT_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                self._revive(services)

    def _start(self, control: Control) -> int:
        config = {
            "study": str(self.run.study_file),
            "out": str(self.run.path),
            "run-name": self.run.name,
            "label": "federated",
            "engine": "deployment",
            "report": "yes",
            "identity": str(self.folder.identity),
        }
        return control.start_run(installed_app(), config)

    def _watch(self, run_id: int, control: Control, services: Services) -> RunState:
        """Return how the run ended; start again what dies meanwhile."""
        answered = asked = time.monotonic()
        lived = False
        while True:
            time.sleep(POLL_SECONDS)
            self.look()
            self._revive(services)
            if lived and not self.run.program_lives and not self._has_said_how_it_ended():
                # the SuperLink would take it for alive for the better part of a minute
                with suppress(StudyError):
                    control.stop_run(run_id)
                return RunState("finished", "failed", "its process ended without a word")
            lived = lived or self.run.program_lives
            if time.monotonic() - asked < ASK_SECONDS:
                continue
            asked = time.monotonic()
            services.rotate_logs()
            try:
                self._register_sites(control)
                self._tell_who_is_missing(control)
                state = control.run_state(run_id)
            except UnreachableError:
                if time.monotonic() - answered > SILENT_SECONDS:
                    services.superlink.stop()  # it runs but says nothing
                    answered = time.monotonic()
                continue
            answered = time.monotonic()
            if state.finished:
                return state

    def _has_said_how_it_ended(self) -> bool:
        events = self.run.events(self._start_of_events)
        return any(event["kind"] in ("finished", "failed", "crashed") for event in events)

    def _tell_who_is_missing(self, control: Control) -> None:
        """Say who is waited for until all have enrolled, whenever that changes."""
        if not self.run.study_file.is_file() or self._told == EVERYBODY:
            return
        if self._has_said_how_it_ended():
            return
        events = self.run.events(self._start_of_events)
        enrolled = {event["site"] for event in events if event["kind"] == "enrolled"}
        online = {node.name for node in control.nodes() if node.status == "online"}
        late = time.monotonic() - self._asked_for > CALL_SECONDS
        words = who_is_missing(self.run.study.site_names, online, enrolled, late=late)
        if words != self._told:
            self._told = words
            self.tell(words)

    def _revive(self, services: Services) -> None:
        for name in services.revive():
            self._events.emit("restarted", what=name)

    def _register_sites(self, control: Control) -> None:
        """Bring Flower's list of nodes to what the roster says, whenever the roster changes."""
        path = self.folder.roster
        changed = path.stat().st_mtime if path.is_file() else 0.0
        if changed == self._roster_seen:
            return
        public = identity.load(self.folder.identity).private.public_key()
        with _REGISTERING:
            register_sites(control, read_roster(path, public))
        self._roster_seen = changed


def _all_until_finished(supervisors: Sequence[Supervisor], services: Services) -> None:
    """Keep runs going, each in a thread of its own, until all have ended.

    Raises
    ------
    Exception : of the first run that stopped.
    """
    stopped: list[Exception] = []

    def keep_going(one: Supervisor) -> None:
        try:
            one.keep_going(services)
        except Exception as error:  # it is raised once the others have ended too
            stopped.append(error)
            one.tell(f"stopped: {error}")

    threads = [threading.Thread(target=keep_going, args=(s,), daemon=True) for s in supervisors]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(POLL_SECONDS)
    if stopped:
        raise stopped[0]


CALL_SECONDS = 90.0
"""Time that a hospital has to connect by itself before somebody is asked to call it."""
EVERYBODY = "every hospital has joined"
_CURE = "is fedlnm-site run running, and what does fedlnm-site doctor say there?"


def who_is_missing(
    names: Sequence[str], online: Set[str], enrolled: Set[str], *, late: bool
) -> str:
    """Return who is waited for before a study can begin, for what, and if it is late what to do.

    >>> who_is_missing(("a", "b", "c"), {"a", "b", "c"}, {"a", "c"}, late=True)
    'waiting for b (connected; reads its patients)'
    """
    waiting = [name for name in names if name not in enrolled]
    away = [name for name in waiting if name not in online]
    said = [f"{name} (not connected)" for name in away]
    said += [f"{name} (connected; reads its patients)" for name in waiting if name in online]
    cure = f" -> call {', '.join(away)}: {_CURE}" if away and late else ""
    return f"waiting for {', '.join(said)}{cure}" if said else EVERYBODY


def register_sites(control: Control, roster: Roster) -> None:
    """Register the nodes of the roster under their sites' names, and no others."""
    wanted = {node_key_pem(entry.node_key): entry.site for entry in roster.sites}
    there = set()
    for node in control.nodes():
        if wanted.get(node.public_key) == node.name:
            there.add(node.public_key)
        else:
            control.unregister(node.node_id)
    for key, name in wanted.items():
        if key not in there:
            control.register(name, key)
