"""`fedlnm-site notify`: try the addresses that notices go to."""

from __future__ import annotations

from pathlib import Path

import typer

from client.commands.approve import SiteOption, settings_of
from common.errors import InputError
from common.utils.console import consoles

console, _ = consoles()


def notify(site: SiteOption = Path("site.toml")) -> None:
    """Send a notice to every address in the file that `notices` in site.toml names, to try them.

    Exit code 0: all took it. 1: one did not.
    """
    from client.commands.watching import post_of

    settings = settings_of(site)
    post = post_of(settings)
    if post is None:
        raise InputError(
            "no addresses to send notices to",
            where=str(settings.watch.notices or "site.toml, [watch]"),
            remedy="name a file as notices under [watch], and write addresses into it, one a line,"
            " as in mailto://user:password@example.org",
        )
    failed = post.send("fedlnm: a notice to try it", f"From hospital {settings.name}, by hand.")
    for line in failed:
        console.emit(f"not taken: the address in line {line}")
    if failed:
        raise typer.Exit(1)
    console.emit("every address took it")
