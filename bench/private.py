"""Cost of privacy for the phantom's 3D network: AUC against epsilon, as a Markdown table.

python bench/private.py PHANTOM_FOLDER [--rounds 20] [--batch-size 4] [--learning-rate 0.002] ...

Plain federated averaging in this process: no masks, no folds. The folder comes from
`fedlnm-sim phantom`; the crops are kept in its folder `crops`. DP-SGD: Abadi et al. 2016.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from client.data.cohort import Patient, read_cohort
from client.imaging.prepared import PreparedImages, prepare_images
from client.site import SiteSettings
from client.store.privacy_budget import Spending, epsilon_of
from client.training.batches import Crops
from client.training.device import CPU
from client.training.dp_sgd import train_privately
from client.training.draws import Draws
from client.training.loop import infer
from common.networks.flat import flatten, load_flat
from common.networks.resnet import ScoringNetwork, build_network
from common.networks.schedule import averaged_rounds, learning_rate_at
from common.statistics.base import Float
from common.study.model import Study, load_study
from common.study.networks import NetworkSettings
from common.study.private_training import DifferentialPrivacy

NOISE = (0.0, 0.5, 0.8, 1.2, 2.0)
Hospital = tuple[list[Patient], PreparedImages]


def hospitals_of(folder: Path, study: Study) -> dict[str, Hospital]:
    """Every hospital's patients and crops."""
    found: dict[str, Hospital] = {}
    for name in study.site_names:
        cohort = read_cohort(folder / name, name, study)
        settings = SiteSettings(name=name, cache=folder / "crops")
        images, problems = prepare_images(cohort.patients, settings, study)
        assert not problems
        found[name] = (cohort.patients, images)
    return found


def crops_of(hospital: Hospital, split: str) -> Crops:
    """The 3D crops of one split."""
    patients = [p for p in hospital[0] if p.split == split]
    images, index = hospital[1].crops("dl3d", [p.patient_id for p in patients])
    label = np.array([p.label for p in patients], dtype=np.float32)
    return Crops(images=images, patient=index, label=label[index])


def train(
    sites: list[Crops], settings: NetworkSettings, private: DifferentialPrivacy, seed: int
) -> tuple[ScoringNetwork, list[list[Spending]]]:
    """The mean of the last rounds' weights, and what each site spent."""
    model = build_network("dl3d", settings, seed)
    weights, late = flatten(model), []
    spent: list[list[Spending]] = [[] for _ in sites]
    total = sum(len(crops.images) for crops in sites)
    for number in range(settings.rounds):
        change = np.zeros_like(weights)
        for site, (crops, ledger) in enumerate(zip(sites, spent, strict=True)):
            draws = Draws(b"%d" % site, "bench", "dl3d", "final", seed, number)
            load_flat(model, weights)
            result = train_privately(
                model,
                "dl3d",
                crops,
                settings=settings,
                private=private,
                learning_rate=learning_rate_at(settings, number),
                epochs=settings.local_epochs,
                generator=draws.generator("drawn and noise"),
            )
            change += (flatten(model) - weights) * (len(crops.images) / total)
            numbers = (result.noise_multiplier, result.sample_rate, result.steps)
            ledger.append(Spending("dl3d", "final", *numbers))
        weights = weights + change
        if number >= settings.rounds - averaged_rounds(settings):
            late.append(weights)
    load_flat(model, np.mean(late, axis=0))
    return model, spent


def auc(model: ScoringNetwork, tests: list[Crops], settings: NetworkSettings) -> float:
    """Return the AUC of all test patients together."""
    found: list[Float] = [
        infer(model, "dl3d", crops, settings, len(crops.images), CPU)[1] for crops in tests
    ]
    scores = np.concatenate(found)
    label = np.concatenate([crops.label for crops in tests])
    # a network that noise has driven to infinity says nothing of anybody
    higher = np.nan_to_num(scores)[label > 0][:, None] - np.nan_to_num(scores)[label == 0]
    return float(((higher > 0) + 0.5 * (higher == 0)).mean())


def row(
    noise: float,
    epsilon: float,
    aucs: list[float],
) -> str:
    """One line of the table."""
    bound = "none" if math.isinf(epsilon) else f"{epsilon:.1f}"
    return f"| {noise} | {bound} | {np.mean(aucs):.3f} ({min(aucs):.3f}-{max(aucs):.3f}) |"


def options() -> argparse.Namespace:
    """Settings to vary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", type=float, nargs="+", default=NOISE)
    parser.add_argument("--norm", type=float, default=1.0, help="largest norm of a gradient")
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    return parser.parse_args()


def main() -> None:
    """Print the table, a line as soon as it is known."""
    chosen = options()
    torch.set_num_threads(1)
    study = load_study(chosen.folder / "study.toml").model_copy(update={"base_models": ("dl3d",)})
    names = ("rounds", "batch_size", "learning_rate")
    asked = {name: value for name in names if (value := getattr(chosen, name)) is not None}
    settings = NetworkSettings.model_validate(study.dl3d.model_dump() | {"norm": "group"} | asked)
    hospitals = hospitals_of(chosen.folder, study)
    sites = [crops_of(hospitals[name], "train") for name in study.training_sites]
    test = study.test_set("external_1")
    tests = [crops_of(hospitals[name], "external_test") for name in test.sites]
    print(
        f"{settings.rounds} rounds, batches of {settings.batch_size}, {settings.optimiser}", end=""
    )
    print(f" {settings.learning_rate}, norm {chosen.norm}, delta {chosen.delta}\n")
    print(
        f"| noise | epsilon, worst hospital | AUC on external_1, mean of {chosen.seeds} (range) |"
    )
    print("|---|---|---|", flush=True)
    for noise in chosen.noise:
        private = DifferentialPrivacy(
            noise_multiplier=noise, max_gradient_norm=chosen.norm, delta=chosen.delta
        )
        runs = [train(sites, settings, private, seed) for seed in range(chosen.seeds)]
        epsilon = max(epsilon_of(spent, private.delta) for spent in runs[0][1])
        aucs = [auc(model, tests, settings) for model, _ in runs]
        print(row(noise, epsilon, aucs), flush=True)


if __name__ == "__main__":
    main()
