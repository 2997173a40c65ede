"""Networks at a site: local training, features for fusion, scores for evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.batches import Crops
from client.cohort import Patient
from client.compute import Compute, find_compute
from client.state import StoredTable
from client.training import infer, loss_of, train_locally
from client.workspace import SCREEN, Workspace
from common.bundle import Bundle
from common.exchanges import TrainRequest
from common.networks.flat import flatten
from common.networks.resnet import Kind, network_with
from common.statistics.base import Float
from common.study import Study
from common.study_networks import NetworkSettings


def network_settings(study: Study, kind: Kind) -> NetworkSettings:
    """The study's block of this network."""
    return study.dl2d if kind == "dl2d" else study.dl3d


def _kind(name: str) -> Kind:
    if name == "dl2d":
        return "dl2d"
    if name == "dl3d":
        return "dl3d"
    raise ValueError("unknown network")


def compute_of(workspace: Workspace) -> Compute:
    """The device that site.toml asks for; see `find_compute`."""
    return find_compute(workspace.settings.device, workspace.settings.loaders)


def _network(study: Study, kind: Kind, weights: Any) -> Any:
    return network_with(weights, kind, network_settings(study, kind))


def _crops(workspace: Workspace, kind: Kind, patients: Sequence[Patient]) -> Crops:
    if workspace.images is None:
        raise ValueError("this study has no images")
    images, index = workspace.images.crops(kind, [p.patient_id for p in patients])
    label = np.array([p.label for p in patients], dtype=np.float32)
    return Crops(images=images, patient=index, label=label[index])


def _own_seed(seed: int, site: str) -> int:
    """The round's seed mixed with the site's name, so that no two sites draw the same numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{site}".encode()).digest()[:6], "big")


def train_network(workspace: Workspace, request: TrainRequest) -> tuple[NDArray[np.float32], Float]:
    """One round at this site: its weighted change of the weights, and four loss sums.

    See `RoundPlan`; the change is empty when no epoch was asked for.
    """
    kind, plan, compute = _kind(request.network), request.plan, compute_of(workspace)
    settings = network_settings(workspace.study, kind)
    patients = workspace.cohort.subset(workspace.study, "train")
    used = [p for p in patients if p.fold != plan.excluded_fold]
    held_out = [p for p in patients if p.fold == plan.excluded_fold]
    model = _network(workspace.study, kind, request.weights)
    change = np.zeros(0, dtype=np.float32)
    losses = np.zeros(4)
    if plan.epochs:
        result = train_locally(
            model,
            kind,
            _crops(workspace, kind, used),
            settings=settings,
            learning_rate=plan.learning_rate,
            epochs=plan.epochs,
            seed=_own_seed(plan.seed, workspace.name),
            compute=compute,
        )
        losses[:2] = result.loss_sum, result.samples
        share = np.float32(len(used) / plan.total)
        change = (flatten(model) - request.weights) * share
    if plan.keep:
        losses[2:] = keep_features(workspace, request, model, patients, held_out)
    told = (workspace.name, request.network, request.variant, compute.words())
    SCREEN.debug("site %s: %s %s on %s", *told)
    return change, losses


def keep_features(
    workspace: Workspace,
    request: TrainRequest,
    model: Any,
    patients: Sequence[Patient],
    held_out: Sequence[Patient],
) -> tuple[float, float]:
    """Store features and probabilities of the training patients; held-out loss sum and count."""
    kind = _kind(request.network)
    store_inference(workspace, model, kind, request.variant, "train", patients)
    if not held_out:
        return 0.0, 0.0
    settings = network_settings(workspace.study, kind)
    crops = _crops(workspace, kind, held_out)
    loss_sum, count = loss_of(model, kind, crops, settings, compute_of(workspace))
    return loss_sum, float(count)


def store_inference(
    workspace: Workspace,
    model: Any,
    kind: Kind,
    variant: str,
    subset: str,
    patients: Sequence[Patient],
) -> None:
    """Write the tables `KIND/VARIANT/features` and `.../probability` of these patients."""
    settings = network_settings(workspace.study, kind)
    crops = _crops(workspace, kind, patients)
    compute = compute_of(workspace)
    features, probability = infer(model, kind, crops, settings, len(patients), compute)
    ids = tuple(p.patient_id for p in patients)
    names = tuple(f"{kind}_{i}" for i in range(features.shape[1]))
    tables = workspace.run_tables
    table = StoredTable(ids, names, features.astype(np.float64))
    tables.write(f"{kind}/{variant}/features", subset, table)
    table = StoredTable(ids, (kind,), probability.astype(np.float64)[:, None])
    tables.write(f"{kind}/{variant}/probability", subset, table)


def score_networks(workspace: Workspace, bundle: Bundle, subset: str) -> None:
    """Run the bundle's networks over the test patients of a subset."""
    patients = workspace.cohort.subset(workspace.study, subset)
    for name, weights in bundle.networks.items():
        kind = _kind(name)
        model = _network(workspace.study, kind, weights)
        store_inference(workspace, model, kind, "final", subset, patients)
