"""Activations reckoned from the settings are those that torch keeps."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from client.check.machine import FLOAT, activations, crop_voxels, training_bytes
from common.models import NetworkName, network_input
from common.networks.resnet import build_network
from common.study.model import ImagingSettings, NetworkSettings

NARROW: dict[str, Any] = {
    "block": "basic",
    "layers": (1, 1, 1, 1),
    "widths": (8, 24, 48, 64),
    "stem_kernel": 5,
}


def kept(kind: NetworkName, settings: NetworkSettings, batch: int) -> int:
    """Bytes that torch keeps for the gradient, weights left out."""
    network = build_network(kind, settings, 0).train()
    found: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)  # or its memory would be used again
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    size = [settings.input_size] * (3 if kind == "dl3d" else 2)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.randn(batch, network_input(kind).channels, *size))
    own = itertools.chain(network.parameters(), network.buffers())
    for tensor in own:
        found.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(found.values())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("dl2d", {"input_size": 64}),
        ("dl2d", {"input_size": 49, "stem_pool": False, **NARROW}),
        ("dl3d", {"input_size": 32, "stem_pool": False, **NARROW}),
        ("dl3d", {"input_size": 33, "stem_stride": 1, **NARROW}),
        ("dl3d", {"input_size": 48, "dilated": True, **NARROW}),
        ("dl3d", {"input_size": 32, "shortcut": "A", "stem_pool": False, **NARROW}),
    ],
)
def test_what_is_kept_for_the_gradient(kind: NetworkName, settings: dict[str, Any]) -> None:
    network = NetworkSettings(**settings)
    reckoned = 2 * FLOAT * sum(activations(kind, network))
    assert reckoned == pytest.approx(kept(kind, network, 2), rel=0.05)


def test_the_papers_3d_network_takes_some_gigabytes() -> None:
    assert 3e9 < training_bytes("dl3d", NetworkSettings()) < 2e10


def test_crops_of_a_patient() -> None:
    imaging = ImagingSettings(crop2d_size=40, crop2d_slices_each_side=2, crop3d_size=28)
    assert crop_voxels("dl2d", imaging) == 5 * 40 * 40
    assert crop_voxels("dl3d", imaging) == 28**3
