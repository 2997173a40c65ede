"""Every strategy from the sites' training to the next weights, against numpy by hand.

Two sites in the clear and three under masks; real local training, rings, masks and totals, on a toy
network whose gradients can be written down: one normalisation and a linear output.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from client.store.draw_secret import draw_secret
from client.store.run_files import RunTables
from client.training import round as site_round
from client.training.batches import Crops, batches_an_epoch, training_draws
from client.training.draws import Draws
from common.masking.narrow import Grid
from common.masking.pairwise import mask_vector
from common.masking.update import to_update_rings
from common.messages.exchanges import RoundPlan, TrainReply, TrainRequest
from common.networks.flat import flatten, load_flat, running_ranges
from common.study.model import NetworkSettings, PrivacySettings
from common.study.private_training import DifferentialPrivacy
from server.federation.totals import UpdateTotals
from strategies.base import AggregatedUpdate
from strategies.model import GlobalModel

SIDE, ROUNDS, RATE = 3, 3, 0.1
PATIENTS = {"a": 8, "b": 5, "c": 12}
SGD: dict[str, Any] = {
    "optimiser": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "batch_size": 4,
    "input_size": 16,
    "norm": "group",
    "augment": False,
    "local_epochs": 2,
}
NAMES = ["fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedbn", "scaffold", "fednova"]


class Toy(nn.Module):
    """(n, 1, S, S, S) -> features and logits."""

    width = SIDE**3

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, 1)
        self.head = nn.Linear(self.width, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.norm(images).flatten(1)
        return features, self.head(features).squeeze(1)


@dataclasses.dataclass
class Site:
    """One hospital of the toy: crops in memory, a run's folder on disk."""

    name: str
    workspace: Any
    crops: Crops


def make_site(name: str, settings: NetworkSettings, folder: Path, sites: int) -> Site:
    rng = np.random.default_rng(ord(name))
    n = PATIENTS[name]
    images = rng.uniform(0, 1, (n, SIDE, SIDE, SIDE)).astype(np.float32)
    label = (np.arange(n) % 2).astype(np.float32)
    crops = Crops(images, np.arange(n), label)
    training_sites = tuple("abc"[:sites])
    study = SimpleNamespace(
        network=lambda name: settings,
        training_sites=training_sites,
        differential_privacy=DifferentialPrivacy(),
        seed=1,
    )
    patients = [SimpleNamespace(fold=k % 3, index=k) for k in range(n)]
    workspace = SimpleNamespace(
        name=name,
        study=study,
        settings=SimpleNamespace(device="cpu", loaders=0, work=folder / name / "work"),
        privacy=PrivacySettings(min_rows=1),
        run_tables=RunTables(folder / name, "run"),
        cohort=SimpleNamespace(subset=lambda study, subset: patients),
    )
    return Site(name, workspace, crops)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy network and crops from memory in place of a study's."""

    def network(study: Any, kind: Any, weights: Any) -> Toy:
        made = Toy()
        load_flat(made, weights)
        return made

    monkeypatch.setattr(site_round, "network_of", network)


@pytest.fixture
def sites_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(settings: NetworkSettings, count: int) -> dict[str, Site]:
        made = {name: make_site(name, settings, tmp_path, count) for name in "abc"[:count]}

        def crops(workspace: Any, kind: Any, patients: Any) -> Crops:
            own, chosen = made[workspace.name].crops, [p.index for p in patients]
            return Crops(own.images[chosen], np.arange(len(chosen)), own.label[chosen])

        monkeypatch.setattr(site_round, "crops_of", crops)
        return made

    return make


def masked(reply: TrainReply, name: str, names: list[str], number: int) -> TrainReply:
    """Under the masks of all pairs; they cancel in the sum."""
    pairs = {other: bytes(sorted((ord(name), ord(other)))) * 16 for other in names if other != name}
    rings = {
        ring: mask_vector(getattr(reply, ring), pairs, name, f"{number}/{ring}".encode())
        for ring in ("parameters", "statistics")
        if getattr(reply, ring).size
    }
    return dataclasses.replace(reply, **rings)


def plan_of(number: int, total: int) -> RoundPlan:
    return RoundPlan(1, RATE, 2, total, False, round=number)


def left(site: Site) -> int:
    """Patients outside fold 2, which is left out."""
    return sum(p.fold != 2 for p in site.workspace.cohort.subset(None, "train"))


def federated(
    settings: NetworkSettings, sites: Mapping[str, Site], start: Any, *, under_masks: bool
) -> Any:
    """The weights after all rounds, by the product."""
    running = running_ranges(Toy())
    model = GlobalModel(settings, start, running, ROUNDS)
    total = sum(left(site) for site in sites.values())
    for number in range(ROUNDS):
        plan = dataclasses.replace(plan_of(number, total), epochs=settings.local_epochs)
        request = TrainRequest(
            "r", "s", "x", number, "dl3d", "final", model.weights, running, plan, (), model.control
        )
        totals = UpdateTotals(request)
        for name, site in sites.items():
            update = site_round.train_network(site.workspace, request)
            rings = to_update_rings(update, running, len(sites), plan.grid)
            reply = TrainReply(name, "x", number, "d", rings.parameters, rings.statistics)
            totals.add(name, masked(reply, name, list(sites), number) if under_masks else reply)
        found = totals.results()
        model.update(number, AggregatedUpdate(found.change, found.control, float(found.sums[4])))
    return model.weights


# -- by hand -------------------------------------------------------------------------------------


def batches(site: Site, settings: NetworkSettings, number: int) -> list[Any]:
    """The batches that the site draws, as normalised voxels and labels."""
    chosen = [p.index for p in site.workspace.cohort.subset(None, "train") if p.fold != 2]
    images, label = site.crops.images[chosen], site.crops.label[chosen]
    crops = Crops(images, np.arange(len(chosen)), label)
    secret = draw_secret(site.workspace.settings.work)
    generator = Draws(secret, "r", "dl3d", "final", 1, number).generator("batches")
    steps = settings.local_epochs * batches_an_epoch(len(chosen), settings.batch_size)
    found = []
    for draw in islice(training_draws(crops, settings, generator), steps):
        x = (images[draw.chosen].reshape(len(draw.chosen), -1).astype(np.float64) - 0.5) / 0.25
        centred = x - x.mean(1, keepdims=True)
        found.append((centred / np.sqrt(x.var(1, keepdims=True) + 1e-5), label[draw.chosen]))
    return found


def gradient(w: Any, x: Any, label: Any) -> Any:
    """Gradient of the mean cross-entropy; w = factor, offset, weights of the output, its bias."""
    factor, offset, out, bias = w[0], w[1], w[2:-1], w[-1]
    logit = (factor * x + offset) @ out + bias
    wrong = (1 / (1 + np.exp(-logit)) - label) / len(label)
    return np.concatenate(
        [
            [wrong @ (x @ out), wrong.sum() * out.sum()],
            (factor * x + offset).T @ wrong,
            [wrong.sum()],
        ]
    )


def by_hand(settings: NetworkSettings, sites: Mapping[str, Site], start: Any) -> Any:
    """The same rounds, written down from the papers."""
    name, options = settings.strategy, settings.strategy_options
    x, c = start.astype(np.float64), np.zeros(start.size)
    own_c = {site: np.zeros(start.size) for site in sites}
    own_norm: dict[str, Any] = {}
    speed, m, v = np.zeros(start.size), np.zeros(start.size), np.zeros(start.size)
    total = sum(left(site) for site in sites.values())
    for number in range(ROUNDS):
        mean, mean_c, over, mean_steps = np.zeros(x.size), np.zeros(x.size), np.zeros(x.size), 0.0
        for key, site in sites.items():
            p, y = left(site) / total, x.copy()
            if name == "fedbn" and key in own_norm:
                y[:2] = own_norm[key]
            sent = y.copy()
            drawn = batches(site, settings, number)
            for voxels, label in drawn:
                step = gradient(y, voxels, label)
                if name == "fedprox":
                    step = step + options.proximal_mu * (y - sent)
                if name == "scaffold":
                    step = step - own_c[key] + c
                y = y - RATE * step
            own_norm[key] = y[:2].copy()
            k = len(drawn)
            if name == "scaffold":  # option II of the paper
                new = own_c[key] - c + (x - y) / (k * RATE)
                mean_c += p * (new - own_c[key])
                own_c[key] = new
            mean += p * (y - x)
            over += p * (y - x) / k
            mean_steps += p * k
        c = c + mean_c
        if name == "fedavgm":
            speed = options.server_momentum * speed - mean
            x = x - (options.server_rate or 1.0) * speed
        elif name in ("fedadam", "fedyogi"):
            b1, b2, rate = options.beta_1, options.beta_2, options.server_rate or 0.01
            m = b1 * m + (1 - b1) * mean
            if name == "fedadam":
                v = b2 * v + (1 - b2) * mean**2
                rate *= np.sqrt(1 - b2 ** (number + 2)) / (1 - b1 ** (number + 2))
            else:
                v = v - (1 - b2) * mean**2 * np.sign(v - mean**2)
            x = x + rate * m / (np.sqrt(v) + options.tau)
        elif name == "fednova":
            x = x + mean_steps * over
        else:
            x = x + mean
    return x


@pytest.fixture
def start() -> Any:
    torch.manual_seed(5)
    return flatten(Toy())


def settings_of(name: str, **more: Any) -> NetworkSettings:
    """Crops of three voxels a side: smaller than a study may have."""
    made = NetworkSettings(**{**SGD, "strategy": name, **more})
    return made.model_copy(update={"input_size": SIDE})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("count", "under_masks"), [(2, False), (3, False), (3, True)])
def test_the_weights_are_those_by_hand(
    name: str, count: int, under_masks: bool, sites_of: Any, start: Any
) -> None:
    settings = settings_of(name)
    sites = sites_of(settings, count)
    found = federated(settings, sites, start, under_masks=under_masks)
    np.testing.assert_allclose(found, by_hand(settings, sites, start), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_masks_change_no_bit(name: str, sites_of: Any, start: Any) -> None:
    settings = settings_of(name)
    clear = federated(settings, sites_of(settings, 3), start, under_masks=False)
    hidden = federated(settings, sites_of(settings, 3), start, under_masks=True)
    assert clear.tobytes() == hidden.tobytes()


def test_the_strategies_differ(sites_of: Any, start: Any) -> None:
    found = {}
    for name in NAMES:
        settings = settings_of(name, strategy_options={"proximal_mu": 0.5})
        found[name] = federated(settings, sites_of(settings, 2), start, under_masks=False)
    for name in NAMES[1:]:
        assert np.abs(found[name] - found["fedavg"]).max() > 1e-5, name


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_effective_steps_are_the_sum_of_what_each_gradient_moves(
    momentum: float, steps: int
) -> None:
    settings = NetworkSettings(optimiser="sgd", momentum=momentum)
    speed = moved = 0.0
    for _ in range(steps):  # of a constant gradient of one
        speed = momentum * speed + 1.0
        moved += speed
    assert site_round.effective_steps(settings, steps) == pytest.approx(moved)


# -- sixteen bits ----------------------------------------------------------------------------------


def test_rounding_is_made_up_for_in_later_rounds(sites_of: Any, start: Any) -> None:
    settings = settings_of("fedavg", transfer_bits=16)
    sites = sites_of(settings, 2)
    running, sent, true = running_ranges(Toy()), 0.0, 0.0
    total, grid = sum(left(site) for site in sites.values()), Grid(16, (2.0**-8,))
    for number in range(6):
        plan = dataclasses.replace(plan_of(number, total), grid=grid)
        request = TrainRequest("r", "s", "x", number, "dl3d", "final", start, running, plan, ())
        update = site_round.train_network(sites["a"].workspace, request)
        multiples = update.change / grid.steps[0]
        assert np.array_equal(multiples, np.rint(multiples))
        sent = sent + update.change.astype(np.float64)
        plain = SimpleNamespace(network=lambda name: settings_of("fedavg"))
        other = Site("a", SimpleNamespace(**vars(sites["a"].workspace)), sites["a"].crops)
        other.workspace.study = SimpleNamespace(
            **{**vars(sites["a"].workspace.study), **vars(plain)}
        )
        true = true + site_round.train_network(other.workspace, request).change
    # what is left out after six rounds is one rounding, not six
    assert np.abs(sent - true).max() <= grid.steps[0] / 2 + 1e-6
