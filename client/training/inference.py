"""Networks at a site: their crops, features for fusion, scores for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.data.cohort import Patient
from client.store.run_files import StoredTable
from client.training.batches import Crops
from client.training.device import Compute, find_compute
from client.training.loop import infer
from client.training.state import TrainingState
from client.workspace import Workspace
from common.bundle.bundle import Bundle
from common.models import NetworkName, network_name
from common.networks.flat import load_flat, with_parts
from common.networks.resnet import network_with
from common.study.model import Study
from strategies.base import make_strategy


def compute_of(workspace: Workspace) -> Compute:
    """Return the device that site.toml asks for; see `find_compute`."""
    return find_compute(workspace.settings.device, workspace.settings.loaders)


def network_of(study: Study, kind: NetworkName, weights: Any) -> Any:
    """Return the study's network with these weights."""
    return network_with(weights, kind, study.network(kind), study.network_outputs)


def crops_of(workspace: Workspace, kind: NetworkName, patients: Sequence[Patient]) -> Crops:
    """Return the crops of these patients, with their labels and times."""
    study = workspace.study
    if workspace.images is None:
        raise ValueError("this study has no images")
    images, index = workspace.images.crops(kind, [p.patient_id for p in patients])
    label = np.array([p.label for p in patients], dtype=np.float32)
    period = None
    if study.follow_up is not None:
        period = np.array([p.period for p in patients], dtype=np.int64)[index]
    return Crops(images=images, patient=index, label=label[index], period=period)


def store_inference(
    workspace: Workspace,
    model: Any,
    kind: NetworkName,
    variant: str,
    subset: str,
    patients: Sequence[Patient],
    made_by: str,
) -> None:
    """Write the tables of `network_tables` for these patients."""
    study = workspace.study
    crops = crops_of(workspace, kind, patients)
    ids = tuple(p.patient_id for p in patients)
    found = network_tables(study, model, kind, variant, crops, len(ids), compute_of(workspace))
    for name, (columns, values) in found.items():
        workspace.run_tables.write(name, subset, StoredTable(ids, columns, values, made_by))


def network_tables(
    study: Study,
    model: Any,
    kind: NetworkName,
    variant: str,
    crops: Crops,
    patients: int,
    compute: Compute,
) -> dict[str, tuple[tuple[str, ...], NDArray[np.float64]]]:
    """Return columns and values (patients, columns) of a network's base tables, by name.

    They are `KIND/VARIANT/features` and `.../probability`; of a time to event `.../hazard`, the
    logarithm of the cumulative hazard by the first horizon.
    """
    last = None if study.follow_up is None else study.follow_up.last_periods[0]
    settings = study.network(kind)
    features, answers = infer(model, kind, crops, settings, patients, compute, last)
    names = tuple(f"{kind}_{i}" for i in range(features.shape[1]))
    return {
        f"{kind}/{variant}/features": (names, features.astype(np.float64)),
        f"{kind}/{variant}/{study.network_answer}": ((kind,), answers[:, None]),
    }


def own_layers(folder: Path, network: str, variant: str) -> TrainingState:
    """Return the layers that a site keeps for itself in one run, where the strategy has such."""
    return TrainingState(folder, network, variant, "own")


def score_networks(workspace: Workspace, bundle: Bundle, subset: str, made_by: str) -> None:
    """Run the bundle's networks over the test patients of a subset.

    Where the strategy lets a site keep layers of its own, one that trained uses these; others use
    the mean of all.
    """
    patients = workspace.cohort.subset(workspace.study, subset)
    for name, weights in bundle.networks.items():
        kind = network_name(name)
        own = own_layers(workspace.run_tables.folder, name, "final").kept()
        model = network_of(workspace.study, kind, weights)
        if own is not None:
            strategy = make_strategy(workspace.study.network(kind))
            load_flat(model, with_parts(weights, strategy.own_ranges(model), own))
        store_inference(workspace, model, kind, "final", subset, patients, made_by)
