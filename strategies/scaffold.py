"""SCAFFOLD: takes off what makes a site's gradient differ from that of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.study.block import Settings
from strategies.base import (
    AggregatedUpdate,
    SiteOutcome,
    SiteRound,
    Strategy,
    Vector,
    register,
)

if TYPE_CHECKING:
    from torch import nn


@register
class Scaffold(Strategy[Settings]):
    """Algorithm 1 with all sites in every round, and a global step of 1, the paper's own choice.

    A site adds c - c_i to its gradients and averages them as they were before that: its next c_i.
    For plain gradient descent that equals option II of the paper, c_i - c + (x - y) / (K eta);
    unlike that it holds with any optimiser. Where the paper weighs sites equally, here they count
    by their patients, in the weights as in c: both are then what one hospital with all patients
    would have.

    >>> import torch
    >>> model, strategy = torch.nn.Linear(1, 1, bias=False), Scaffold(Settings())
    >>> mean, own = np.float32([0.25]), np.float32([1.0])
    >>> strategy.before_round(model, SiteRound(mean, lambda: own))
    >>> model.weight.grad = torch.ones(1, 1)
    >>> strategy.on_gradient(model)
    >>> model.weight.grad.item(), strategy.after_round(model).carried.tolist()
    (0.25, [1.0])
    """

    name = "scaffold"
    title = "SCAFFOLD"
    reference = "Karimireddy 2020"
    summary = "corrects each hospital's gradient for its drift from the others"
    private = False
    sends_control = True
    requires: ClassVar = {"transfer_bits": (32, "its control variates cannot be rounded")}

    def __init__(self, options: Settings) -> None:
        super().__init__(options)
        self._control: Vector | None = None

    def control(self, size: int) -> Vector:
        """Return c, (n,)."""
        if self._control is None:
            self._control = np.zeros(size, dtype=np.float32)
        return self._control

    def aggregate(self, number: int, weights: Vector, update: AggregatedUpdate) -> Vector:
        """Return Flower's average, and move c by the mean change of c_i."""
        self._control = self.control(update.control.size) + update.control
        return super().aggregate(number, weights, update)

    def state(self) -> dict[str, Any]:
        """Return c; None before the first round."""
        return {"control": self._control}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with this c."""
        self._control = state["control"]

    def before_round(self, model: nn.Module, site: SiteRound) -> None:
        """Work out c - c_i."""
        import torch

        from common.networks.flat import parameter_parts

        carried = site.carried()
        self._own = np.zeros_like(site.control) if carried is None else carried
        parts = parameter_parts(model, site.control - self._own)
        self._correction = {name: torch.from_numpy(np.array(one)) for name, one in parts.items()}
        self._sums = {name: torch.zeros_like(one) for name, one in self._correction.items()}
        self._steps = 0

    def on_gradient(self, model: nn.Module) -> None:
        """Note the gradient of every parameter, then correct it."""
        self._steps += 1
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                place = parameter.grad.device
                self._sums[name] = self._sums[name].to(place).add_(parameter.grad)
                self._correction[name] = self._correction[name].to(place)
                parameter.grad.add_(self._correction[name])

    def after_round(self, model: nn.Module) -> SiteOutcome:
        """Send how c_i changed, and carry it; zero for running statistics."""
        from common.networks.flat import flatten, parameter_parts

        found = np.zeros_like(flatten(model))
        for name, part in parameter_parts(model, found).items():
            part[...] = (self._sums[name] / max(self._steps, 1)).cpu().numpy()
        return SiteOutcome(control=found - self._own, carried=found)
