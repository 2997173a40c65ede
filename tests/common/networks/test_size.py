"""Networks counted from their settings have the numbers that torch says."""

from __future__ import annotations

from typing import Any

import pytest

from common.models import NetworkName
from common.networks.flat import flatten, running_ranges
from common.networks.resnet import build_network
from common.networks.size import network_size
from common.study.model import NetworkSettings

SETTINGS: list[dict[str, Any]] = [
    {"block": "basic", "layers": (1, 1, 1, 1), "widths": (8, 16, 24, 64), "stem_kernel": 5},
    {"block": "basic", "layers": (2, 1, 3, 1), "widths": (8, 8, 8, 8), "norm": "group"},
    {"block": "bottleneck", "layers": (1, 2, 1, 1), "widths": (4, 8, 8, 16)},
    {"block": "bottleneck", "layers": (2, 1, 1, 2), "widths": (16, 8, 4, 8), "norm": "group"},
    {"block": "basic", "layers": (2, 1, 1, 1), "widths": (4, 8, 8, 16), "shortcut": "A"},
    {"block": "basic", "layers": (1, 1, 1, 2), "widths": (4, 4, 8, 8), "dilated": True},
    {"block": "basic", "widths": (4, 4, 8, 8), "norm": "frozen", "pretrained": "weights.pth"},
]


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
@pytest.mark.parametrize("chosen", SETTINGS)
def test_a_network_is_counted_as_torch_counts_it(kind: NetworkName, chosen: dict[str, Any]) -> None:
    settings = NetworkSettings(**chosen)
    model = build_network(kind, settings, seed=1)
    ranges = running_ranges(model)
    running = int((ranges[:, 1] - ranges[:, 0]).sum())
    assert network_size(kind, settings) == (flatten(model).size, running)
    several = flatten(build_network(kind, settings, seed=1, outputs=7)).size
    assert network_size(kind, settings, 7) == (several, running)


def test_the_papers_2d_network_is_a_resnet_50() -> None:
    size, running = network_size("dl2d", NetworkSettings())
    # torchvision: 25,557,032 parameters with 1000 outputs of 2048 weights and a bias each
    assert size - running == 25_557_032 - 999 * 2049
