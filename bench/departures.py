"""Measure how closely sums of consecutive rounds point at the update of a site that was left out.

Five hospitals of phantom patients train the 3D network of `make study`. Every hospital's own update
is noted where it is made, and for every round and hospital it is worked out what the coordinator
would see had that hospital been away in the round after: the difference of the two opened sums. Its
cosine with the hospital's true update stands beside that of the total of all five, which any round
tells, and beside that of a difference over three hospitals, the fewest that do not count as a
departure.

python -m bench.departures [--rounds 12]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.comparison import WORK
from bench.real_network import server_app
from bench.tables import conditions, put_section, table
from common.flower.programs import QUIET
from common.study.model import load_study, write_study
from sim.engines.inprocess import run_in_process
from sim.jobs import configure_screen
from sim.phantom.generate import generate
from sim.phantom.plan import HospitalPlan, PhantomPlan, Scanner
from sim.sites import find_sites, place_sites, with_identities

SITES = ("north", "south", "west", "east", "coast")
PATIENTS, TESTS = 24, 5
Vector = NDArray[np.float32]
Rounds = Sequence[Mapping[str, Vector]]
LEARNING_RATE = 0.002


def hospitals(folder: Path) -> Path:
    """Write five hospitals that train, and return the file of a study of the 3D network alone."""
    scanner = Scanner(1.0, 2.5, 0.7, 9.0, 0.0)
    places = tuple(
        HospitalPlan(name, scanner, "training", 0.5, train=PATIENTS, internal_test=TESTS)
        for name in SITES
    )
    generate(folder, seed=1, plan=PhantomPlan("bench-departures", places, ()))
    study = load_study(folder / "study.toml")
    changes = {"base_models": ("dl3d",), "fusion_models": ()}
    return write_study(study.model_copy(update=changes), folder / "study.toml")


def noted_updates() -> list[dict[str, Vector]]:
    """Let every site's training note its update; return where the rounds are noted."""
    import client.training.round

    train = client.training.round.train_network
    rounds: dict[int, dict[str, Vector]] = defaultdict(dict)
    found: list[dict[str, Vector]] = []

    def noting(workspace: Any, request: Any) -> Any:
        """Train as before."""
        update = train(workspace, request)
        if request.plan.round not in rounds:
            found.append(rounds[request.plan.round])
        rounds[request.plan.round][workspace.name] = update.change.copy()
        return update

    vars(client.training.round)["train_network"] = noting
    return found


def cosine(one: Vector, other: Vector) -> float:
    """Return the cosine of the angle between two vectors."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _sum(updates: Iterable[Vector]) -> Vector:
    whole: Vector = np.sum([*updates], axis=0)
    return whole


def seen(rounds: Rounds) -> dict[str, list[float]]:
    """Return the cosines of a site's true update with what its absence would tell.

    Parameters
    ----------
    rounds : by round, every site's weighted update.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for before, after in pairwise(rounds):
        everybody = _sum(before.values())
        for site, own in before.items():
            found["total of all five"].append(cosine(everybody, own))
            for size, name in ((1, "one left out"), (2, "two left out"), (3, "three left out")):
                for others in combinations([o for o in before if o != site], size - 1):
                    away = {site, *others}
                    rest = _sum(update for name, update in after.items() if name not in away)
                    found[name].append(cosine(everybody - rest, own))
    return found


def text(found: Mapping[str, Sequence[float]]) -> str:
    """Return the section."""
    rows = [
        [
            name,
            str(len(values)),
            *(f"{v:.2f}" for v in (statistics.median(values), min(values), max(values))),
        ]
        for name, values in found.items()
    ]
    heading = ("what the coordinator sees", "pairs of rounds and hospitals", "median cosine")
    return f"{conditions()}\n\n{table((*heading, 'least', 'largest'), rows)}"


def main() -> None:
    """Train, and write the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    os.environ.update(QUIET)
    configure_screen("bench")
    from client.app import app as client_app

    work = WORK / "departures"
    shutil.rmtree(work, ignore_errors=True)
    study = with_identities(load_study(hospitals(work / "data")))
    data = find_sites([work / "data" / name for name in study.site_names], study)
    sites = place_sites(data, work / "run", work / "cache", exclude_bad_patients=False)
    rounds = noted_updates()
    file = write_study(study, work / "run" / "study.toml")
    config = {"study": str(file), "out": str(work / "run")}
    run_in_process(server_app(options.rounds, PATIENTS, LEARNING_RATE), client_app, sites, config)
    section = text(seen(rounds))
    put_section("departures", section)
    print(section)


if __name__ == "__main__":
    main()
