"""Areas of the phantom study's networks whose changes travel with 32, 16 and 8 bits.

Runs the federated part of `make study`, one network alone, for each seed and width, and writes its
own section of results.md. What is prepared of images is kept in the cache.

python -m bench.transfer_bits [--network dl2d] [--seeds 20240101 20240102 20240103]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.comparison import WORK, say
from bench.tables import ROOT, conditions, put_section, table
from common.models import NetworkName
from common.study.model import load_study, write_study
from sim.jobs import Job, run_job
from sim.phantom.generate import generate
from sim.sites import place_coordinator, place_sites, with_identities

SEEDS = (20240101, 20240102, 20240103)
BITS = (32, 16, 8)
NETWORKS = ("dl2d", "dl3d")
Found = tuple[dict[tuple[str, str], float], int]


def run(network: NetworkName, seed: int, bits: int, cache: Path, work: Path) -> Found:
    """Return the area of each set, and the bytes that trainings took from the sites."""
    data = work / f"hospitals-{seed}"
    if not (data / "study.toml").exists():
        generate(data, seed=seed)
    study = with_identities(load_study(data / "study.toml"))
    changes: dict[str, Any] = {"base_models": (network,), "fusion_models": ()}
    changes[network] = study.network(network).model_copy(update={"transfer_bits": bits})
    study = study.model_copy(update=changes)
    out = work / f"run-{seed}-{bits}"
    shutil.rmtree(out, ignore_errors=True)
    folders = {name: data / name for name in study.site_names}
    sites = place_sites(folders, out, cache, exclude_bad_patients=False, verifying=())
    file = write_study(study, out / "input" / "study.toml")
    outcome = run_job(Job("federated", file, sites, out, identity=place_coordinator(out / "input")))
    if outcome.error:
        raise SystemExit(outcome.error)
    return _read(out)


def _read(out: Path) -> Found:
    results = json.loads((out / "run.json").read_text(encoding="utf-8"))
    areas = {(row["set"], row["model"]): float(row["auc"]) for row in results["performance"]}
    trainings = [row for row in results["transfers"] if row["exchange"] == "train.network"]
    return areas, sum(row["bytes_up"] for row in trainings)


def text(found: Mapping[tuple[int, int], Found]) -> str:
    """Return the section: areas by seed, set and network, and how many bytes the sites send."""
    rows = []
    for seed in sorted({seed for seed, _ in found}):
        for name, model in found[seed, BITS[0]][0]:
            areas = [found[seed, bits][0][name, model] for bits in BITS]
            apart = [f"{area - areas[0]:+.3f}" for area in areas[1:]]
            rows.append([str(seed), name, model, *(f"{area:.3f}" for area in areas), *apart])
    moved = [
        [str(seed), *(f"{found[seed, bits][1] / 1e6:.1f}" for bits in BITS)]
        for seed in sorted({seed for seed, _ in found})
    ]
    heading = ["seed", "set", "network", *(f"AUC, {bits} bits" for bits in BITS)]
    heading += [f"{bits} - {BITS[0]}" for bits in BITS[1:]]
    sizes = ["seed", *(f"MB sent in trainings, {bits} bits" for bits in BITS)]
    return f"{conditions()}\n\n{table(heading, rows)}\n\n{table(sizes, moved)}"


def main() -> None:
    """Run all, and write the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=NETWORKS, default=NETWORKS[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "cache")
    options = parser.parse_args()
    found = {}
    for seed in options.seeds:
        for bits in BITS:
            work = WORK / "transfer-bits"
            found[seed, bits] = run(options.network, seed, bits, options.cache, work)
            say(f"seed {seed}, {bits} bits: {found[seed, bits][1] / 1e6:.1f} MB of trainings")
    section = text(found)
    put_section("transfer bits", section)
    print(section)


if __name__ == "__main__":
    main()
