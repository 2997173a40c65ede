"""`fedlnm-site backup` and `restore`: keep what a site must not lose, and say what it is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from client.commands.approve import print_lines, settings_of, site_file
from client.commands.init import write_unit
from client.commands.run import only_one
from client.gate.site_log import LOGS
from client.gate.standing import FILE
from client.importing.archive import SPOOL
from client.site import SiteSettings
from client.store.heads import LedgerHeads, RolledBackError
from client.store.ledger import ledger_path
from client.store.site_db import site_db
from common.errors import InputError
from common.ledger.verify import read_entries
from common.study.release_mark import own_release
from common.utils import archive
from common.utils.console import consoles
from common.utils.durable import open_folder
from common.utils.text_file import as_word

console, screen = consoles()
OF = "hospital's site"
# what is made anew, and images with names, which an interrupted import has left
_LEFT_OUT = frozenset({"flower", "loopback", "reserved", "run.lock", FILE, SPOOL, *LOGS})
# a lock, and the index of SQLite's log, which another machine would take for its own
_MADE_ANEW = (".lock", "-shm")
_KEPT = ("keys", "site.toml", "proxy.env", "import.toml")


def backup(
    site: Annotated[Path, typer.Argument(help="folder with site.toml")],
    out: Annotated[Path, typer.Option(help="file to write; keep it as you keep keys")],
) -> None:
    """Write keys, settings and the whole memory of a site into one file.

    Patients' data, images and logs are not in it. The site must not take part meanwhile.
    """
    file, settings = site_file(site).resolve(), settings_of(site)
    root = file.parent
    if not settings.work.is_relative_to(root) or not settings.identity.is_relative_to(root):
        raise InputError(
            "work and keys do not lie in the folder of site.toml",
            where=str(file),
            remedy="back those folders up yourself, all of them at one time, with the site stopped",
        )
    work = settings.work.relative_to(root)
    with only_one(settings), ExitStack() as stack:
        if missing := LedgerHeads(settings.work, settings.name).missing():
            raise RolledBackError(settings.name, missing[0])
        if site_db(settings.work).path.is_file():
            stack.enter_context(site_db(settings.work).transaction())
        archive.pack(
            root,
            out,
            {"of": OF, "site": settings.name, "release": own_release()},
            lambda path: _is_wanted(path, work),
        )
    print_lines(_saved(settings, out))


def _is_wanted(path: Path, work: Path) -> bool:
    """Tell whether a file or folder, relative to site.toml, belongs into a backup."""
    if path.is_relative_to(work):
        inside = path.relative_to(work).parts
        return not (inside and (inside[0] in _LEFT_OUT or inside[0].endswith(_MADE_ANEW)))
    return work.is_relative_to(path) or path.parts[0] in _KEPT


def _saved(settings: SiteSettings, out: Path) -> Iterator[str]:
    yield f"backup of {settings.name}: {out}; {_ledger(settings)}"
    yield "it holds private keys: keep it where nobody else can read it"
    yield (
        "as soon as this hospital answers another question, this backup is too old to go on from:"
        " make one after every run, and keep the newest"
    )


def restore(
    file: Annotated[Path, typer.Argument(help="file that fedlnm-site backup has written")],
    folder: Annotated[Path, typer.Argument(help="new folder of the site")],
) -> None:
    """Put a site back from its backup, into a new folder.

    It says how far the ledger goes. A site goes on only from its newest backup.
    """
    head = archive.read_head(file, OF)
    archive.unpack(file, folder)
    settings = settings_of(folder)
    if settings.data.is_relative_to(folder.resolve()):
        open_folder(settings.data)
    unit = write_unit(folder, settings.name)
    print_lines(_put_back(settings, folder, str(head.get("made", "")), unit))


def _put_back(settings: SiteSettings, folder: Path, made: str, unit: Path) -> Iterator[str]:
    yield f"site {settings.name} is back in {folder}, as it was at {made}; {_ledger(settings)}"
    yield (
        "WHAT THIS DOES TO THE LEDGER: it goes on after that entry. If the hospital has answered"
        " since, the coordinator and the other hospitals hold its signature on later entries. It"
        " notices that with the first question, and answers nothing (rolled_back): what it has"
        " forgotten must not be released twice. Then only a newer backup helps."
    )
    yield "never let this copy and the one before take part side by side"
    yield f"put the patients' data back where site.toml says: {settings.data}"
    yield f"if it ran as a service, install the unit again: {unit}"
    yield f"then: fedlnm-site doctor {as_word(folder)}"


def _ledger(settings: SiteSettings) -> str:
    path = ledger_path(settings.work)
    entries = read_entries(path) if path.is_file() else ()
    if not entries:
        return "nothing has left this site yet, and the ledger is empty"
    last = entries[-1]
    return f"ledger of {last.number} entries, the last of {last.time[:19]} UTC"
