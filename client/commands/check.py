"""`fedlnm-site check`: the rehearsal of a partner."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from common.utils.console import consoles

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
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Look at all that a study needs of this site; nothing of a patient leaves this machine.

    Rows, images and contours, what would be refused, identifiers, keys, versions, disk, memory,
    clock, and the coordinator with the line to it. Exit code 0: ready. 1: something must be put
    right first; every finding is listed. Ctrl-C shows what was found so far; images that were
    prepared by then are not prepared again.
    """
    from client.check.runner import Wish, rehearse
    from client.check.screen import emit, show
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
    raise typer.Exit(0 if report.ready else 1)
