"""`fedlnm-site status`: ask the coordinator where the runs are that this hospital takes part in."""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, Field, ValidationError

from client.check.network import FAILURES, Contact, check_coordinator, fetch, visit
from client.commands.approve import site_file
from client.site import Deployment, SiteSettings, identity_of, load_site
from common.errors import InputError, StudyError
from common.messages.status_ticket import PATH, StatusTicket
from common.utils.bounded import MIB, parse_json
from common.utils.console import consoles

console, _ = consoles()
_NOT_LET_IN = (401, 403, 404)


Time = Annotated[float, Field(ge=0, lt=2**36, allow_inf_nan=False)]
"""Seconds, since 1970 or of a duration, that a date can be made of."""


class Waited(BaseModel):
    """Hospital that a run waits for."""

    site: str
    since: Time | None
    connected: bool


class RunSeen(BaseModel):
    """Run as the coordinator shows it."""

    run: str
    study: str
    state: str
    begun: Time
    now: Time
    phase: str
    number: int
    phases: int
    rounds_done: int
    rounds_planned: int
    done: Annotated[float, Field(ge=0, le=1)]
    seconds_left: Time | None
    waits_for: list[Waited]


class Seen(BaseModel):
    """Runs that this hospital takes part in."""

    runs: list[RunSeen] = Field(max_length=100)


def status(
    site: Annotated[Path, typer.Argument(help="folder with site.toml")] = Path(),
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Say where the study is: phase, time left, and which hospitals it waits for.

    The coordinator says so, to a request signed with this hospital's key. Nothing of patients is in
    the question or in the answer.
    """
    settings = load_site(site_file(site))
    if settings.deployment is None:
        raise InputError("this site has no coordinator", where="site.toml, [deployment]")
    seen = ask(settings, settings.deployment)
    if json_output:
        sys.stdout.write(json.dumps(seen.model_dump(), indent=1) + "\n")
        return
    if not seen.runs:
        console.emit("the coordinator runs no study that this hospital takes part in")
    for run in seen.runs:
        for line in described(run, settings.name):
            console.emit(line)


def ask(settings: SiteSettings, deployment: Deployment) -> Seen:
    """Return what the coordinator shows this hospital.

    Raises
    ------
    StudyError : it shows nothing; the remedy says whom to ask.
    """
    ticket = StatusTicket.sign(identity_of(settings), settings.name, deployment.coordinator_key)
    try:
        code, content = fetch(deployment, PATH, ticket.header(), MIB)
    except FAILURES as error:
        # a second visit fetches the certificate; of a refused password it would be one try more
        is_distrusted = isinstance(error, ssl.SSLError)
        contact = visit(deployment) if is_distrusted else Contact(failure=error)
        found = next((f for f in check_coordinator(deployment, contact) if f.remedy), None)
        what, remedy = (found.what, found.remedy) if found else (str(error), "try again")
        raise StudyError(what, where=deployment.superlink, remedy=remedy) from None
    if code in _NOT_LET_IN:
        raise StudyError(
            "the coordinator does not show this hospital how a run stands",
            where=deployment.superlink,
            remedy="it does so for enrolled hospitals if its coordinator.toml has a status_port; if"
            " it has one, look at this machine's clock (fedlnm-site doctor)",
        )
    if code != 200:
        raise StudyError(
            f"the coordinator runs no study at the moment (its proxy answers {code})",
            where=deployment.superlink,
            remedy="ask the coordinator whether the run has ended or was interrupted",
        )
    try:
        return Seen.model_validate(parse_json(content))
    except (ValueError, ValidationError):
        raise StudyError(
            "the coordinator's answer cannot be read",
            where=deployment.superlink,
            remedy="compare the installed releases",
        ) from None


def described(run: RunSeen, site: str) -> Iterator[str]:
    """Describe a run to this hospital's people."""
    yield f"study {run.study}, run {run.run}: {run.state}, begun {_time(run.begun)}"
    phase = run.phase or "none yet"
    yield f"  phase: {phase}" + (f" ({run.number} of {run.phases})" if run.phases else "")
    left = f", {_words(run.seconds_left)} left" if run.seconds_left is not None else ""
    yield f"  done: {int(100 * run.done)} %{left}"
    if run.rounds_planned:
        yield f"  rounds of network training: {run.rounds_done} of {run.rounds_planned}"
    for one in run.waits_for:
        yield f"  waits for {_waited(one, run.now, site)}"


def _waited(one: Waited, now: float, site: str) -> str:
    words = one.site + (" (THIS HOSPITAL)" if one.site == site else "")
    late = f", for {_words(now - one.since)}" if one.since is not None else ""
    return f"{words}{late}, {'connected' if one.connected else 'not connected'}"


def _words(seconds: float) -> str:
    if seconds < 45:
        return "less than a minute"
    minutes = round(seconds / 60)
    hours = f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
    return f"about {hours}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
