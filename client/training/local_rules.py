"""What a strategy changes in a site's own training: a rule that every step's gradient goes through.

FedProx (Li et al. 2020, equation 2) pulls towards the weights that were sent; SCAFFOLD (Karimireddy
et al. 2020, algorithm 1) takes off what makes this site's gradient differ from that of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from common.networks.flat import flatten, parameter_parts

Vector = NDArray[np.float32]


class LocalRule(Protocol):
    """Changes the gradients of a model after each backward pass, before clipping and the step."""

    def adjust(self, model: nn.Module) -> None:
        """Change `grad` of every parameter in place."""


class Proximal:
    """Adds mu (w - w_sent) to the gradient: the derivative of mu/2 ||w - w_sent||^2.

    Parameters
    ----------
    model : with the weights that were sent, on the device where it trains.
    mu : weight of the pull.
    """

    def __init__(self, model: nn.Module, mu: float) -> None:
        self._mu = mu
        self._sent = {name: one.detach().clone() for name, one in model.named_parameters()}

    def adjust(self, model: nn.Module) -> None:
        """Pull every parameter towards the one that was sent."""
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                pull = parameter.detach() - self._sent[name].to(parameter.device)
                parameter.grad.add_(pull, alpha=self._mu)


class Controlled:
    """Adds c - c_i to the gradient, and averages the gradients as they were before that.

    That average is the site's next control variate: for plain gradient descent it equals option II
    of the paper, c_i - c + (x - y) / (K eta), and unlike that it holds with any optimiser.

    Parameters
    ----------
    model : that trains.
    mean : (n,), control variate c of all sites, in the layout of `common.networks.flat`.
    own : (n,), control variate c_i of this site.
    """

    def __init__(self, model: nn.Module, mean: Vector, own: Vector) -> None:
        self._correction = _tensors(parameter_parts(model, mean - own))
        self._sums = {name: torch.zeros_like(one) for name, one in self._correction.items()}
        self._steps = 0

    def adjust(self, model: nn.Module) -> None:
        """Note the gradient of every parameter, then correct it."""
        self._steps += 1
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                place = parameter.grad.device
                self._sums[name] = self._sums[name].to(place).add_(parameter.grad)
                self._correction[name] = self._correction[name].to(place)
                parameter.grad.add_(self._correction[name])

    def next_control(self, model: nn.Module) -> Vector:
        """The site's next control variate (n,); zero for running statistics."""
        found = np.zeros_like(flatten(model))
        for name, part in parameter_parts(model, found).items():
            part[...] = (self._sums[name] / max(self._steps, 1)).cpu().numpy()
        return found


def _tensors(parts: Mapping[str, Vector]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(part)) for name, part in parts.items()}
