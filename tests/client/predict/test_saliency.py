"""Integrated gradients: what they must add up to, and where they must be nought."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from client.predict import pictures
from client.predict.pictures import integrated_gradients
from client.training.device import CPU
from common.networks.resnet import ScoringNetwork, build_network
from common.study.networks import NetworkSettings

CROP = np.random.default_rng(3).random((20, 20, 20), dtype=np.float32)


class FirstHalf(nn.Module):
    """Pools the half of the volume with the lower z."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, : images.shape[2] // 2].mean(dim=(1, 2, 3, 4))[:, None]


def settings(size: int) -> NetworkSettings:
    return NetworkSettings(
        block="basic", layers=(1, 1, 1, 1), widths=(4, 4, 8, 8), input_size=size, pretrained=""
    )


def test_of_a_linear_network_they_are_weight_times_value(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(pictures, "SMOOTHING", 0.0)
    model = ScoringNetwork(FirstHalf(), 1)
    with torch.no_grad():
        model.head.weight.fill_(2.0)
    found = integrated_gradients(model, CROP, settings(16), CPU, steps=1)
    expected = np.zeros_like(CROP)
    half = (slice(2, 10), slice(2, 18), slice(2, 18))
    # the network sees (x - 0.5) / 0.25, of which it takes the mean of half a cube
    expected[half] = CROP[half] * 2.0 / 0.25 / (8 * 16 * 16)
    np.testing.assert_allclose(found.values, expected, atol=1e-7)
    assert found.seen == (2, 18)
    assert abs(found.explained - 1) < 1e-4


def test_of_a_resnet_they_add_up_to_the_difference_in_logit() -> None:
    model = build_network("dl3d", settings(16), seed=1)
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(2))
    few, many = (integrated_gradients(model, CROP, settings(16), CPU, n) for n in (2, 128))
    assert abs(many.explained - 1) < 0.05
    assert abs(many.explained - 1) <= abs(few.explained - 1)
    again = integrated_gradients(model, CROP, settings(16), CPU, 2)
    np.testing.assert_array_equal(again.values, few.values)
