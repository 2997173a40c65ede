"""The 3D ResNet-50 on small crops: a payload of 46 million weights with little to compute.

Also run as a program: in process, with real training, it notes how long each site trains.

python -m bench.real_network --study STUDY --hospitals FOLDER --folder FOLDER
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from bench.payload import note
from common.flower.programs import QUIET
from common.messages.exchanges import RoundPlan
from common.study.model import load_study, write_study
from server.federation.federation import Federation
from sim.engines.inprocess import run_in_process
from sim.jobs import configure_screen
from sim.phantom.generate import generate
from sim.phantom.plan import HospitalPlan, PhantomPlan, Scanner
from sim.sites import find_sites, place_sites, with_identities
from strategies.model import GlobalModel

ROUNDS = 20
_CROP = 16
_PATIENTS, _TESTS = 24, 5
_CHANGED = {
    "block": "bottleneck",
    "layers": (3, 4, 6, 3),
    "widths": (64, 128, 256, 512),
    "input_size": _CROP,
    "batch_size": 2,
    "local_steps": 1,
    "rounds": ROUNDS,
    "average_last": 0.0,
}


def write_phantoms(folder: Path, names: list[str]) -> Path:
    """Hospitals of phantom patients, and a study of the one network; the study file."""
    scanner = Scanner(1.0, 2.5, 0.7, 9.0, 0.0)
    plan = PhantomPlan(
        name="bench-network",
        hospitals=tuple(
            HospitalPlan(name, scanner, "training", 0.5, train=_PATIENTS, internal_test=_TESTS)
            for name in names
        ),
        external_sets=(),
        radius_mm=(5.0, 6.5),
    )
    generate(folder, seed=1, plan=plan)
    study = load_study(folder / "study.toml")
    changes = {
        "base_models": ("dl3d",),
        "fusion_models": (),
        "folds": 3,
        "imaging": study.imaging.model_copy(update={"crop3d_size": _CROP}),
        "dl3d": study.dl3d.model_copy(update=_CHANGED),
        # one step on two patients is far fewer than a real study may draw a round
        "privacy": study.privacy.model_copy(update={"min_rows": 2}),
    }
    return write_study(study.model_copy(update=changes), folder / "study.toml")


def server_app(rounds: int, patients: int, rate: float) -> ServerApp:
    """Enrol, then train so many rounds at this learning rate on so many patients a hospital."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        """All rounds."""
        from common.networks.flat import flatten, running_ranges
        from common.networks.initial import initial_network

        study = load_study(Path(str(context.run_config["study"])))
        federation = Federation(grid, study, "bench")
        federation.enrol()
        network, _ = initial_network("dl3d", study.dl3d, seed=1)
        running = running_ranges(network)
        model = GlobalModel(study.dl3d, flatten(network), running, rounds)
        del network
        total = patients * len(study.training_sites)
        for number in range(rounds):
            plan = RoundPlan(1, rate, -1, total, keep=False, round=number)
            done = federation.train("dl3d", "final", model.weights, running, plan)
            model.update(number, done.update)

    return app


def timed_training() -> None:
    """Let every site note how long it trains."""
    import client.training.round

    train = client.training.round.train_network

    def timed(workspace: Any, request: Any) -> Any:
        """As before."""
        received = time.time()
        answer = train(workspace, request)
        note(workspace.name, request.plan.round + 1, received, time.time())
        return answer

    vars(client.training.round)["train_network"] = timed


def main() -> None:
    """Run three rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--hospitals", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    os.environ.update(QUIET)
    configure_screen("bench")
    from client.app import app as client_app

    study = with_identities(load_study(options.study))
    data = find_sites([options.hospitals / name for name in study.site_names], study)
    folder: Path = options.folder
    sites = place_sites(data, folder, folder / "cache", exclude_bad_patients=False)
    timed_training()
    config = {"study": str(write_study(study, folder / "study.toml")), "out": str(folder)}
    run_in_process(server_app(3, _PATIENTS, 0.01), client_app, sites, config)


if __name__ == "__main__":
    main()
