"""Weights survive the way to a vector and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.networks.flat import flatten, load_flat
from common.networks.resnet import build_network
from common.study.model import NetworkSettings

SETTINGS = NetworkSettings(block="basic", layers=(1, 1, 1, 1), widths=(4, 4, 8, 8), stem_kernel=3)


def test_round_trip_is_exact_with_running_statistics() -> None:
    model = build_network("dl3d", SETTINGS, seed=1)
    model(torch.rand(2, 1, 16, 16, 16))
    other = build_network("dl3d", SETTINGS, seed=2)
    load_flat(other, flatten(model))
    assert np.array_equal(flatten(other), flatten(model))
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(other.state_dict()[name], value), name


def test_every_floating_entry_is_in_the_vector_and_no_counter() -> None:
    model = build_network("dl2d", SETTINGS, seed=1)
    state = model.state_dict()
    counters = {name for name in state if name.endswith("num_batches_tracked")}
    assert counters
    assert any(name.endswith("running_var") for name in state.keys() - counters)
    assert flatten(model).size == sum(state[name].numel() for name in state.keys() - counters)


def test_order_is_that_of_the_state_dict() -> None:
    model = build_network("dl2d", SETTINGS, seed=1)
    first = model.state_dict()["backbone.conv1.weight"].reshape(-1).numpy()
    assert np.array_equal(flatten(model)[: first.size], first)


def test_memory_format_does_not_change_the_vector() -> None:
    model = build_network("dl2d", SETTINGS, seed=1)
    before = flatten(model)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert np.array_equal(flatten(model), before)


def test_vector_is_a_copy() -> None:
    model = build_network("dl2d", SETTINGS, seed=1)
    vector = flatten(model)
    load_flat(model, np.zeros_like(vector))
    assert vector.any()
    assert not flatten(model).any()


@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_wrong_length_or_shape_is_refused(shape: tuple[int, ...]) -> None:
    model = build_network("dl2d", SETTINGS, seed=1)
    with pytest.raises(ValueError, match="the network has"):
        load_flat(model, np.zeros(shape, dtype=np.float32))


def test_wrong_length_leaves_the_weights_as_they_were() -> None:
    model = build_network("dl2d", SETTINGS, seed=1)
    before = flatten(model)
    with pytest.raises(ValueError, match="numbers"):
        load_flat(model, before[:-1] * 0)
    assert np.array_equal(flatten(model), before)
