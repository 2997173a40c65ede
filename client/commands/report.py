"""`fedlnm-site report`: a page of single patients, for the hospital itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.utils.console import consoles

console, screen = consoles()


def report(
    site: Annotated[
        Path, typer.Argument(help="folder with site.toml; of a simulation RUN/sites/NAME")
    ],
    run: Annotated[
        str | None, typer.Option(help="name of the run, as in the ledger [default: the last one]")
    ] = None,
) -> None:
    """Write SITE/report/index.html: our own patients in a run.

    It shows single patients and must not leave the hospital; nobody is asked
    and nothing is sent. SITE is the folder with site.toml (of a simulation
    RUN/sites/NAME); the run is the last in its ledger, if --run names none.

    On it: t-SNE maps and clustered heatmaps of every block of features, ROC
    curves of the site's own test patients, what each model said of each
    patient beside the crop it saw, and images unlike the others.
    """
    from client.report.site_report import write_page
    from client.report.site_run import read_site_run

    found = read_site_run(site, run)
    root = site if site.is_dir() else site.parent
    path = write_page(found, root / "report", _tick)
    console.emit(f"report: {path}")
    screen.emit("it shows single patients and must not leave the hospital")


def _tick(done: int, total: int, _: str) -> None:
    if done == total or done % 50 == 0:
        screen.emit(f"measured {done} of {total} patients")
