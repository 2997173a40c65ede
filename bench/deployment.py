"""A real deployment on this machine: seconds a round, and the memory of the coordinator's program.

Coordinator and four sites are set up by the commands that people give, over TLS, each site behind
its gate, all on loopback. What the sites run is the app as it is released, so nothing is replaced:

- a tiny round is a round of sums of a study with one clinical column,
- a large round is a round of the 3D ResNet-50 (46 million weights) on crops of 16 x 16 x 16 voxels,
  one step a round, with changes of 32, 16 and 8 bits. What its training takes at one site, alone
  on the machine, is separate.

A round lasts from the last reply to one question to the last reply to the next, as the run's own
events tell it, and is interrupted when there were enough of them.

python -m bench.deployment
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from bench.comparison import SITES, WORK, say
from bench.hospitals import site_names, study_of, write_hospitals
from bench.measuring import measure
from bench.real_network import write_phantoms
from bench.tables import ROOT, conditions, gib, held, put_section, seconds, table
from common.errors import StudyError
from common.study.model import load_study, write_study
from server.deployment.run_folder import RunFolder
from sim.rehearsal import Rehearsal, environment, program, running_sites, set_up
from sim.sites import find_sites

# seconds and bytes, of design: a tiny round, a round of 46 million weights, the ServerApp's peak
TINY, BIG, PEAK = 1.5, 15.0, 2**30
# of a round with nobody away: with the second step, to one without
SECOND = 1.1
TINY_ROUNDS, BIG_ROUNDS = 20, 6
# of a number that is sent; the first round of a training always takes 32
BITS = (32, 16, 8)
_SERVER_APP = "flwr-serverapp"


@dataclass(frozen=True)
class Deployed:
    """Time and memory of one study in a deployment.

    Parameters
    ----------
    rounds : seconds of each.
    pss : bytes, peak of the ServerApp's process.
    training : seconds that a site trains in a round, alone; 0 where nothing is trained.
    """

    rounds: tuple[float, ...]
    pss: int
    training: float = 0.0
    trouble: str = ""

    @property
    def round(self) -> float:
        """Median; NaN where there was none."""
        return statistics.median(self.rounds) if self.rounds else float("nan")


def measure_deployment() -> dict[str, Deployed]:
    """All studies, one after the other."""
    found = {}
    runs: dict[str, Callable[[Path], Deployed]] = {"tiny": _tiny}
    runs |= {f"big {bits}": partial(_big, bits=bits) for bits in BITS}
    runs["quorum"] = partial(_big, bits=BITS[0], quorum=SITES - 1)
    for name, run in runs.items():
        with _fresh(WORK / f"deployment-{name.replace(' ', '-')}") as folder:
            try:
                found[name] = run(folder)
            except StudyError as error:
                found[name] = Deployed((), 0, trouble=str(error))
        one = found[name]
        say(f"deployment, {name}: {one.round:.2f} s a round, {one.pss / 2**30:.2f} GiB")
    return found


def _tiny(folder: Path) -> Deployed:
    names = site_names(SITES)
    write_hospitals(folder / "data", names)
    file = write_study(study_of(SITES), folder / "study.toml")
    return _deployed(file, folder, "query.sum", TINY_ROUNDS)


def _big(folder: Path, bits: int, quorum: int = 0) -> Deployed:
    file = write_phantoms(folder / "data", site_names(SITES))
    study = load_study(file)
    narrow = study.dl3d.model_copy(update={"transfer_bits": bits})
    waits = study.training.model_copy(update={"quorum": quorum})
    write_study(study.model_copy(update={"dl3d": narrow, "training": waits}), file)
    alone = bits == BITS[0] and not quorum
    training = _training_alone(file, folder) if alone else 0.0
    found = _deployed(file, folder, "train.network", BIG_ROUNDS)
    return Deployed(found.rounds, found.pss, training, found.trouble)


def _deployed(study_file: Path, folder: Path, exchange: str, rounds: int) -> Deployed:
    """Set up, run until there were so many rounds of an exchange, interrupt."""
    study = load_study(study_file)
    folders = [folder / "data" / name for name in study.site_names]
    rehearsal = Rehearsal((folder / "deployment").resolve(), find_sites(folders, study))
    set_up(rehearsal, study_file, Console(stderr=True, quiet=True))
    events = _Contacts(rehearsal.hub.root / "runs", exchange, len(study.training_sites))
    with running_sites(rehearsal):
        found = measure(
            [*program("server"), "run", str(rehearsal.hub.root), study.name],
            environment=environment(),
            log=WORK / f"{study.name}.log",
            until=lambda: len(events.ends()) > rounds,
        )
    times = tuple(after - before for before, after in pairwise(events.ends()))
    trouble = "" if times else f"no round in {found.seconds:.0f} s, see {study.name}.log"
    return Deployed(times, found.pss_of(_SERVER_APP), trouble=trouble)


@dataclass(frozen=True)
class _Contacts:
    """Return when the rounds of an exchange ended, by the events of the only run in a folder."""

    runs: Path
    exchange: str
    sites: int

    def ends(self) -> list[float]:
        """Time of the last reply of each round that is complete."""
        times = [
            float(event["time"])
            for path in self.runs.glob("*")
            for event in RunFolder(path).events()
            if event["kind"] == "contact" and event["exchange"] == self.exchange
        ]
        return times[self.sites - 1 :: self.sites]


def _training_alone(study_file: Path, folder: Path) -> float:
    """Median seconds that one site trains in a round, in process, nothing else running."""
    command = [sys.executable, "-m", "bench.real_network", "--study", str(study_file)]
    command += ["--hospitals", str(folder / "data"), "--folder", str(folder / "alone")]
    found = measure(command, environment=environment(), log=WORK / "real-network-alone.log")
    return statistics.median(found.held) if found.held else float("nan")


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    """An empty folder, removed afterwards; the project's own packages for whoever starts there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def text(found: dict[str, Deployed]) -> str:
    """The section of results.md."""
    tiny, whole = found["tiny"], found[f"big {BITS[0]}"]
    loud = [
        f"**NOT MEASURED, {name}: {one.trouble}.**" for name, one in found.items() if one.trouble
    ]
    rows = [["round of sums, s", seconds(tiny.round), f"{TINY:g}", held(tiny.round, TINY)]]
    for bits in BITS:
        big = found[f"big {bits}"]
        peak = float(big.pss) if big.pss else float("nan")
        named = f"round of 46 million weights, {bits} bits"
        rows += [
            [f"{named}, s", seconds(big.round), f"{BIG:g}", held(big.round, BIG)],
            ["peak of the ServerApp (PSS), GiB", gib(big.pss), gib(PEAK), held(peak, PEAK)],
        ]
    second = found["quorum"].round
    named = f"round of 46 million weights, {SITES - 1} of {SITES} are enough and all are there"
    rows += [
        [f"{named}, s", seconds(second), "-", "-"],
        ["ratio to the round of 32 bits", *_ratio(second / whole.round)],
    ]
    rows.append(["training at one site alone, s a round", seconds(whole.training), "-", "-"])
    note = (
        "Four sites, masked, TLS, a gate at each site, all programs on this one machine. A round"
        " of sums is one of a study with one clinical column; the large one is the 3D ResNet-50 on"
        " crops of 16 voxels with one step of training a round, which is part of its time (the"
        f" four sites share the cores). Medians of {len(tiny.rounds)} and {len(whole.rounds)}"
        f" rounds, from last reply to last reply. {conditions()}"
    )
    return "\n\n".join([note, *loud, table(["what", "measured", "bound", "within"], rows)])


def _ratio(value: float) -> tuple[str, str, str]:
    return f"{value:.2f}", f"{SECOND:g}", held(value, SECOND)


if __name__ == "__main__":
    section = text(measure_deployment())
    put_section("deployment", section)
    print(section)
