"""Areas on phantoms whose scanners differ, with features harmonised over hospitals and without.

Runs the phantom study for each seed: its 105 original radiomics features, and with --networks its
2D network and both fusions. Scanners are --shift times as far apart as in `make study`. Writes its
own section of results.md. What is prepared of images is kept in the cache.

python -m bench.harmonisation [--seeds 1 2 3] [--shift 3] [--networks]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.comparison import WORK, say
from bench.tables import ROOT, conditions, put_section, table
from common.study.harmonisation import HarmonisationSettings
from common.study.model import RadiomicsSettings, load_study, write_study
from sim.jobs import Job, run_job
from sim.phantom.generate import DEFAULT, generate
from sim.phantom.plan import with_scanner_shift
from sim.sites import place_coordinator, place_sites, with_identities

SEEDS = (1, 2, 3)
FEATURES = RadiomicsSettings(settings="radiomics-original", expected_features=105)
WAYS = {
    "off": {},
    "reference": {"tables": ("radiomics", "deep"), "unseen": "reference"},
    "own": {"tables": ("radiomics", "deep"), "unseen": "own"},
}
Areas = dict[tuple[str, str], float]


def run(seed: int, way: str, options: argparse.Namespace) -> Areas:
    """Return the area of each set and model."""
    data = WORK / "harmonisation" / f"hospitals-{seed}-{options.shift:g}"
    if not (data / "study.toml").exists():
        generate(data, seed=seed, plan=with_scanner_shift(DEFAULT, options.shift), workers=1)
    study = with_identities(load_study(data / "study.toml"))
    networks = ("dl2d",) if options.networks else ()
    changes: dict[str, Any] = {
        "base_models": ("clinical", "radiomics", *networks),
        "fusion_models": ("fusion_feature", "fusion_decision"),
        "radiomics": FEATURES,
        "harmonisation": HarmonisationSettings.model_validate(WAYS[way]),
        "strata": (),
    }
    study = study.model_copy(update=changes)
    out = WORK / "harmonisation" / f"run-{seed}-{options.shift:g}-{way}"
    shutil.rmtree(out, ignore_errors=True)
    folders = {name: data / name for name in study.site_names}
    sites = place_sites(folders, out, options.cache, exclude_bad_patients=False, verifying=())
    file = write_study(study, out / "input" / "study.toml")
    outcome = run_job(Job("federated", file, sites, out, identity=place_coordinator(out / "input")))
    if outcome.error:
        raise SystemExit(outcome.error)
    results = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return {(row["set"], row["model"]): float(row["auc"]) for row in results["performance"]}


def text(found: Mapping[tuple[int, str], Areas], shift: float) -> str:
    """Return the section: areas by seed, set and model, and their means over the seeds."""
    seeds = sorted({seed for seed, _ in found})
    # nothing of the clinical model is harmonised
    places = [place for place in found[seeds[0], "off"] if place[1] != "clinical"]
    rows = [
        [str(seed), *place, *_columns([found[seed, way][place] for way in WAYS])]
        for seed in seeds
        for place in places
    ]
    means = [
        ["mean", *place, *_columns([_mean(found, seeds, way, place) for way in WAYS])]
        for place in places
    ]
    heading = ["seed", "set", "model", "off", "reference", "own", "reference - off", "own - off"]
    scanners = f"Scanners {shift:g} times as far apart as in `make study`."
    return f"{conditions()} {scanners}\n\n{table(heading, [*rows, *means])}"


def _columns(areas: Sequence[float]) -> list[str]:
    return [*(f"{area:.3f}" for area in areas), *(f"{area - areas[0]:+.3f}" for area in areas[1:])]


def _mean(
    found: Mapping[tuple[int, str], Areas], seeds: Sequence[int], way: str, place: tuple[str, str]
) -> float:
    return sum(found[seed, way][place] for seed in seeds) / len(seeds)


def main() -> None:
    """Run all, and write the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--shift", type=float, default=3.0)
    parser.add_argument("--networks", action="store_true")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "cache")
    options = parser.parse_args()
    found = {}
    for seed in options.seeds:
        for way in WAYS:
            found[seed, way] = run(seed, way, options)
            say(f"seed {seed}, {way}: done")
    section = text(found, options.shift)
    put_section(f"harmonisation{' with a network' if options.networks else ''}", section)
    print(section)


if __name__ == "__main__":
    main()
