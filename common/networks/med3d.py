"""Differences of Med3D's ResNets from torchvision's: shortcuts without weights, dilated stages.

Chen, Ma, Zheng 2019, "Med3D: transfer learning for 3D medical image analysis"; its code is
github.com/Tencent/MedicalNet, models/resnet.py.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn.functional import pad


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
