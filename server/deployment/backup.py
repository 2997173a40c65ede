"""`fedlnm-server backup` and `restore`: keep what a coordinator must not lose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from common.masking import identity
from common.study.release_mark import own_release
from common.utils import archive
from common.utils.console import consoles
from server.deployment.folder import CoordinatorFolder, only_one
from server.deployment.init import renew, write_guides
from server.deployment.roster import read_roster

console, screen = consoles()
OF = "coordinator's folder"
# Flower's database and logs, and a proxy whose paths are those of the folder before
_LEFT_OUT = frozenset({"state", "nginx"})


def backup(
    folder: Annotated[Path, typer.Argument(help="the coordinator's folder")],
    out: Annotated[Path, typer.Option(help="file to write; keep it as you keep keys")],
) -> None:
    """Write keys, roster, studies and runs into one file. No run may be under way meanwhile."""
    own = CoordinatorFolder(folder)
    settings = own.settings()
    with only_one(own):
        head = {"of": OF, "address": settings.address, "release": own_release()}
        archive.pack(own.root, out, head, lambda path: path.parts[0] not in _LEFT_OUT)
    for line in _saved(own, out):
        console.emit(line)


def _saved(folder: CoordinatorFolder, out: Path) -> Iterator[str]:
    yield f"backup of {folder.root}: {out}; {_contents(folder)}"
    yield "it holds private keys: keep it where nobody else can read it"
    yield "make one after every run: what hospitals answered since is not in an older one"


def restore(
    file: Annotated[Path, typer.Argument(help="file that fedlnm-server backup has written")],
    folder: Annotated[Path, typer.Argument(help="new folder of the coordinator")],
) -> None:
    """Put a coordinator back from its backup, into a new folder, and say what this is worth."""
    head = archive.read_head(file, OF)
    archive.unpack(file, folder)
    own = CoordinatorFolder(folder)
    own.state.mkdir(mode=0o700, exist_ok=True)
    is_new = renew(own)
    for unit in own.root.glob("fedlnm-*@.service"):  # of the place before
        unit.unlink()
    write_guides(own)
    for line in _put_back(own, str(head.get("made", "")), is_new=is_new):
        console.emit(line)


def _put_back(folder: CoordinatorFolder, made: str, *, is_new: bool) -> Iterator[str]:
    yield f"the coordinator is back in {folder.root}, as it was at {made}; {_contents(folder)}"
    yield (
        "WHAT THIS DOES TO THE LEDGERS: nothing at the hospitals; theirs are their own. The ends of"
        " their ledgers that were signed since then are forgotten here: a hospital that was put"
        " back to an older copy meanwhile is noticed by the other hospitals alone. Let all send"
        " their ledgers, and compare them: fedlnm-server audit"
    )
    yield (
        "a run that was under way goes on from what was saved then: hospitals give the same answers"
        " to the same questions again"
    )
    what = "the certificate and the proxy's configuration are" if is_new else "its configuration is"
    yield f"{what} new: start nginx with {folder.proxy}"
    yield "the unit for systemd names the new place: install it again, if a service runs studies"


def _contents(folder: CoordinatorFolder) -> str:
    public = identity.load(folder.identity).private.public_key()
    sites = [entry.site for entry in read_roster(folder.roster, public).sites]
    runs = len(list(folder.runs.glob("*/input/study.toml")))
    return f"{len(sites)} hospital(s) on the roster, {runs} run(s)"
