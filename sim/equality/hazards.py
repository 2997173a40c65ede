"""A network with a hazard for each period, trained over hospitals against on all patients at once.

One step a round over all of a hospital's patients, averaged by their number, is one step over all
patients: the two trainings then agree to the rounding of single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from client.store.derived_files import DerivedFiles
from client.store.openings import Openings
from client.store.updates import Updates
from client.workspace import Workspace
from common.models import NetworkName
from common.networks.flat import flatten
from common.networks.resnet import build_network, network_with, prepare
from common.statistics.base import Float, Int
from common.study.model import Study
from common.study.networks import NetworkSettings
from server.phases.networks import rows_per_fold, train_variant
from sim.equality.findings import Findings, at_most
from sim.equality.follow_up import GRID, with_times
from sim.equality.sites import (
    GivenFeatures,
    Hospitals,
    federate,
    pooled_rows,
    synthetic_sites,
)
from sim.equality.synthetic import SMALL, SyntheticCohort, generate

NETWORK: NetworkName = "dl3d"
SIZE, FEATURES = 16, 8
SETTINGS = NetworkSettings(
    block="basic",
    layers=(1, 1, 1, 1),
    widths=(4, 8, 8, 8),
    stem_kernel=3,
    stem_stride=2,
    stem_pool=False,
    norm="group",
    input_size=SIZE,
    rounds=4,
    batch_size=256,
    optimiser="sgd",
    momentum=0.0,
    learning_rate=0.05,
    weight_decay=0.0,
    augment=False,
)


class GivenCrops(GivenFeatures):
    """Cubes given by patient, beside features."""

    def __init__(self, patients: Sequence[str], cubes: NDArray[np.float32]) -> None:
        super().__init__((), patients, {})
        self._cubes = cubes

    def crops(
        self, name: NetworkName, patients: Sequence[str]
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
        """Return one cube (S, S, S) of each patient, and the patients' places."""
        cubes = [self._cubes[self._place[patient]] for patient in patients]
        return cubes, np.arange(len(cubes), dtype=np.int64)


def compare_hazards(findings: Findings, study: Study, work: Path, seed: int) -> None:
    """Train a network on times over hospitals and on all patients, and compare both."""
    cohort = with_times(
        generate(replace(SMALL, features=FEATURES, test=(8, 8, 8, 8), single=8), seed), seed
    )
    cubes = cubes_of(cohort, seed)
    # as the hospitals' rows are stacked
    own = np.concatenate([np.flatnonzero(_trains(cohort) & (cohort.site == k)) for k in range(4)])
    federated, traffic, said = _federated(study, cohort, cubes, work)
    pooled, start = _pooled(study, cohort, cubes, own)
    step = findings.step("network of discrete hazards", "torch, double, all patients", traffic)
    apart = np.abs(federated - pooled).max() / np.abs(pooled - start).max()
    step.add(f"weights after {SETTINGS.rounds} rounds, per largest change", apart, at_most(1e-3))
    apart = np.abs(said - _log_hazards(pooled, cubes[own])).max()
    step.add("log cumulative hazard by the horizon", apart, at_most(1e-3))


def _trains(cohort: SyntheticCohort) -> NDArray[np.bool_]:
    return np.asarray(cohort.split == "train")


def periods_of(cohort: SyntheticCohort) -> Int:
    """Return the period in which each follow-up ended."""
    assert cohort.period is not None  # noqa: S101  the cohort has times
    return cohort.period


def cubes_of(cohort: SyntheticCohort, seed: int) -> NDArray[np.float32]:
    """Return a noisy cube of each patient, brighter in its middle the sooner the event."""
    random = np.random.default_rng(seed)
    cubes = random.uniform(0.2, 0.6, (cohort.label.size, SIZE, SIZE, SIZE))
    soon = cohort.label * (1.0 - periods_of(cohort) / GRID.periods)
    middle = slice(SIZE // 4, 3 * SIZE // 4)
    signal = 0.15 * (soon + 0.5 * random.normal(size=soon.size))
    cubes[:, middle, middle, middle] += signal[:, None, None, None]
    return np.clip(cubes, 0.0, 1.0).astype(np.float32)


def _federated(
    study: Study, cohort: SyntheticCohort, cubes: NDArray[np.float32], work: Path
) -> tuple[Float, tuple[int, float], Float]:
    """Return the weights, the traffic, and what the network says of the training patients."""
    imaging = study.imaging.model_copy(update={"crop3d_size": SIZE})
    models = {"base_models": ("clinical", NETWORK), NETWORK: SETTINGS}
    timed = study.model_copy(update={**models, "follow_up": GRID, "imaging": imaging})
    sites = synthetic_sites(cohort, timed, work)
    for place, (name, workspace) in enumerate(sites.items()):
        here = np.flatnonzero(cohort.site == place)
        _give_crops(workspace, [f"{name}{i:04d}" for i in range(here.size)], cubes[here])
    federation = federate(timed, Hospitals(sites))
    folds = rows_per_fold(federation)
    federation.transfers.phase = NETWORK
    found = train_variant(federation, NETWORK, "final", folds, SETTINGS.rounds)
    rows = pooled_rows(sites, timed, f"{NETWORK}/final/hazard", "train")
    weights = np.asarray(found.weights, dtype=np.float64)
    return weights, federation.traffic(NETWORK), rows.values[:, 0]


def _give_crops(workspace: Workspace, ids: Sequence[str], cubes: NDArray[np.float32]) -> None:
    """Give a site in memory its patients' cubes, and what training keeps."""
    workspace.images = GivenCrops(ids, cubes)
    settings, study, run = workspace.settings, workspace.study, workspace.run
    workspace.openings = Openings(settings, study, run, workspace.masks)
    workspace.derived = DerivedFiles(workspace.run_tables.folder)
    workspace.updates = Updates(workspace.run_tables.folder, workspace.draft, kept=False)


def _pooled(
    study: Study, cohort: SyntheticCohort, cubes: NDArray[np.float32], own: Int
) -> tuple[Float, Float]:
    """Train on all patients with torch alone; return the weights, and those it began with."""
    network = build_network(NETWORK, SETTINGS, study.seed, GRID.periods).double()
    start = np.asarray(flatten(network), dtype=np.float64)
    images = prepare(NETWORK, torch.from_numpy(cubes[own]).double())
    optimiser = torch.optim.SGD(network.parameters(), lr=SETTINGS.learning_rate)
    for _ in range(SETTINGS.rounds):
        optimiser.zero_grad()
        _, logits = network.train()(images)
        _likelihood(logits, cohort.label[own], periods_of(cohort)[own]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return np.asarray(flatten(network), dtype=np.float64), start


def _likelihood(logits: torch.Tensor, label: Int, period: Int) -> torch.Tensor:
    """Return the mean negative log-likelihood, patient by patient from the definition."""
    hazard = torch.sigmoid(logits)
    total = logits.new_zeros(())
    for own, happened, last in zip(hazard, label.tolist(), period.tolist(), strict=True):
        survived = torch.log1p(-own[: last + (1 - happened)]).sum()
        total = total - survived - (torch.log(own[last]) if happened else 0.0)
    return total / len(label)


def _log_hazards(weights: Float, cubes: NDArray[np.float32]) -> Float:
    """Return the logarithm of each patient's cumulative hazard by the first horizon."""
    network = network_with(weights.astype(np.float32), NETWORK, SETTINGS, GRID.periods).eval()
    with torch.no_grad():
        _, logits = network(prepare(NETWORK, torch.from_numpy(cubes)))
    through = 1.0 - torch.sigmoid(logits.double()[:, : GRID.last_periods[0] + 1])
    return np.asarray(np.log(-np.log(through.prod(dim=1).numpy())))
