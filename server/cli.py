"""fedlnm-server: what the coordinator runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.console import consoles
from common.errors import StudyError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Coordinate a study and report it.",
)
console, screen = consoles()


@app.callback()
def _root() -> None:
    """Keep sub-commands even while there are few of them."""


@app.command()
def report(run: Annotated[Path, typer.Argument(help="folder of a run")]) -> None:
    """Write tables, figures and the page again from a run's results.json."""
    from server.outputs import write_outputs
    from server.report.results import read
    from server.report.tables import terminal_table

    results = read(run / "results.json")
    write_outputs(results.model_dump(mode="json"), run)
    console.print(terminal_table(results))
    console.print(f"report: {run / 'report' / 'index.html'}", highlight=False)


def main() -> None:
    """Entry point: 0 done, 1 a finding or refusal, 2 wrong usage."""
    try:
        app(prog_name="fedlnm-server")
    except StudyError as error:
        screen.print(f"[red]error[/red] {error}", highlight=False)
        raise SystemExit(error.exit_code) from None
