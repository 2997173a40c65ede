"""`fedlnm-site run`: keep the site's SuperNode going, and explain why it cannot."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import monotonic, sleep

from client.check.finding import Finding
from client.check.machine import check_clock
from client.check.network import check_coordinator, visit
from client.commands.approve import SiteOption, settings_of, site_file
from client.gate.approvals import read_approvals
from client.gate.flower_log import log_to_screen_and_file
from client.site import LOG, Deployment, SiteSettings
from client.store.run_keys import new_start
from client.store.site_db import site_db
from common.errors import StudyError
from common.flower.programs import flower_environment
from common.masking import identity
from common.utils.console import consoles
from common.utils.processes import BackgroundProgram, port_is_taken, stop_all

console, screen = consoles()
# a SuperLink takes a node that vanished for present for a minute, and lets it in only after that
WAITS = (5.0, 10.0, 20.0, 40.0, 60.0)
_STEADY_SECONDS = 120.0


def run(site: SiteOption = Path("site.toml")) -> None:
    """Take part: wait for the coordinator's messages and answer those that are approved.

    Runs until it is stopped (Ctrl-C).
    """
    from client.gate.supernode import deployment_of

    settings = settings_of(site)
    private = identity.load(settings.identity).private
    deployment = deployment_of(site_file(site), settings)
    found = read_approvals(settings.work, private.public_key())
    names = ", ".join(one.name for one in found) or "NONE, so nothing will be answered"
    screen.emit(f"approved: {names}")
    try:
        attend(site_file(site), settings, deployment)
    except KeyboardInterrupt:
        screen.emit(f"site {settings.name}: no longer taking part")


def attend(site: Path, settings: SiteSettings, deployment: Deployment) -> None:
    """Run the SuperNode until this process is stopped; whenever it ends, start it again.

    Raises
    ------
    StudyError : at the start, the coordinator is not who it should be, the clocks differ, or the
        port is taken.
    """
    log_to_screen_and_file(settings)
    for finding in obstacles(settings, deployment):
        LOG.error("site %s: %s", settings.name, finding)
        if finding.kind != "coordinator.reach":  # that passes by itself
            raise StudyError(finding.what, where=finding.where, remedy=finding.remedy)
    check_port(deployment.port)
    # those of earlier starts, which nobody can open
    site_db(settings.work).forget_run_keys()
    node, launcher = programs_of(site, settings, deployment)
    try:
        _keep_running(node, launcher, settings, deployment)
    finally:
        stop_all([node, launcher])


def programs_of(
    site: Path, settings: SiteSettings, deployment: Deployment
) -> tuple[BackgroundProgram, BackgroundProgram]:
    """Return SuperNode and launcher, each its own process: Flower reads settings on its import."""
    from client.gate.loopback import HOST
    from client.gate.supernode import loopback_of

    environment = flower_environment(settings.work / "flower") | new_start()
    loopback = loopback_of(settings)
    loopback.renew()
    python = [sys.executable, "-P", "-m"]
    node = [*python, "client.gate.supernode", str(site.resolve())]
    launcher = [*python, "client.gate.launcher", *loopback.of_launcher(deployment.port)]
    launcher += ["--parent-pid", str(os.getpid())]
    # the hospital's proxy is for the coordinator, not for this machine; the SuperNode keeps the
    # launcher's call until there is work, so that it is asked again at once
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


def obstacles(settings: SiteSettings, deployment: Deployment) -> list[Finding]:
    """Return what keeps this site from the coordinator: its address, its certificate, the clock."""
    contact = visit(deployment)
    found = [*check_coordinator(deployment, contact), *check_clock(settings, contact)]
    return [finding for finding in found if finding.severity == "problem"]


def _keep_running(
    node: BackgroundProgram,
    launcher: BackgroundProgram,
    settings: SiteSettings,
    deployment: Deployment,
) -> None:
    failures = 0
    while True:
        started = monotonic()
        if not launcher.running:
            launcher.start()
        node.start()
        while not node.wait(1.0):
            if not launcher.running:
                # a message that the launcher had taken up would never be answered
                LOG.warning("site %s: the launcher of apps ended; starting again", settings.name)
                node.stop()
        failures = 0 if monotonic() - started > _STEADY_SECONDS else failures + 1
        pause = WAITS[min(failures, len(WAITS)) - 1] if failures else WAITS[0]
        for finding in obstacles(settings, deployment):
            LOG.error("site %s: %s", settings.name, finding)
        try:
            check_port(deployment.port)
        except StudyError as error:
            LOG.error("site %s: %s", settings.name, error)
        LOG.warning("site %s: not connected; trying again in %g s", settings.name, pause)
        sleep(pause)
