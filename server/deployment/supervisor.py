"""Keep a run of a study going until it has ended, for `fedlnm-server run`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from common.errors import StudyError
from common.flower.app import installed_app
from common.flower.control import Control, RunState, UnreachableError
from common.masking import identity
from common.messages.joining import node_key_pem
from server.deployment.folder import CoordinatorFolder
from server.deployment.roster import Roster, read_roster
from server.deployment.run_folder import RunFolder
from server.deployment.services import Services
from server.progress.events import Events

# progress is shown every second; Flower logs a line whenever it is asked how the run stands
POLL_SECONDS, ASK_SECONDS, SILENT_SECONDS = 1.0, 3.0, 120.0
MOST_FRUITLESS = 3


@dataclass
class Supervisor:
    """Supervisor of Flower's programs and the study, which starts again what dies.

    It works under `only_one`.

    A study whose program died is submitted again, and goes on from its checkpoint. It is given up
    when that happens three times in a row without anything new being saved.

    Parameters
    ----------
    look : called about once a second, to show progress.
    """

    folder: CoordinatorFolder
    run: RunFolder
    look: Callable[[], None]
    _roster_seen: float = -1.0
    _events: Events = field(init=False)

    def __post_init__(self) -> None:
        self._events = Events(path=self.run.events_file)

    def supervise(self) -> None:
        """Return when the results are there.

        Raises
        ------
        StudyError : the study stopped with a message, or cannot be kept going.
        """
        with Services(self.folder).running() as services:
            control = Control(self.folder.settings().superlink, self.folder.authority)
            try:
                for run_id in control.unfinished_runs():  # of a coordinator that was killed
                    control.stop_run(run_id)
                self._register_sites(control)
                services.start_superexec()
                self._until_finished(control, services)
            finally:
                control.close()

    def _until_finished(self, control: Control, services: Services) -> None:
        fruitless, saved = 0, self.run.last_checkpoint()
        while True:
            start = self.run.size_of_events()
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
        while True:
            time.sleep(POLL_SECONDS)
            self.look()
            self._revive(services)
            if time.monotonic() - asked < ASK_SECONDS:
                continue
            asked = time.monotonic()
            try:
                self._register_sites(control)
                state = control.run_state(run_id)
            except UnreachableError:
                if time.monotonic() - answered > SILENT_SECONDS:
                    services.superlink.stop()  # it runs but says nothing
                    answered = time.monotonic()
                continue
            answered = time.monotonic()
            if state.finished:
                return state

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
        register_sites(control, read_roster(path, public))
        self._roster_seen = changed


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
