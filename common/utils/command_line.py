"""Begin the programs of a hospital, a coordinator and a simulation alike."""

from __future__ import annotations

from typing import Annotated

import typer

from common.utils.versions import PACKAGE, installed


def program(explanation: str) -> typer.Typer:
    """Return a program without commands yet; `--version` names the release that is installed."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help=explanation,
    )

    @app.callback(help=explanation)
    def first(
        version: Annotated[
            bool,
            typer.Option(
                "--version", help="name the installed release", callback=_named, is_eager=True
            ),
        ] = False,
    ) -> None:
        """Take the options that stand before a command."""

    return app


def _named(asked: bool) -> None:
    """Name the installed release and end, where that is asked."""
    if asked:
        found = installed(PACKAGE)
        typer.echo(f"{PACKAGE} {found[PACKAGE]}, Python {found['python']}")
        raise typer.Exit
