"""Rounds of training without training, over this project's own in-process engine.

The ServerApp asks through `Federation.train`; every site answers through its ClientApp: gate,
approvals, disclosure rules, ledger, masks. The one thing replaced is the training itself
(`client.training.round.train_network`), which adds 1 to every weight.

python -m bench.inprocess --payload big --sites 4 --rounds 5 --folder FOLDER
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray

from bench.hospitals import TRAINING_PATIENTS, site_names, study_of, write_hospitals
from bench.payload import note, numbers_of
from common.flower.programs import QUIET
from common.masking.update import Update
from common.messages.checkpoint import Checkpoint, Slot
from common.messages.exchanges import RoundPlan, TrainRequest
from common.study.model import NetworkSettings, Study, load_study, write_study
from server.federation.federation import Federation
from server.progress.events import Events
from sim.engines.inprocess import run_in_process
from sim.jobs import configure_screen
from sim.sites import place_sites, with_identities
from strategies.model import GlobalModel

# of a network's weights so many in a million are running statistics, which travel in 64 bits
RUNNING_PER_MILLION = 1000


def running_ranges(numbers: int) -> NDArray[np.int64]:
    """Ranges (k, 2) of running statistics, about as many as a ResNet has."""
    starts = np.arange(0, numbers - RUNNING_PER_MILLION, 10**6, dtype=np.int64)
    return np.column_stack([starts, starts + RUNNING_PER_MILLION])


def add_one(workspace: Any, request: TrainRequest) -> Update:
    """Return this site's share of +1 on every weight, and five sums, in place of a training."""
    received = time.time()
    plan = request.plan
    share = np.float32(TRAINING_PATIENTS / plan.total)
    change = np.full(request.weights.size, share, dtype=np.float32)
    note(workspace.name, plan.round + 1, received, time.time())
    return Update(change, np.zeros(0, dtype=np.float32), np.ones(5))


def server_app(payload: str, rounds: int, *, checkpoint: bool) -> ServerApp:
    """Enrolment, then so many rounds.

    Parameters
    ----------
    checkpoint : put the weights by on the disk after every round, as a study does.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        """Send, add up, compare with what must come out."""
        out = Path(str(context.run_config["out"]))
        study = load_study(Path(str(context.run_config["study"])))
        federation = Federation(grid, study, "bench", events=Events(out / "events.jsonl"))
        federation.enrol()
        slot = Slot(Checkpoint(out / "checkpoint", study.digest()), "round")
        weights = np.zeros(numbers_of(payload), dtype=np.float32)
        running = running_ranges(weights.size)
        model = GlobalModel(NetworkSettings(rounds=rounds), weights, running, rounds)
        del weights
        total = TRAINING_PATIENTS * len(study.training_sites)
        for number in range(1, rounds + 1):
            plan = RoundPlan(1, 0.01, -1, total, keep=False, round=number - 1)
            done = federation.train("dl3d", "final", model.weights, running, plan)
            model.update(number - 1, done.update)
            del done
            if checkpoint:
                slot.write({"model": model.state()})
        np.testing.assert_allclose(model.weights[[0, -1]], rounds, rtol=1e-5)

    return app


def _with_network(study: Study, rounds: int) -> Study:
    """Return the study with a network of so many rounds: a site trains nothing else."""
    network = study.dl3d.model_copy(update={"rounds": rounds})
    return study.model_copy(update={"base_models": ("clinical", "dl3d"), "dl3d": network})


def main() -> None:
    """Place the hospitals, then run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--payload", default="tiny")
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--checkpoint", action="store_true")
    options = parser.parse_args()
    os.environ.update(QUIET)
    configure_screen("bench")
    import client.training.round
    from client.app import app as client_app

    vars(client.training.round)["train_network"] = add_one
    folder: Path = options.folder
    study = with_identities(_with_network(study_of(options.sites), options.rounds))
    data = write_hospitals(folder / "data", site_names(options.sites))
    sites = place_sites(data, folder, folder / "cache", exclude_bad_patients=False)
    config = {"study": str(write_study(study, folder / "study.toml")), "out": str(folder)}
    app = server_app(options.payload, options.rounds, checkpoint=options.checkpoint)
    run_in_process(app, client_app, sites, config)


if __name__ == "__main__":
    main()
