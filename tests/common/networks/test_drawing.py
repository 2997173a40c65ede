from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from torch import nn

from common.models import NetworkName
from common.networks.flat import flatten, parameter_parts
from common.networks.resnet import build_network, uniform
from common.study.networks import NetworkSettings

SMALL = NetworkSettings(layers=(1, 1, 1, 1), widths=(4, 4, 8, 8))


@pytest.mark.parametrize(
    ("kind", "digest"), [("dl2d", "7d167b9aff3fce6e"), ("dl3d", "e1809f4b729f241a")]
)
def test_a_seed_gives_these_bits_and_no_others(kind: NetworkName, digest: str) -> None:
    weights = flatten(build_network(kind, SMALL, seed=5))
    assert hashlib.sha256(weights.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
def test_layers_have_the_deviations_of_he_and_no_two_are_alike(kind: NetworkName) -> None:
    network = build_network(kind, NetworkSettings(layers=(1, 1, 1, 1)), seed=1)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    for layer in convolutions:
        weight = layer.weight.detach()
        outputs = weight.shape[0] * math.prod(weight.shape[2:])
        assert float(weight.std()) == pytest.approx(math.sqrt(2.0 / outputs), rel=0.05)
        assert abs(float(weight.mean())) < 0.05 * float(weight.std())
    starts = {
        tuple((layer.weight / layer.weight.abs().max()).flatten()[:3].tolist())
        for layer in convolutions
    }
    assert len(starts) == len(convolutions)
    assert float(network.head.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert float(network.head.bias.detach()) == 0.0


def test_nothing_but_convolutions_and_the_head_is_drawn() -> None:
    network = build_network("dl2d", SMALL, seed=1)
    drawn = parameter_parts(network, flatten(network))
    norms = {name: part for name, part in drawn.items() if "bn" in name or "downsample.1" in name}
    assert norms
    for name, part in norms.items():
        assert set(part.tolist()) == {1.0 if name.endswith("weight") else 0.0}, name


def test_the_memory_that_a_layer_is_made_in_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = flatten(build_network("dl3d", SMALL, seed=2))
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *given, **more: empty(*given, **more).fill_(7))
    np.testing.assert_array_equal(flatten(build_network("dl3d", SMALL, seed=2)), first)


def test_numbers_fill_the_range_and_streams_differ() -> None:
    drawn = uniform(200_000, 0.5, seed=-1, stream=3)
    assert drawn.dtype == np.float32
    assert -0.5 <= drawn.min() < -0.499
    assert 0.499 < drawn.max() < 0.5
    counts = np.histogram(drawn, bins=20, range=(-0.5, 0.5))[0]
    assert np.abs(counts - 10_000).max() < 500
    assert not np.array_equal(drawn, uniform(200_000, 0.5, seed=-1, stream=4))
    assert not np.array_equal(drawn, uniform(200_000, 0.5, seed=7, stream=3))
