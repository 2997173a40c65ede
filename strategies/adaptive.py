"""What FedAdam and FedYogi share: Flower's FedOpt with a state that can be put by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from common.flower.internals import FedOpt
from common.study.strategy import StrategyOptions
from strategies.base import WEIGHTS, Stateless, Vector

_RATE = 0.01


def rate_of(options: StrategyOptions) -> float:
    """The server's step; where the study says nothing, as in Reddi et al. 2021."""
    return options.server_rate or _RATE


class Adaptive(Stateless, FedOpt):
    """Flower's FedOpt takes the change against `current_arrays`, and keeps two moments of it."""

    def begin(self, weights: Vector) -> None:
        """Flower takes the change against these."""
        self.current_arrays = {WEIGHTS: weights}

    def state(self) -> dict[str, Any]:
        """First and second moment; None before the first round."""
        return {"first": _only(self.m_t), "second": _only(self.v_t)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with these moments."""
        first, second = state["first"], state["second"]
        self.m_t = None if first is None else {WEIGHTS: first}
        self.v_t = None if second is None else {WEIGHTS: second}


def _only(moments: dict[str, NDArray[Any]] | None) -> NDArray[Any] | None:
    return moments[WEIGHTS] if moments else None
