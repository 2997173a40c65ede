"""ResNets with logits: torchvision-compatible in 2D, Med3D-compatible in 3D (via MONAI).

Med3D's differences from torchvision's, shortcuts without weights and dilated stages, are from Chen,
Ma, Zheng 2019, "Med3D: transfer learning for 3D medical image analysis", and its code,
github.com/Tencent/MedicalNet, models/resnet.py.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from monai.networks.nets import ResNet
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from common.models import NetworkName, network_input
from common.networks.flat import load_flat
from common.study.networks import NetworkSettings


class PaddedShortcut(nn.Module):
    """Shortcut of type A: every `stride`-th voxel, and zeros for the new channels.

    Med3D and MONAI cut the gradient here; the values are theirs, and the gradient flows.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Convert (n, channels before, *size) to (n, channels, *ceil(size / stride))."""
        axes = values.ndim - 2
        every: list[slice] = [slice(None)] * 2 + [slice(None, None, self.stride)] * axes
        part = values[tuple(every)]
        return pad(part, (0, 0) * axes + (0, self.channels - values.shape[1]))


def use_padded_shortcuts(backbone: nn.Module) -> None:
    """Replace MONAI's shortcut functions by `PaddedShortcut`."""
    for block in list(backbone.modules()):
        shortcut = getattr(block, "downsample", None)
        if isinstance(shortcut, partial):
            block.downsample = PaddedShortcut(
                shortcut.keywords["planes"], shortcut.keywords["stride"]
            )


def dilate(stage: nn.Module, rate: int) -> None:
    """Change a stage of stride 2 to stride 1 with dilated 3 x 3 (x 3) convolutions."""
    for module in stage.modules():
        if isinstance(module, PaddedShortcut):
            module.stride = 1
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            axes = len(module.kernel_size)
            module.stride = (1,) * axes
            if module.kernel_size[0] == 3:
                module.dilation = module.padding = (rate,) * axes


class ScoringNetwork(nn.Module):
    """ResNet backbone and a linear head.

    Parameters
    ----------
    backbone : images (n, channels, *size) -> pooled features (n, width).
    width : number of features.
    outputs : one logit, or one for each period of a time to event.
    """

    def __init__(self, backbone: nn.Module, width: int, outputs: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, outputs)
        self.width = width

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (n, width) and logits (n,), or (n, outputs), of (n, channels, *size)."""
        features = self.backbone(images)
        return features, self.head(features).squeeze(1)


def build_network(
    kind: NetworkName, settings: NetworkSettings, seed: int, outputs: int = 1
) -> ScoringNetwork:
    """Return a new network, its weights drawn from `seed` alone.

    With the default settings the backbone has the keys and shapes of torchvision's ResNet-50
    (2D, 3 channels, 2048 features) or of Med3D's (3D, 1 channel, 2048 features); see
    `NetworkSettings` for Med3D's other depths. The weights are the same bits on every machine, and
    torch's global generator takes no part.
    """
    with _NothingDrawn():
        network = _assembled(kind, settings, outputs)
    draw_weights(network, network.head, seed)
    return network


def network_with(
    weights: NDArray[np.floating], kind: NetworkName, settings: NetworkSettings, outputs: int = 1
) -> ScoringNetwork:
    """Return the network with weights of `common.networks.flat.flatten`, without random ones first.

    Raises
    ------
    ValueError : weights that do not fit.
    """
    with _NothingDrawn():
        network = _assembled(kind, settings, outputs)
    load_flat(network, weights)
    return network


class _NothingDrawn(TorchFunctionMode):
    """Context without random initialisation: drawing 46 million numbers outlasts a small round.

    The device "meta" would avoid it too, but its first use loads libraries for as long.
    """

    DRAWING: ClassVar[tuple[Any, ...]] = (
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        nn.init.kaiming_normal_,
        nn.init.kaiming_uniform_,
        nn.init.uniform_,
    )

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        options = options or {}
        if function in self.DRAWING:
            return arguments[0] if arguments else options["tensor"]
        return function(*arguments, **options)


def _assembled(kind: NetworkName, settings: NetworkSettings, outputs: int) -> ScoringNetwork:
    backbone = ResNet(
        block=settings.block,
        layers=list(settings.layers),
        block_inplanes=list(settings.widths),
        spatial_dims=network_input(kind).dimensions,
        n_input_channels=network_input(kind).channels,
        conv1_t_size=settings.stem_kernel,
        # MONAI's default of 1 loads the same pretrained weights silently
        conv1_t_stride=settings.stem_stride,
        no_max_pool=not settings.stem_pool,
        shortcut_type=settings.shortcut,
        bias_downsample=False,
        feed_forward=False,
    )
    if settings.shortcut == "A":
        use_padded_shortcuts(backbone)
    if settings.dilated:
        dilate(backbone.layer3, 2)
        dilate(backbone.layer4, 4)
    if settings.norm == "group":
        _use_group_norm(backbone)
    expansion = 4 if settings.block == "bottleneck" else 1
    return ScoringNetwork(backbone, settings.widths[3] * expansion, outputs)


def _use_group_norm(module: nn.Module) -> None:
    """Replace every BatchNorm by a GroupNorm of at most eight groups."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
            channels = child.num_features
            groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
            setattr(module, name, nn.GroupNorm(groups, channels))
        else:
            _use_group_norm(child)


def prepare(kind: NetworkName, images: torch.Tensor) -> torch.Tensor:
    """Scale crops from [0, 1] to the network's input, with a channel axis.

    2D crops (n, S, S) become three equal channels with ImageNet mean and SD; 3D crops
    (n, S, S, S) become one channel, (x - 0.5) / 0.25.
    """
    if network_input(kind).channels == 1:
        return (images.unsqueeze(1) - 0.5) / 0.25
    mean = images.new_tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
    deviation = images.new_tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
    return (images.unsqueeze(1) - mean) / deviation


# whole numbers below 2^24 are exact in single precision
_BITS = 24
_HALF = 2 ** (_BITS - 1)


def draw_weights(network: nn.Module, head: nn.Linear, seed: int) -> None:
    """Draw the weights of all convolutions and of the head in place; biases become zero.

    Convolutions are uniform with the deviation of He et al. 2015 ("Delving deep into rectifiers",
    by the number of outputs, as torchvision and MONAI have it), the head with a deviation of 0.01.
    Normalisation layers keep their ones and zeros.

    Parameters
    ----------
    head : the one linear layer.
    seed : of all draws; each layer has a stream of its own.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    with torch.no_grad():
        for number, layer in enumerate((*layers, head)):
            weight = layer.weight
            outputs = weight.shape[0] * math.prod(weight.shape[2:])
            bound = math.sqrt(3.0) * 0.01 if layer is head else math.sqrt(6.0 / outputs)
            drawn = uniform(weight.numel(), bound, seed, number)
            weight.copy_(torch.from_numpy(drawn).view(weight.shape))
            if layer.bias is not None:
                layer.bias.zero_()


def uniform(size: int, bound: float, seed: int, stream: int) -> NDArray[np.float32]:
    """Return float32 numbers (size,) from -bound up to, but without, bound.

    >>> uniform(3, 1.0, seed=1, stream=0)
    array([-0.392864  ,  0.6974175 , -0.68773055], dtype=float32)
    """
    generator = np.random.Philox(key=np.array([seed % 2**64, stream], dtype=np.uint64))
    drawn = (generator.random_raw(size) >> np.uint64(64 - _BITS)).astype(np.int32)
    whole: NDArray[np.float32] = (drawn - _HALF).astype(np.float32)
    return whole * np.float32(bound / _HALF)
