"""fedlnm-site: what a hospital runs on its own machine."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from client import gate_cli
from client.ledger_cli import ledger
from common.console import consoles
from common.errors import StudyError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Check a hospital's data against a study, and look at its features.",
)
app.add_typer(ledger, name="ledger")
app.command()(gate_cli.approve)
app.command()(gate_cli.run)
console, screen = consoles()


@app.callback()
def _root() -> None:
    """Keep sub-commands even while there are few of them."""


@app.command()
def check(
    site: Annotated[Path, typer.Argument(help="folder with cohort.csv, or with site.toml")],
    study: Annotated[Path, typer.Option(help="study.toml")],
    cache: Annotated[
        Path | None, typer.Option(help="where prepared images go [default: as site.toml says]")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Read every row, image and contour as the study would; nothing leaves this machine.

    Exit code 0: ready. 1: something must be put right first; every finding is listed.
    """
    from client.rehearsal import rehearse

    findings = rehearse(site, study, cache, progress=None if json_output else _tick)
    if json_output:
        sys.stdout.write(json.dumps(findings.as_dict(), indent=1) + "\n")
    else:
        _show(findings)
    raise typer.Exit(0 if findings.ready else 1)


def _tick(done: int, total: int, what: str) -> None:
    if done == total or done % 10 == 0:
        screen.print(f"  {done}/{total} {what}", highlight=False)


def _show(findings: Any) -> None:
    table = Table(
        title=f"{findings.site}: {findings.patients} usable patients", title_justify="left"
    )
    for heading in ("subset", "patients", "positive"):
        table.add_column(heading)
    for name, (n, positives) in findings.counts.items():
        table.add_row(name, str(n), str(positives))
    console.print(table)
    for problem in findings.problems:
        console.print(f"[red]problem[/red] {problem}", highlight=False)
    console.print("ready" if findings.ready else f"{len(findings.problems)} to put right")


@app.command()
def radiomics(
    image: Annotated[Path, typer.Argument(help="CT volume or DICOM folder")],
    mask: Annotated[Path, typer.Argument(help="contour as a mask volume")],
    out: Annotated[Path, typer.Option(help="CSV file to write")],
    settings: Annotated[str, typer.Option(help="settings file of this release")] = "radiomics-1834",
    expected: Annotated[int, typer.Option(help="number of features it must give")] = 1834,
) -> None:
    """Extract the radiomics features of one ROI."""
    from client.radiomics import extract, to_csv

    names, values = extract(image, mask, settings, expected)
    to_csv(out, names, values)
    console.print(f"{len(names)} features written to {out}", highlight=False)


def main() -> None:
    """Entry point: 0 done, 1 a finding or refusal, 2 wrong usage."""
    logging.getLogger("fedlnm.site").addHandler(logging.NullHandler())
    try:
        app(prog_name="fedlnm-site")
    except StudyError as error:
        screen.print(f"[red]error[/red] {escape(str(error))}", highlight=False)
        raise SystemExit(error.exit_code) from None
