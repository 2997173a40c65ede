"""Private files that survive a crash: complete or absent, and for the owner alone.

Each call sets the mode itself: in a simulation the sites share a process, and its umask, with a
server that writes files for others.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, each for the owner alone (0700)."""
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def exposed_mode(path: Path) -> int:
    """Return the mode of a file or folder that other users can access; 0 for any other."""
    mode = stat.S_IMODE(path.stat().st_mode)
    return mode if mode & 0o077 else 0


def open_folder(folder: Path) -> None:
    """Make a folder, or close an existing one of this user to all others."""
    make_folder(folder)
    if exposed_mode(folder) and folder.stat().st_uid == os.geteuid():
        folder.chmod(0o700)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file (mode 0600) atomically, and return when it is on disk."""
    part = _part(path, data)
    try:
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def create_durably(path: Path, data: bytes) -> bool:
    """Create a file like `write_durably`; return False, without writing, when it exists."""
    part = _part(path, data)
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    sync_folder(path.parent)
    return True


def place_durably(part: Path, path: Path) -> None:
    """Move a finished file (made mode 0600) into its place, and return when it is on disk."""
    handle = os.open(part, os.O_RDONLY)
    try:
        os.fchmod(handle, 0o600)
        os.fsync(handle)
    finally:
        os.close(handle)
    part.replace(path)
    sync_folder(path.parent)


def append_durably(path: Path, data: bytes) -> None:
    """Append to a file (made with mode 0600), and return when it is on disk."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the folder's list of files is on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock file: one process at a time, others wait until it is released, however that ends.

    Parameters
    ----------
    lock : the file, made where it is missing.
    """
    make_folder(lock.parent)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _part(path: Path, data: bytes) -> Path:
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


MOST_BYTES, KEPT = 10 * 2**20, 5
"""Size at which a log is put aside, and how many of those are kept."""


def rotate(path: Path, most: int = MOST_BYTES, kept: int = KEPT) -> bool:
    """Put a log aside once it is too large; return whether it was.

    The file itself stays, emptied, since programs hold it open and append to it. Lines that are
    written in just that moment may be lost, so this is for logs alone and never for a ledger.

    Parameters
    ----------
    most : bytes.
    kept : files NAME.1, the newest, to NAME.`kept`.
    """
    if not path.is_file() or path.stat().st_size < most:
        return False
    for number in range(kept, 1, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.is_file():
            older.replace(path.with_name(f"{path.name}.{number}"))
    aside = path.with_name(f"{path.name}.1")
    aside.touch(mode=path.stat().st_mode & 0o777)
    shutil.copyfile(path, aside)
    with path.open("r+b") as file:
        file.truncate(0)
    return True
