"""Pack a folder into one file and put it back, for the backups of hospitals and the coordinator."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.utils.durable import make_folder, place_durably
from common.utils.text_file import as_word

HEAD = "fedlnm-backup.json"
_LARGEST_HEAD = 10_000
Wanted = Callable[[Path], bool]


def pack(root: Path, out: Path, head: dict[str, Any], wanted: Wanted) -> None:
    """Write files of a folder into a new tar file that only this user may read.

    Parameters
    ----------
    head : facts about the backup, which come first in the file.
    wanted : takes a path relative to `root`; a folder that is not wanted is left out as a whole.

    Raises
    ------
    InputError : there is a file of that name already.
    """
    if out.exists():
        dated = f"{out.stem}-{datetime.now(UTC):%Y%m%d-%H%M}{out.suffix}"
        raise InputError(
            "there is such a file",
            where=str(out),
            remedy=f"give another name, such as {as_word(out.with_name(dated))}",
        )
    part = out.with_name(f".{out.name}.part")
    made = {**head, "made": datetime.now(UTC).isoformat(timespec="seconds")}
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            text = json.dumps(made).encode()
            entry = tarfile.TarInfo(HEAD)
            entry.size, entry.mode = len(text), 0o600
            archive.addfile(entry, io.BytesIO(text))
            for path in _files(root, wanted):
                archive.add(path, str(path.relative_to(root)), recursive=False)
        file.flush()
        os.fsync(file.fileno())
    place_durably(part, out)


def _files(root: Path, wanted: Wanted, folder: Path | None = None) -> Iterator[Path]:
    """Yield the folders and files to pack, parents first; nothing but these two kinds."""
    for path in sorted((folder or root).iterdir()):
        if path.is_symlink() or not wanted(path.relative_to(root)):
            continue
        if path.is_dir():
            yield path
            yield from _files(root, wanted, path)
        elif path.is_file():
            yield path


def read_head(file: Path, of: str) -> dict[str, Any]:
    """Return the facts about a backup.

    Raises
    ------
    InputError : not a backup, or of another kind of folder.
    """
    try:
        with tarfile.open(file) as archive:
            entry = archive.next()
            content = archive.extractfile(entry) if entry and entry.name == HEAD else None
            head = json.loads(content.read(_LARGEST_HEAD)) if content else {}
    except (OSError, ValueError, tarfile.TarError) as error:
        raise InputError(
            f"not a backup that can be read ({type(error).__name__})",
            where=str(file),
            remedy="give a file that the command backup has written",
        ) from None
    if not isinstance(head, dict) or head.get("of") != of:
        raise InputError(
            f"not a backup of a {of}",
            where=str(file),
            remedy="give a file that the command backup has written",
        )
    return head


def unpack(file: Path, root: Path) -> None:
    """Put a backup into a folder that is not there yet, or is empty.

    Raises
    ------
    InputError : something is in the folder; nothing is ever overwritten.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(
            "something is there already, and a backup overwrites nothing",
            where=str(root),
            remedy="move it away, or give another folder",
        )
    make_folder(root)
    with tarfile.open(file) as archive:
        members = [entry for entry in archive.getmembers() if entry.name != HEAD]
        archive.extractall(root, members, filter="data")
