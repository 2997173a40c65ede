"""Random initial weights, the same bits on every machine.

The numbers are whole ones of a counter-based generator, and each weight takes a single
multiplication, which every processor rounds alike. Normal numbers, as usual for this, would need
logarithms.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

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
