"""Start SuperLink and SuperExec of a coordinator, and start them again when they die."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from common.errors import StudyError
from common.flower.programs import flower_environment, flower_program
from common.utils.processes import BackgroundProgram, port_is_taken, stop_all, wait_until_ready
from server.deployment.folder import CoordinatorFolder

MOST_RESTARTS, RESTART_WINDOW = 5, 3600.0
PORT_SECONDS = 15.0
# the study's program gives the memory of a large message back at once: it may serve many sites
_GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}


PAGE_BYTES = 65536


class Services:
    """SuperLink and SuperExec, which the coordinator's command keeps running.

    The SuperExec is a program of its own (`--isolation process`), so that a study outlives a
    SuperLink that dies and comes back. Flower's database stays from run to run: the sites' nodes
    keep their registration, and need not be started again.
    """

    def __init__(self, folder: CoordinatorFolder) -> None:
        self._folder, self._settings = folder, folder.settings()
        environment = flower_environment(folder.state / "flower")
        self.superlink = BackgroundProgram(
            self._superlink_command(), environment, folder.state / "superlink.log"
        )
        self.superexec = BackgroundProgram(
            self._superexec_command(), environment | _GIVEN_BACK, folder.state / "superexec.log"
        )
        self._restarts: dict[str, deque[float]] = defaultdict(deque)

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
        """Start the SuperLink and wait until it answers."""
        prepare_database(self._folder.database)
        self.superlink.start()
        wait_until_ready(self.superlink, self._settings.port, self._folder.authority)

    def start_superexec(self) -> None:
        """Start the SuperExec, which runs what the SuperLink has to run."""
        self.superexec.start()

    def revive(self) -> list[str]:
        """Start again what has died, and return what that was.

        Raises
        ------
        StudyError : it has died too often.
        """
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
        command = [flower_program("flower-superlink"), "--host", "127.0.0.1"]
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
