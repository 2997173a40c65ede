"""`fedlnm-site confirm`: say that another hospital lost its keys, once it was called."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from client.commands.approve import SiteOption, settings_of
from client.site import identity_of
from client.store.ledger import Ledger
from common.ledger.entry import Record
from common.masking.lost_keys import check_confirmable
from common.messages.letting_go import as_text, describe, read_requests
from common.utils.console import consoles
from common.utils.durable import write_durably

console, screen = consoles()


def confirm(
    request: Annotated[Path, typer.Argument(help="file of the hospital that lost its keys")],
    out: Annotated[Path, typer.Option(help="file to write, for the coordinator")],
    site: SiteOption = Path("site.toml"),
    yes: Annotated[bool, typer.Option("--yes", help="do not ask (for scripts)")] = False,
) -> None:
    """Confirm by phone that a hospital lost its keys, and wants to be let go.

    Exit code 0: the confirmation is written. 1: not confirmed.
    """
    settings = settings_of(site)
    private, asked = identity_of(settings), read_requests(request)
    for one in asked:
        check_confirmable(one, settings.name)
    for line in describe(asked):
        console.emit(line)
    if not yes and not typer.confirm("did they read out this very fingerprint?", default=False):
        console.print("not confirmed")
        raise typer.Exit(1)
    text = as_text([one.confirmed_by(private, settings.name) for one in asked])
    record = Record(
        exchange="confirm",
        decision="released",
        roster=asked[0].roster,
        payload=hashlib.sha256(text.encode()).hexdigest(),
        size=len(text),
    )
    Ledger(settings.work, private).append(record)
    write_durably(out, text.encode())
    console.emit(f"confirmed; give this file to the coordinator: {out}")
