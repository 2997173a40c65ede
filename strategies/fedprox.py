"""FedProx: a pull of every site towards the weights that it was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from common.study.block import Settings
from strategies.base import SiteRound, Strategy, register

if TYPE_CHECKING:
    from torch import nn


class FedProxOptions(Settings):
    """The strength of the pull."""

    proximal_mu: float = Field(
        0.01,
        ge=0,
        title="pull towards the weights that were sent",
        json_schema_extra={"origin": "ours: of the values that Li 2020 tries, 0.001 to 1"},
    )


@register
class FedProx(Strategy[FedProxOptions]):
    """Adds mu (w - w_sent) to every gradient: the derivative of mu/2 ||w - w_sent||^2.

    Equation 2 of the paper. The server averages, as Flower's own FedProx does.

    >>> import torch
    >>> from strategies.base import NOTHING
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> strategy = FedProx(FedProxOptions(proximal_mu=0.5))
    >>> strategy.before_round(model, SiteRound(NOTHING, lambda: None))
    >>> model.weight.grad = torch.zeros(1, 1)
    >>> _ = model.weight.data.add_(2.0)
    >>> strategy.on_gradient(model)
    >>> round(model.weight.grad.item(), 3)
    1.0
    """

    name = "fedprox"
    title = "FedProx"
    reference = "Li 2020"
    summary = "pulls hospitals towards the weights they received"
    own_options = FedProxOptions
    averages = True
    private = False

    def before_round(self, model: nn.Module, site: SiteRound) -> None:
        """Keep a copy of the weights that were sent."""
        self._sent = {name: one.detach().clone() for name, one in model.named_parameters()}

    def on_gradient(self, model: nn.Module) -> None:
        """Pull every parameter towards the one that was sent."""
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                pull = parameter.detach() - self._sent[name].to(parameter.device)
                parameter.grad.add_(pull, alpha=self.options.proximal_mu)
