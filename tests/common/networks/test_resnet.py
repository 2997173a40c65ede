"""The networks fit published weights and start from a seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.networks.nets import ResNet
from torch import nn

from common.models import NetworkName
from common.networks.flat import flatten
from common.networks.resnet import PaddedShortcut, build_network, network_with, prepare
from common.study.networks import NetworkSettings

SMALL = NetworkSettings(block="basic", layers=(1, 1, 1, 1), widths=(4, 8, 8, 16), stem_kernel=3)
SHAPE: dict[NetworkName, tuple[int, ...]] = {"dl2d": (3, 3, 20, 20), "dl3d": (3, 1, 20, 20, 20)}


@pytest.mark.parametrize(
    ("kind", "parameters"),
    # 25 557 032 of torchvision's resnet50 less its 2 049 000 of fc; MONAI's resnet50 without fc
    [("dl2d", 25_557_032 - 2_049_000), ("dl3d", 46_155_072)],
)
def test_default_backbone_has_the_published_size(kind: NetworkName, parameters: int) -> None:
    network = build_network(kind, NetworkSettings(), seed=0)
    assert len(network.backbone.state_dict()) == 318
    assert sum(p.numel() for p in network.backbone.parameters()) == parameters
    assert network.width == 2048
    stem = network.backbone.conv1
    assert isinstance(stem, nn.Conv2d | nn.Conv3d)
    assert set(stem.stride) == {2}


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
def test_features_and_logits_come_from_one_forward(kind: NetworkName) -> None:
    network = build_network(kind, SMALL, seed=3).eval()
    images = torch.rand(SHAPE[kind])
    features, logits = network(images)
    assert features.shape == (3, 16)
    assert logits.shape == (3,)
    expected = features @ network.head.weight[0] + network.head.bias[0]
    torch.testing.assert_close(logits, expected)


def test_backbone_computes_what_monai_resnet_computes() -> None:
    network = build_network("dl3d", SMALL, seed=3).eval()
    reference = ResNet(
        "basic",
        [1, 1, 1, 1],
        [4, 8, 8, 16],
        n_input_channels=1,
        conv1_t_size=3,
        conv1_t_stride=2,
        bias_downsample=False,
        feed_forward=False,
    ).eval()
    reference.load_state_dict(network.backbone.state_dict())
    images = torch.rand(SHAPE["dl3d"])
    torch.testing.assert_close(network(images)[0], reference(images), rtol=0, atol=0)


def test_weights_depend_on_the_seed_alone() -> None:
    first = flatten(build_network("dl2d", SMALL, seed=5))
    torch.rand(7)
    assert np.array_equal(first, flatten(build_network("dl2d", SMALL, seed=5)))
    assert not np.array_equal(first, flatten(build_network("dl2d", SMALL, seed=6)))


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    build_network("dl2d", SMALL, seed=5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
def test_group_norm_leaves_no_batch_norm(kind: NetworkName) -> None:
    network = build_network(kind, SMALL.model_copy(update={"norm": "group"}), seed=0).double()
    modules = list(network.modules())
    assert not any(isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d) for m in modules)
    assert any(isinstance(m, nn.GroupNorm) for m in modules)
    images = torch.rand(SHAPE[kind], dtype=torch.float64)
    network.train()
    alone = network(images[:1])[1]
    torch.testing.assert_close(network(images)[1][:1], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
def test_a_network_with_given_weights_draws_none(kind: NetworkName) -> None:
    wanted = build_network(kind, SMALL, seed=5)
    before = torch.get_rng_state()
    network = network_with(flatten(wanted), kind, SMALL)
    assert torch.equal(before, torch.get_rng_state())
    for name, value in network.state_dict().items():
        assert torch.equal(value, wanted.state_dict()[name]), name
    assert all(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(ValueError, match="the network has"):
        network_with(flatten(wanted)[:-1], kind, SMALL)


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
def test_dilated_stages_keep_their_size_and_every_name(kind: NetworkName) -> None:
    changes = {"layers": (1, 1, 2, 1), "stem_pool": False}
    plain = build_network(kind, SMALL.model_copy(update=changes), seed=3)
    dilated = build_network(kind, SMALL.model_copy(update=changes | {"dilated": True}), seed=3)
    assert np.array_equal(flatten(plain), flatten(dilated))
    sizes: dict[str, list[int]] = {"plain": [], "dilated": []}
    for name, network in (("plain", plain), ("dilated", dilated)):
        for stage in (2, 3, 4):
            layer = network.backbone.get_submodule(f"layer{stage}")
            layer.register_forward_hook(
                lambda _, __, out, name=name: sizes[name].append(out.shape[-1])
            )
        network.eval()(torch.rand(SHAPE[kind]))
    assert sizes == {"plain": [5, 3, 2], "dilated": [5, 5, 5]}
    reach = [
        (name, module.dilation[0], module.stride[0])
        for name, module in dilated.backbone.named_modules()
        if name.startswith(("layer3", "layer4"))
        and isinstance(module, nn.Conv2d | nn.Conv3d)
        and module.kernel_size[0] == 3
    ]
    assert reach == [
        ("layer3.0.conv1", 2, 1),
        ("layer3.0.conv2", 2, 1),
        ("layer3.1.conv1", 2, 1),
        ("layer3.1.conv2", 2, 1),
        ("layer4.0.conv1", 4, 1),
        ("layer4.0.conv2", 4, 1),
    ]


def test_a_shortcut_without_weights_takes_every_second_voxel_and_pads_with_zeros() -> None:
    values = torch.rand(2, 3, 5, 5, 5, requires_grad=True)
    out = PaddedShortcut(8, 2)(values)
    pooled = nn.functional.avg_pool3d(values, kernel_size=1, stride=2)
    assert torch.equal(out, torch.cat([pooled, torch.zeros(2, 5, 3, 3, 3)], dim=1))
    out.sum().backward()
    assert values.grad is not None
    assert values.grad.sum() == 2 * 3 * 27, "Med3D's own lets no gradient through"


def test_networks_of_shortcut_a_compute_what_monai_computes() -> None:
    network = build_network("dl3d", SMALL.model_copy(update={"shortcut": "A"}), seed=3).eval()
    reference = ResNet(
        "basic",
        [1, 1, 1, 1],
        [4, 8, 8, 16],
        n_input_channels=1,
        conv1_t_size=3,
        conv1_t_stride=2,
        shortcut_type="A",
        feed_forward=False,
    ).eval()
    reference.load_state_dict(network.backbone.state_dict())
    images = torch.rand(SHAPE["dl3d"])
    torch.testing.assert_close(network(images)[0], reference(images), rtol=0, atol=0)


def test_2d_crops_become_three_channels_with_imagenet_scaling() -> None:
    prepared = prepare("dl2d", torch.full((2, 5, 5), 0.485))
    assert prepared.shape == (2, 3, 5, 5)
    expected = torch.tensor([0.0, (0.485 - 0.456) / 0.224, (0.485 - 0.406) / 0.225])
    torch.testing.assert_close(prepared[1, :, 2, 2], expected)


def test_3d_crops_get_one_channel_about_zero() -> None:
    prepared = prepare("dl3d", torch.full((2, 4, 4, 4), 0.75))
    assert prepared.shape == (2, 1, 4, 4, 4)
    torch.testing.assert_close(prepared, torch.ones_like(prepared))
