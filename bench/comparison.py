"""Systems that move the same payload, each measured the same way, several times."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.measuring import Measured, measure
from bench.tables import ROOT
from common.flower.programs import QUIET

WORK = ROOT / "runs" / "bench"
SITES = 4
PAYLOADS = ("tiny", "big")
Command = Callable[[str, int, Path], list[str]]


@dataclass(frozen=True)
class System:
    """Something that can be measured.

    Parameters
    ----------
    name : for the table.
    command : from payload, rounds and a fresh folder.
    rounds : how many, by payload.
    """

    name: str
    command: Command
    rounds: Mapping[str, int]


@dataclass(frozen=True)
class Figures:
    """Medians over the repeats of one system.

    Parameters
    ----------
    start, round : seconds by payload.
    pss : peak bytes of all processes by payload.
    trouble : why there is none of these, where there is none.
    """

    name: str
    start: Mapping[str, float] = field(default_factory=dict)
    round: Mapping[str, float] = field(default_factory=dict)
    pss: Mapping[str, float] = field(default_factory=dict)
    trouble: str = ""

    def of(self, what: str, payload: str) -> float:
        """A figure, NaN where there is none."""
        values: Mapping[str, float] = getattr(self, what)
        return values.get(payload, float("nan"))


def measure_system(system: System, repeats: int, payloads: Sequence[str] = PAYLOADS) -> Figures:
    """Run a system `repeats` times with every payload."""
    start, rounds, pss = {}, {}, {}
    for payload in payloads:
        runs = [measure_once(system, payload) for _ in range(repeats)]
        failed = [one for one in runs if one.code or not one.rounds]
        if failed:
            return Figures(system.name, trouble=f"it ended with code {failed[0].code}, see its log")
        start[payload] = statistics.median(one.start for one in runs)
        rounds[payload] = statistics.median(one.round for one in runs)
        pss[payload] = statistics.median(one.pss for one in runs)
    return Figures(system.name, start, rounds, pss)


def measure_once(system: System, payload: str) -> Measured:
    """One run, in a folder that is removed afterwards."""
    WORK.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
    log = WORK / f"{system.name.replace(' ', '-').replace('/', '-')}-{payload}.log"
    try:
        command = system.command(payload, system.rounds[payload], folder)
        found = measure(command, environment={**QUIET, "PYTHONPATH": str(ROOT)}, log=log)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(
        f"{system.name}, {payload}: start {found.start:.1f} s, rounds"
        f" {', '.join(f'{one:.3f}' for one in found.rounds[:6])} s, {found.pss / 2**30:.2f} GiB"
    )
    return found


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
