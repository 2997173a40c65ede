"""This project's in-process engine with nothing to train: start-up, seconds a round, memory.

python -m bench.transport
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.comparison import SITES, Figures, System, measure_system
from bench.tables import conditions, gib, held, seconds, table

# seconds and bytes, of design: start-up, a tiny round, a round of 46 million weights, peak memory
START, TINY, BIG, PEAK = 8.0, 0.05, 3.0, 2 * 2**30
ROUNDS = {"tiny": 40, "big": 6}
NAME = "fedlnm, in process"


def command(payload: str, rounds: int, folder: Path, sites: int = SITES) -> list[str]:
    """The measured program."""
    options = ["--payload", payload, "--rounds", str(rounds), "--sites", str(sites)]
    return [sys.executable, "-m", "bench.inprocess", *options, "--folder", str(folder)]


def with_checkpoint(payload: str, rounds: int, folder: Path) -> list[str]:
    """The same, with every round checkpointed on the disk."""
    return [*command(payload, rounds, folder), "--checkpoint"]


def measure_ours(repeats: int) -> list[Figures]:
    """Without and with the checkpoint of every round."""
    systems = [
        System(NAME, command, ROUNDS),
        System(f"{NAME}, every round checkpointed", with_checkpoint, ROUNDS),
    ]
    return [measure_system(system, repeats) for system in systems]


def text(found: list[Figures]) -> str:
    """The section of results.md."""
    rows = [row for figures in found for row in _rows(figures)]
    note = "Four sites, masked, nothing to train: every site adds 1 to every weight."
    columns = ["", "what", "measured", "bound", "within"]
    return f"{note} {conditions()}\n\n{table(columns, rows)}"


def _rows(found: Figures) -> list[list[str]]:
    if found.trouble:
        return [[found.name, f"NOT MEASURED: {found.trouble}", "-", "-", "-"]]
    start = max(found.start.values())
    tiny, big, peak = found.of("round", "tiny"), found.of("round", "big"), found.of("pss", "big")
    return [
        [found.name, "start-up, s", seconds(start), f"{START:g}", held(start, START)],
        ["", "round of 20 numbers, s", seconds(tiny), f"{TINY:g}", held(tiny, TINY)],
        ["", "round of 46.2 million, s", seconds(big), f"{BIG:g}", held(big, BIG)],
        ["", "peak memory (PSS), GiB", gib(peak), gib(PEAK), held(peak, PEAK)],
    ]


if __name__ == "__main__":
    print(text(measure_ours(repeats=1)))
