"""`fedlnm-site doctor`: find out why a site does not take part, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from client.check.finding import Finding
from client.check.machine import check_clock, check_release, check_software
from client.check.network import REACH, check_coordinator, visit
from client.commands.approve import site_file
from client.commands.run import check_port, only_one
from client.gate.approvals import read_approvals
from client.gate.schema import CODES, CURES
from client.gate.site_log import GATE_LOG
from client.site import SiteSettings, check_keys_there, identity_of, load_site
from client.store.heads import LedgerHeads, RolledBackError
from client.store.ledger import ledger_path
from client.store.site_db import site_db
from common.errors import StudyError
from common.ledger.verify import verify as verify_ledger
from common.masking import identity
from common.utils.console import consoles
from common.utils.text_file import as_word

console, screen = consoles()
LEAST_FREE = 2**30
"""Bytes that have to be free for the memory of a site."""


def doctor(
    site: Annotated[Path, typer.Argument(help="folder with site.toml")] = Path(),
    study: Annotated[
        Path | None, typer.Option(help="study.toml, to compare the coordinator's release")
    ] = None,
) -> None:
    """Look at all that can keep a site from taking part: one line each, with what to do.

    It changes nothing, sends no data, and may run beside fedlnm-site run.

    Exit code 0: nothing is wrong. 1: something is.
    """
    settings = load_site(site_file(site))
    found: list[str] = []
    for name, look in looks(site_file(site).parent.resolve(), settings, study):
        try:
            for line in look():
                console.emit(f"ok     {name}: {line}")
        except _ElsewhereError as error:
            console.emit(f"waits  {name}: {error}")
        except StudyError as error:
            if str(error) in found:
                console.emit(f"       {name}: not looked at, for the same reason")
                continue
            found.append(str(error))
            console.emit(f"FAULT  {name}: {error}")
    console.emit(f"{len(found)} fault(s)" if found else "nothing is wrong here")
    raise typer.Exit(1 if found else 0)


Look = Callable[[], Iterable[str]]


class _ElsewhereError(StudyError):
    """Something that passes without this hospital."""


def looks(folder: Path, settings: SiteSettings, study: Path | None) -> Iterator[tuple[str, Look]]:
    """Yield all that is looked at, in the order in which a fault explains those after it."""
    deployment = settings.deployment
    yield "keys", lambda: _keys(settings)
    yield "memory", lambda: _memory(settings)
    yield "ledger", lambda: _ledger(settings)
    yield "approvals", lambda: _approvals(folder, settings)
    yield "running", lambda: _running(settings)
    yield "service", lambda: _service(folder)
    yield "disk", lambda: _disk(settings)
    yield "software", lambda: _all_well(check_software())
    if study is not None:
        yield "release", lambda: _all_well(check_release(study))
    if deployment is not None:
        contact = visit(deployment)
        yield "coordinator", lambda: _all_well(check_coordinator(deployment, contact))
        yield "clock", lambda: _all_well(check_clock(settings, contact))
    yield "last refusal", lambda: _last_refusal(settings)


def _keys(settings: SiteSettings) -> Iterator[str]:
    public = identity_of(settings).public_key()
    if warning := identity.load(settings.identity).warning:
        raise StudyError(warning, where="keys", remedy="chmod 600")
    if settings.deployment is not None:
        check_keys_there(settings.deployment)
    yield f"all there; fingerprint {identity.fingerprint(public)}"


def _memory(settings: SiteSettings) -> Iterator[str]:
    if not ledger_path(settings.work).is_file() and not site_db(settings.work).path.is_file():
        yield "nothing was ever asked of this site"
        return
    yield f"{site_db(settings.work).ledger_end().number} entries are remembered"


def _ledger(settings: SiteSettings) -> Iterator[str]:
    path = ledger_path(settings.work)
    if not path.is_file():
        yield "nothing has left this site"
        return
    if missing := LedgerHeads(settings.work, settings.name).missing():
        raise RolledBackError(settings.name, missing[0])
    found = verify_ledger(path, identity_of(settings).public_key())
    if found:
        raise StudyError(
            f"{found[0]}" + (f", and {len(found) - 1} more" if found[1:] else ""),
            where=path.name,
            remedy="stop the site, and restore the newest backup of its whole work folder",
        )
    yield "whole, and as far as this site knows the newest"


def _approvals(folder: Path, settings: SiteSettings) -> Iterator[str]:
    found = read_approvals(settings.work, identity_of(settings).public_key())
    if not found:
        raise StudyError(
            "no study is approved, so nothing is answered",
            remedy=f"fedlnm-site approve study.toml --site {as_word(folder)}, unless this hospital"
            " left",
        )
    yield ", ".join(f"{one.name} (digest {one.digest[:12]})" for one in found)


def _running(settings: SiteSettings) -> Iterator[str]:
    try:
        with only_one(settings):
            if settings.deployment is not None:
                check_port(settings.deployment.port)
            yield "fedlnm-site run is not running here; nothing stands in its way"
    except StudyError as error:
        if "takes part already" not in error.what:
            raise
        yield error.what


def _service(folder: Path) -> Iterator[str]:
    units = sorted(folder.glob("fedlnm-*.service"))
    for unit in units:
        line = f"WorkingDirectory={folder}"
        if line not in unit.read_text(encoding="utf-8", errors="replace").splitlines():
            raise StudyError(
                "the unit of the service starts another folder: this one was moved or copied",
                where=unit.name,
                remedy=f"write {folder} in place of the old folder everywhere in it, and install"
                " it again; of two copies, only the one that took part last may go on",
            )
    yield "the unit names this folder" if units else "no unit lies here"


def _disk(settings: SiteSettings) -> Iterator[str]:
    free = shutil.disk_usage(settings.work if settings.work.is_dir() else Path()).free
    if free < LEAST_FREE:
        raise StudyError(
            f"{free / 2**20:.0f} MB are free: nothing leaves once nothing can be remembered",
            where=str(settings.work),
            remedy="make room on the disk of the work folder",
        )
    yield f"{free / 2**30:.0f} GB free"


def _last_refusal(settings: SiteSettings) -> Iterator[str]:
    # the log may have been put aside just now
    paths = [settings.work / name for name in (GATE_LOG, f"{GATE_LOG}.1")]
    lines = next((found for path in paths if (found := _lines(path))), [])
    if not lines:
        yield "the gate has stopped nothing"
        return
    last = json.loads(lines[-1])
    code = str(last["code"])
    cure = f" -> {CURES[code]}" if code in CURES else ""
    what = str(last["words"]).strip().splitlines() or [CODES.get(code, "")]
    yield f"{last['time']}, {code}: {what[-1][:400]}{cure}"


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.is_file() else []


def _all_well(found: Iterable[Finding]) -> Iterator[str]:
    """Yield what is well, once it is known that nothing is wrong."""
    rows = list(found)
    wrong = [row for row in rows if row.severity in ("problem", "warning")]
    if wrong:
        also = f" (and {len(wrong) - 1} more: see fedlnm-site check)" if wrong[1:] else ""
        is_elsewhere = all((row.kind, row.severity) == (REACH, "warning") for row in wrong)
        kind = _ElsewhereError if is_elsewhere else StudyError
        raise kind(wrong[0].what + also, where=wrong[0].where, remedy=wrong[0].remedy)
    for row in rows:
        if row.severity == "ok":
            yield f"{row.where}: {row.what}" if row.where else row.what
