"""`fedlnm-site check`: the rehearsal of a partner."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.utils.console import consoles

if TYPE_CHECKING:
    from client.check.finding import Report

console, screen = consoles()


def check(
    site: Annotated[Path, typer.Argument(help="folder with cohort.csv, or with site.toml")],
    study: Annotated[Path, typer.Option(help="study.toml")],
    cache: Annotated[
        Path | None, typer.Option(help="where prepared images go [default: as site.toml says]")
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option(min=0.01, help="Mbit/s to reckon with [default: measured]")
    ] = None,
    share: Annotated[
        Path | None,
        typer.Option(help="write what the coordinator may know of it, after showing every word"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="with --share: do not ask")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Look at all that a study needs of this site; nothing of a patient leaves this machine.

    Rows, images and contours, what would be refused, identifiers, keys, versions, disk, memory,
    clock, and the coordinator with the line to it. Exit code 0: ready. 1: something must be put
    right first; every finding is listed. Ctrl-C shows what was found so far; images that were
    prepared by then are not prepared again.

    --share FILE also writes a small file for the coordinator's feasibility
    check: counts above the thresholds, rules that would refuse, release,
    device, and the speed of the line. It is shown before it is written.
    """
    screen.emit(f"reads {study} and {site}: software, keys, coordinator, rows, images")
    from client.check.finding import emit, show
    from client.check.runner import Wish, rehearse
    from common.utils.console import ProgressBar

    wish = Wish(cache=cache, bandwidth=bandwidth)
    with ProgressBar(screen) as progress:
        report = rehearse(site, study, wish, progress, partial(emit, console=screen))
    if json_output:
        sys.stdout.write(json.dumps(report.as_dict(), indent=1) + "\n")
    else:
        show(report, console)
    if report.stopped:
        raise typer.Exit(130)
    if share is not None:
        _share(report, site, study, share, yes=yes)
    raise typer.Exit(0 if report.ready else 1)


def _share(report: Report, site: Path, study: Path, out: Path, *, yes: bool) -> None:
    """Show what the coordinator may know, ask, and write it."""
    from client.check.runner import shared, site_of
    from common.disclosure.rule import stricter
    from common.study.model import load_study
    from common.utils.durable import write_durably

    settings, asked = site_of(site), load_study(study)
    found = shared(report, asked, settings, stricter(asked.privacy, settings.privacy))
    text = found.to_text()
    screen.emit(f"The file would say this, and nothing else:\n{text}")
    if not yes and not typer.confirm(f"write it to {out}?", default=False, err=True):
        screen.emit("not written")
        return
    write_durably(out, text.encode())
    screen.emit(f"written: {out}; send it to the coordinator")
