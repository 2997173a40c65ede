"""Runs a program and looks at its processes meanwhile: seconds, memory, and what it noted itself.

Memory is the proportional set size (PSS): a page that several processes share counts once, in
parts. It is read from /proc every half of a second, so this works on Linux alone. A program may
append lines of JSON to the file that `EVENTS` names, see `bench.payload.note`.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

EVENTS = "BENCH_EVENTS"
LOOK_SECONDS, STOP_SECONDS = 0.5, 60.0
GIB = 2**30
_PROC = Path("/proc")


@dataclass
class Peak:
    """The most memory that one process took, in bytes, and its command line."""

    command: str
    pss: int = 0
    rss: int = 0


@dataclass(frozen=True)
class Measured:
    """Time and memory of a program.

    Parameters
    ----------
    code : how it ended, 0 = well.
    seconds : from start to end.
    pss : bytes, the most that all its processes took together.
    peaks : of each process.
    start : seconds from its start to the first site that holds the model; NaN without events.
    rounds : seconds from the first receipt of one round to the first of the next.
    held : seconds that a site held the model in a round, one each.
    last : the end of the output, for people.
    """

    code: int
    seconds: float
    pss: int
    peaks: tuple[Peak, ...]
    start: float
    rounds: tuple[float, ...]
    held: tuple[float, ...]
    last: str

    @property
    def round(self) -> float:
        """Median seconds of a round; NaN where there was none."""
        return statistics.median(self.rounds) if self.rounds else float("nan")

    def pss_of(self, word: str) -> int:
        """Bytes of the largest process whose command line has this word."""
        return max((peak.pss for peak in self.peaks if word in peak.command), default=0)


def measure(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    limit: float = 1800.0,
    until: Callable[[], bool] = lambda: False,
) -> Measured:
    """Run a command to its end.

    Parameters
    ----------
    environment : of the command, beside this process's.
    log : file that its output goes to.
    limit : seconds after which it is ended, with all its processes.
    until : asked now and then; when it is true, the command is interrupted.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, log.open("wb") as output:
        events = Path(folder) / "events.jsonl"
        began = time.time()
        process = _started(command, {**environment, EVENTS: str(events)}, output)
        family = Family(process.pid)
        try:
            while process.poll() is None and time.time() - began < limit and not until():
                family.look()
                time.sleep(LOOK_SECONDS)
            _interrupt(process)
        finally:
            seconds = time.time() - began
            family.end()
            code = process.wait()
        notes = read_notes(events)
    start, rounds = spans(notes, began)
    return Measured(
        code=code,
        seconds=seconds,
        pss=family.pss,
        peaks=tuple(family.peaks.values()),
        start=start,
        rounds=rounds,
        held=tuple(float(one["sent"]) - float(one["received"]) for one in notes),
        last=log.read_text(encoding="utf-8", errors="replace")[-2000:],
    )


def _started(
    command: Sequence[str], environment: Mapping[str, str], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """The command as the leader of a session of its own."""
    return subprocess.Popen(
        list(command),
        env={**os.environ, **environment},
        stdout=output,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let a program that still runs put its things away."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


def read_notes(path: Path) -> list[dict[str, Any]]:
    """Lines that a program noted; none where it noted nothing."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def spans(notes: Sequence[Mapping[str, Any]], began: float) -> tuple[float, tuple[float, ...]]:
    """Start-up and rounds, from when each site held the model of each round."""
    first: dict[int, float] = {}
    for one in notes:
        number = int(one["round"])
        first[number] = min(first.get(number, float("inf")), float(one["received"]))
    times = [first[number] for number in sorted(first)]
    if not times:
        return float("nan"), ()
    return times[0] - began, tuple(after - before for before, after in pairwise(times))


@dataclass
class Family:
    """A process and all that came of it, also those whose parent is gone.

    Parameters
    ----------
    root : id of the first process, which leads a session of its own.
    """

    root: int
    pss: int = 0
    peaks: dict[tuple[int, int], Peak] = field(default_factory=dict)
    _known: dict[int, int] = field(default_factory=dict)

    def look(self) -> None:
        """Take note of every process and its memory now."""
        total = 0
        for number in self.members():
            key = (number, self._known[number])
            if key not in self.peaks:
                self.peaks[key] = Peak(_command(number))
            peak = self.peaks[key]
            if not peak.command or peak.command == _UNKNOWN:
                peak.command = _command(number)
            memory = _memory(number)
            peak.pss = max(peak.pss, memory["Pss"])
            peak.rss = max(peak.rss, memory["Rss"])
            total += memory["Pss"]
        self.pss = max(self.pss, total)

    def members(self) -> list[int]:
        """Ids of the processes that are alive."""
        alive = dict(_processes())
        self._known = {
            number: start
            for number, start in self._known.items()
            if number in alive and alive[number].start == start
        }
        grown = True
        while grown:
            grown = False
            for number, one in alive.items():
                ours = one.parent in self._known or one.session == self.root or number == self.root
                if ours and number not in self._known:
                    self._known[number] = one.start
                    grown = True
        return list(self._known)

    def end(self) -> None:
        """End what is still alive, at once."""
        for number in self.members():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


_UNKNOWN = "?"


@dataclass(frozen=True)
class _Process:
    parent: int
    session: int
    start: int


def _processes() -> Iterator[tuple[int, _Process]]:
    """All processes of this machine; `start` tells apart two that had the same id."""
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        # the name in parentheses may hold anything
        words = text.rpartition(")")[2].split()
        if words[0] != "Z":
            yield int(folder.name), _Process(int(words[1]), int(words[3]), int(words[19]))


def _memory(number: int) -> dict[str, int]:
    """Bytes of one process: proportional and resident."""
    found = {"Pss": 0, "Rss": 0}
    try:
        lines = (_PROC / str(number) / "smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return found
    for line in lines[1:]:
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0]) * 1024
    return found


def _command(number: int) -> str:
    try:
        words = (_PROC / str(number) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return _UNKNOWN
    return " ".join(word.decode(errors="replace") for word in words if word)
