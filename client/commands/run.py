"""`fedlnm-site run`: keep the site's SuperNode going, and explain why it cannot."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from client.check.finding import Finding
from client.check.machine import check_clock
from client.check.network import PROXY, REACH, Contact, check_coordinator, visit
from client.check.proxy import way_out, without_proxy
from client.commands.approve import SiteOption, settings_of, site_file
from client.commands.watching import Watch, watched
from client.gate.approvals import read_approvals
from client.gate.site_log import IN_FILE_ALONE, ROTATED, log_to_screen_and_file, private_log
from client.site import (
    LOG,
    Deployment,
    SiteSettings,
    check_keys_there,
    deployment_of,
    identity_of,
)
from client.store.run_keys import new_start
from client.store.site_db import site_db
from common.errors import StudyError
from common.flower.programs import flower_environment
from common.utils.console import consoles
from common.utils.durable import rotate
from common.utils.processes import BackgroundProgram, port_is_taken, stop_all
from common.utils.service_units import SETTINGS_CODE
from common.utils.text_file import as_word

console, screen = consoles()
# a SuperLink takes a node that vanished for present for a minute, and lets it in only after that
WAITS = (5.0, 10.0, 20.0, 40.0, 60.0)
_STEADY_SECONDS = 120.0
LOOK_SECONDS = 5.0
REFUSED_SECONDS, SILENT_SECONDS = 600.0, 60.0
"""Between two looks where a proxy refuses the password, as many such tries lock a user out; and
where the coordinator is no longer heard."""
LOCK = "run.lock"


def run(site: SiteOption = Path("site.toml")) -> None:
    """Take part: wait for the coordinator's messages and answer those that are approved.

    Runs until it is stopped (Ctrl-C). Exit code 78: the hospital's proxy
    refuses the password; another try would fail, too.
    """
    settings = settings_of(site)
    private = identity_of(settings)
    deployment = deployment_of(site_file(site), settings)
    found = read_approvals(settings.work, private.public_key())
    names = ", ".join(dict.fromkeys(one.name for one in found)) or (
        "NONE, so nothing will be answered -> fedlnm-site approve study.toml --site"
        f" {as_word(site)}"
    )
    screen.emit(f"approved: {names}")
    try:
        with only_one(settings):
            attend(site_file(site), settings, deployment)
    except KeyboardInterrupt:
        screen.emit(f"site {settings.name}: no longer taking part")


@contextmanager
def only_one(settings: SiteSettings) -> Iterator[None]:
    """Hold the right to take part from this folder, which one process has at a time.

    Raises
    ------
    StudyError : another process has it.
    """
    with private_log(settings, LOCK).open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(
                f"this site takes part already: fedlnm-site run (process {lock.read(20).strip()})"
                " works in this folder",
                where=f"site {settings.name}",
                remedy="leave it running, or end it first (Ctrl-C, or systemctl stop)",
            ) from None
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def running(settings: SiteSettings) -> bool:
    """Return whether the process that last took part from this folder still runs."""
    try:
        number = int(private_log(settings, LOCK).read_text(encoding="utf-8").strip())
        os.kill(number, 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def attend(site: Path, settings: SiteSettings, deployment: Deployment) -> None:
    """Run the SuperNode until this process is stopped; whenever it ends, start it again.

    Raises
    ------
    StudyError : at the start, keys are lost, the coordinator is not who it should be, the clocks
        differ, or the port is taken.
    """
    log_to_screen_and_file(settings)
    with watched(settings) as watch:
        _attend(site, settings, deployment, watch)


def _attend(site: Path, settings: SiteSettings, deployment: Deployment, watch: Watch) -> None:
    check_keys_there(deployment)
    for finding in obstacles(settings, deployment, visit(deployment)):
        if finding.kind != REACH:  # that passes by itself, and is waited for
            # the screen gets it from the command's end
            LOG.error("site %s: %s", settings.name, finding, extra=IN_FILE_ALONE)
            raise _error_of(finding)
    check_port(deployment.port)
    site_db(settings.work).forget_sealed_keys()
    node, launcher = programs_of(site, settings, deployment)
    try:
        _keep_running(node, launcher, settings, deployment, watch)
    finally:
        stop_all([node, launcher])


def programs_of(
    site: Path, settings: SiteSettings, deployment: Deployment
) -> tuple[BackgroundProgram, BackgroundProgram]:
    """Return SuperNode and launcher, each its own process: Flower reads settings on its import."""
    from client.gate.loopback import HOST, loopback_of

    environment = without_proxy(flower_environment(settings.work / "flower")) | new_start()
    loopback = loopback_of(settings)
    loopback.renew()
    python, file = [sys.executable, "-P", "-m", "common.utils.start"], str(site.resolve())
    node = [*python, "client.gate.supernode", file]
    launcher = [*python, "client.gate.launcher", file, *loopback.of_launcher(deployment.port)]
    launcher += ["--parent-pid", str(os.getpid())]
    # the SuperNode keeps the launcher's call until there is work, so that it is asked again at once
    direct = {**environment, "no_proxy": HOST, "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.01"}
    return BackgroundProgram(node, environment, None), BackgroundProgram(launcher, direct, None)


def check_port(port: int) -> None:
    """Return if nobody listens where this site's SuperNode is to listen.

    Raises
    ------
    StudyError : somebody does.
    """
    if port_is_taken(port):
        raise StudyError(
            f"another program listens on port {port}, where this site's SuperNode is to listen;"
            " nothing is run for it, and it is sent nothing",
            where="site.toml",
            remedy="end that program, or choose another port in [deployment]",
        )


def obstacles(settings: SiteSettings, deployment: Deployment, contact: Contact) -> list[Finding]:
    """Return what keeps this site from the coordinator: its address, its certificate, the clock."""
    found = [*check_coordinator(deployment, contact), *check_clock(settings, contact)]
    return [
        one
        for one in found
        if one.severity == "problem" or (one.kind, one.severity) == (REACH, "warning")
    ]


def _wait_for_coordinator(settings: SiteSettings, deployment: Deployment, watch: Watch) -> None:
    """Return once the coordinator is there for its hospitals; say once why it is not."""
    said = ""
    while not (contact := visit(deployment)).serves:
        found = obstacles(settings, deployment, contact)
        why = "; ".join(map(str, found)) or "the coordinator runs no study at the moment"
        if why != said:
            LOG.info("site %s: %s; this site waits, and then takes part", settings.name, why)
            said = why
        _rotate(settings)
        watch.look()
        sleep(REFUSED_SECONDS if _is_refused(found) else LOOK_SECONDS)


def _is_refused(found: list[Finding]) -> bool:
    """Return whether the proxy lets this machine through no more, which no waiting mends."""
    return any(finding.kind == PROXY for finding in found)


def _error_of(finding: Finding) -> StudyError:
    error = StudyError(finding.what, where=finding.where, remedy=finding.remedy)
    if finding.kind == PROXY:
        error.exit_code = SETTINGS_CODE
    return error


class _Silence:
    """Look for the reason when the coordinator is no longer heard, and say it once."""

    def __init__(self, settings: SiteSettings, deployment: Deployment, watch: Watch) -> None:
        self._site, self._deployment, self._watch = settings, deployment, watch
        self._next, self._said = monotonic() + SILENT_SECONDS, ""

    def is_for_good(self) -> bool:
        """Look once a minute; return whether the program should not go on trying."""
        if self._watch.facts().is_connected:
            self._next, self._said = monotonic() + SILENT_SECONDS, ""
        if monotonic() < self._next:
            return False
        self._next = monotonic() + SILENT_SECONDS
        found = obstacles(self._site, self._deployment, visit(self._deployment))
        why = "; ".join(map(str, found))
        if why and why != self._said:
            LOG.error("site %s: the coordinator is not heard: %s", self._site.name, why)
        self._said = why
        return _is_refused(found)


def _rotate(settings: SiteSettings) -> None:
    for name in ROTATED:
        rotate(settings.work / name)


def _keep_running(
    node: BackgroundProgram,
    launcher: BackgroundProgram,
    settings: SiteSettings,
    deployment: Deployment,
    watch: Watch,
) -> None:
    failures = 0
    while True:
        if not launcher.running:
            launcher.start()
        _wait_for_coordinator(settings, deployment, watch)
        started = monotonic()
        LOG.info("site %s: connecting to %s", settings.name, deployment.superlink)
        node.start(way_out(deployment))
        silence = _Silence(settings, deployment, watch)
        while not node.wait(1.0):
            _rotate(settings)
            watch.look()
            if silence.is_for_good():
                node.stop()
            if not launcher.running:
                # a message that the launcher had taken up would never be answered
                LOG.warning("site %s: the launcher of apps ended; starting again", settings.name)
                node.stop()
        watch.restarts += 1
        failures = 0 if monotonic() - started > _STEADY_SECONDS else failures + 1
        pause = WAITS[min(failures, len(WAITS)) - 1] if failures else WAITS[0]
        for finding in obstacles(settings, deployment, visit(deployment)):
            LOG.error("site %s: %s", settings.name, finding)
        try:
            check_port(deployment.port)
        except StudyError as error:
            LOG.error("site %s: %s", settings.name, error)
        LOG.warning("site %s: not connected; trying again in %g s", settings.name, pause)
        sleep(pause)
