"""`fedlnm-site init`: set this hospital up to take part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.commands.init import join
from common.messages.joining import Invitation
from common.utils.console import consoles

console, screen = consoles()


def init(
    folder: Annotated[Path, typer.Argument(help="new folder of this site")],
    name: Annotated[str, typer.Option(help="this site's name in every study")],
    invitation: Annotated[Path, typer.Option(help="the file that the coordinator has sent")],
    port: Annotated[int, typer.Option(help="on this machine only")] = 9094,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask (for scripts)")] = False,
) -> None:
    """Make this site's keys and site.toml, and the request to send to the coordinator.

    Exit code 0: done. 1: not made.
    """
    letter = Invitation.read(invitation)
    _say(f"coordinator at {letter.address}, fingerprint {letter.check()}")
    _say("call the coordinator, at a number that you know, and let them read theirs to you")
    if not yes and not typer.confirm("are the two the same, letter by letter?", default=False):
        _say("not made")
        raise typer.Exit(1)
    made = join(folder, name, letter, port)
    _say(f"made {folder}: put cohort.csv into {folder / 'data'}, or name its folder in site.toml")
    _say(f"send to the coordinator: {made.request_file}")
    _say(f"fingerprint that you read to them by phone: {made.fingerprint}")


def _say(line: str) -> None:
    console.tell(line)
