"""Features that sites which were away at the end of a training have still to keep.

Nothing of them leaves, so the run goes on; every sum that may read them waits until they are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from common.messages.exchanges import TrainRequest
from common.messages.plain import read_plain, write_plain
from common.utils.durable import write_durably


class Owed:
    """Requests that sites have still to answer, by number.

    Parameters
    ----------
    folder : where they lie, so that a resumed run still asks them; None = in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._requests: dict[int, TrainRequest] = {}
        self._sites: dict[int, list[str]] = {}
        if folder is not None and folder.is_dir():
            for path in folder.glob("owed-*.json"):
                number = int(path.stem.removeprefix("owed-"))
                self._sites[number] = json.loads(path.read_bytes())

    def add(self, request: TrainRequest, sites: Iterable[str]) -> None:
        """Remember that these sites have still to answer."""
        missing = list(sites)
        if not missing:
            return
        if self._folder is None:
            self._requests[request.number] = request
        else:
            write_plain(self._path(request.number, "safetensors"), request)
        self._write(request.number, missing)

    def waiting(self) -> list[tuple[TrainRequest, tuple[str, ...]]]:
        """Return requests in the order of their numbers, with the sites that owe an answer."""
        return [
            (self._request(number), tuple(self._sites[number])) for number in sorted(self._sites)
        ]

    def answered(self, number: int, site: str) -> None:
        """Note that a site has answered."""
        self._write(number, [one for one in self._sites[number] if one != site])

    def _write(self, number: int, sites: list[str]) -> None:
        if sites:
            self._sites[number] = sites
        else:
            self._sites.pop(number, None)
            self._requests.pop(number, None)
        if self._folder is None:
            return
        if sites:
            write_durably(self._path(number, "json"), json.dumps(sites).encode())
        else:
            self._path(number, "json").unlink(missing_ok=True)
            self._path(number, "safetensors").unlink(missing_ok=True)

    def _request(self, number: int) -> TrainRequest:
        if self._folder is None:
            return self._requests[number]
        found: TrainRequest = read_plain(self._path(number, "safetensors"))
        return found

    def _path(self, number: int, ending: str) -> Path:
        return Path(self._folder or "") / f"owed-{number:09d}.{ending}"
