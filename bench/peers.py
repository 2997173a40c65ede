"""The peers with the same payload, installed where they are missing, and how they compare.

NVFlare gets an environment of its own under runs/bench; Flower's simulation engine is the one of
this project's environment.

python -m bench.peers
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.comparison import SITES, WORK, Figures, System, measure_system, say
from bench.tables import conditions, gib, ratio, seconds, table
from bench.transport import ROUNDS, measure_ours

NVFLARE = ("nvflare==2.9.0", "torch==2.13.0")
_ENVIRONMENT = WORK / "nvflare-venv"
_PYTHON = _ENVIRONMENT / "bin" / "python"


def flower(actors: int) -> System:
    """Flower's simulation with so many actors."""

    def command(payload: str, rounds: int, folder: Path) -> list[str]:
        """The measured program."""
        options = ["--payload", payload, "--rounds", str(rounds), "--sites", str(SITES)]
        return [sys.executable, "-m", "bench.peer_flower", *options, "--actors", str(actors)]

    name = f"Flower 1.41 simulation, {actors} actor{'s' * (actors > 1)}"
    return System(name, command, ROUNDS)


def nvflare() -> System:
    """NVFlare's simulator."""

    def command(payload: str, rounds: int, folder: Path) -> list[str]:
        """The measured program."""
        options = ["--payload", payload, "--rounds", str(rounds), "--sites", str(SITES)]
        return [str(_PYTHON), "-m", "bench.peer_nvflare.job", *options, "--folder", str(folder)]

    return System("NVFlare 2.9 simulator", command, {"tiny": 6, "big": 5})


def install_nvflare() -> str:
    """Make its environment if it is missing; why that failed, or nothing."""
    probe = [str(_PYTHON), "-c", "import nvflare, torch"]
    if (
        _PYTHON.is_file()
        and subprocess.run(probe, check=False, capture_output=True).returncode == 0
    ):
        return ""
    say(f"installing {' '.join(NVFLARE)} into {_ENVIRONMENT.name}")
    install = [str(_PYTHON), "-m", "pip", "install", "--quiet", *NVFLARE]
    for command in ([sys.executable, "-m", "venv", str(_ENVIRONMENT)], install):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return f"it could not be installed ({lines[-1] if lines else 'no word why'})"
    return ""


def measure_peers(repeats: int) -> list[Figures]:
    """Every peer that can be had."""
    found = [measure_system(flower(actors), repeats) for actors in (SITES, 1)]
    trouble = install_nvflare()
    system = nvflare()
    nvflare_figures = Figures(system.name, trouble=trouble) if trouble else None
    return [*found, nvflare_figures or measure_system(system, repeats)]


def text(ours: list[Figures], peers: list[Figures]) -> str:
    """The section of results.md; ratios are to the first of ours, measured in the same run."""
    columns = ["", "start-up, s", "round of 20, s", "round of 46.2 million, s", "peak PSS, GiB"]
    rows = [_row(one, ours[0]) for one in [*ours, *peers]]
    loud = [
        f"**{one.name} is missing from this comparison: {one.trouble}.**"
        for one in [*ours, *peers]
        if one.trouble
    ]
    note = (
        "Four sites, nothing to train, measured one after the other in one run; in brackets, how"
        " many times as much as fedlnm. fedlnm masks, signs and keeps its ledgers meanwhile, and"
        f" puts every synced file on the disk; the peers do none of it. {conditions()}"
    )
    return "\n\n".join([note, *loud, table(columns, rows)])


def _row(found: Figures, own: Figures) -> list[str]:
    if found.trouble:
        return [found.name, *["NOT MEASURED"] * 4]
    cells = [found.name]
    for what, payload in (("start", "big"), ("round", "tiny"), ("round", "big"), ("pss", "big")):
        value, ours = found.of(what, payload), own.of(what, payload)
        written = gib(value) if what == "pss" else seconds(value)
        cells.append(written if found is own else f"{written} ({ratio(value, ours)})")
    return cells


if __name__ == "__main__":
    print(text(measure_ours(repeats=1), measure_peers(repeats=1)))
