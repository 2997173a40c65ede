"""What was found out about files by reading them in full, kept for as long as they stay the same.

Every message may be answered by a new process: without this each would read gigabytes of CT again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from common.utils.durable import make_folder


class KnownFiles:
    """A JSON file of answers, by a hash of paths, sizes and times: no path can be read in it.

    Parameters
    ----------
    path : where it is; made by `save`, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        self._new: dict[str, str] = {}

    def ask(self, about: str, files: list[Path], find_out: Callable[[], str]) -> str:
        """What is known of these files as they are now, found out where nothing is.

        Parameters
        ----------
        about : the question, as others may be asked of the same files.

        Raises
        ------
        OSError : a file that is not there; and what `find_out` raises.
        """
        seen = hashlib.sha256(about.encode())
        for file in files:
            status = file.stat()
            times = f"{status.st_mtime_ns}|{status.st_ctime_ns}"
            seen.update(f"\n{file.absolute()}|{status.st_size}|{times}".encode())
        name = seen.hexdigest()
        answer = self._new.get(name) or self._known.get(name)
        if answer is None:
            answer = find_out()
            self._new[name] = answer
        return answer

    def save(self) -> None:
        """Add what is new to the file, and to what other processes have put there."""
        if not self._new:
            return
        self._known = _read(self._path) | self._known | self._new
        self._new = {}
        make_folder(self._path.parent)
        handle, part = tempfile.mkstemp(dir=self._path.parent, prefix=".part-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(self._known, file)
        Path(part).replace(self._path)


def _read(path: Path) -> dict[str, str]:
    """Nothing where there is no such file, or none that can be read: all is found out anew."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {str(name): str(answer) for name, answer in known.items()}
