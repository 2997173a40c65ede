"""The paper's own networks over four hospitals: `python bench/paper_networks.py`.

One round of one epoch of the 3D ResNet50 at 96^3 and of the 2D ResNet50 at 224^2, as the `paper`
preset has them, on phantom patients, with masks; prints seconds a round, peak memory, and what the
paper's 300 patients and all rounds would take at that speed. On a graphics card where there is one.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from client.app import app
from client.training.device import find_compute
from common.models import NetworkName
from common.study.model import Study, load_study, write_study
from server.federation.federation import Federation
from server.phases.networks import rows_per_fold, train_variant
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.phantom.generate import generate
from sim.phantom.plan import DEFAULT
from sim.sites import find_sites, place_sites, with_identities

PATIENTS, ROUNDS = 300, {"dl2d": 50, "dl3d": 300}


def paper_study(folder: Path, patients: int, batch_size: int = 0) -> Study:
    """Four phantom hospitals with so many training patients each, and the paper's networks.

    Parameters
    ----------
    batch_size : in place of the paper's; 0 = the paper's.
    """
    hospitals = tuple(
        dataclasses.replace(
            h, train=patients, internal_test=1, repeat_readings=0, protocol_bias=0.0
        )
        for h in DEFAULT.hospitals
        if h.train
    )
    plan = dataclasses.replace(DEFAULT, name="paper", hospitals=hospitals, external_sets=())
    generate(folder, seed=1, plan=plan)
    study = load_study(folder / "study.toml")
    plain = Study(
        **{
            "name": "paper",
            "endpoint": study.endpoint,
            "sites": study.sites,
            "test_sets": study.test_sets,
            "clinical": study.clinical,
            "base_models": ("dl2d", "dl3d"),
            "fusion_models": (),
            "folds": 3,
            # a handful of patients are below every sensible threshold
            "privacy": {
                "min_rows": 2,
                "min_rows_per_fold": 1,
                "min_per_class": 1,
                "min_class_per_fold": 0,
            },
        }
    )
    changes: dict[str, Any] = {"select": "last", "patience": 0}
    if batch_size:
        changes["batch_size"] = batch_size
    blocks: dict[NetworkName, Any] = {
        name: getattr(plain, name).model_copy(update=changes) for name in ("dl2d", "dl3d")
    }
    return with_identities(plain.model_copy(update=blocks))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=6, help="training patients a hospital")
    parser.add_argument("--networks", nargs="*", default=["dl3d", "dl2d"])
    parser.add_argument("--batch-size", type=int, default=0, help="in place of the paper's")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/paper"))
    arguments = parser.parse_args()
    data = arguments.out / f"phantom-{arguments.patients}"
    study = paper_study(data, arguments.patients, arguments.batch_size)
    print(f"device: {find_compute('auto').words()}; {arguments.patients} patients a hospital")
    print("| network | s a round | with features | GiB | 300 patients, all rounds, 6 trainings |")
    print("|---|---|---|---|---|")
    for name in arguments.networks:
        with tempfile.TemporaryDirectory(dir=arguments.out) as out:
            print(measured(study, data, name, Path(out), arguments), flush=True)


def measured(study: Study, data: Path, name: Any, out: Path, arguments: Any) -> str:
    """One line of the table."""
    folders = [data / site for site in study.site_names]
    sites = place_sites(
        find_sites(folders, study), out, arguments.out / "cache", exclude_bad_patients=False
    )
    federation = Federation(
        InProcessGrid(app, sites), load_study(write_study(study, out / "study.toml")), run="bench"
    )
    trained: list[float] = []
    with task_identity(SERVER_NODE):
        federation.enrol()
        folds = rows_per_fold(federation)
        start = time.monotonic()
        train_variant(
            federation, name, "final", folds, 1,
            after_round=lambda state: trained.append(time.monotonic()),
        )  # fmt: skip
    whole = time.monotonic() - start
    seconds = trained[0] - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    total = sum(folds)
    days = seconds / total * PATIENTS * ROUNDS[name] * 6 * 0.83 / 86400
    return f"| {name} | {seconds:.1f} | {whole:.1f} | {peak:.2f} | {days:.1f} days |"


if __name__ == "__main__":
    main()
