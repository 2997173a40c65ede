"""The strategy that a study names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.study.networks import NetworkSettings
from common.study.strategy import StrategyName
from strategies.fedadam import FedAdam
from strategies.fedavg import FedAvg
from strategies.fedavgm import FedAvgM
from strategies.fedbn import FedBN
from strategies.fedmedian import FedMedian
from strategies.fednova import FedNova
from strategies.fedprox import FedProx
from strategies.fedyogi import FedYogi
from strategies.krum import Krum
from strategies.scaffold import Scaffold

_MAKERS: dict[StrategyName, Callable[[NetworkSettings, int], Any]] = {
    "fedavg": lambda *_: FedAvg(),
    "fedprox": lambda settings, _: FedProx(settings.strategy_options),
    "fedavgm": lambda settings, _: FedAvgM(settings.strategy_options),
    "fedadam": lambda settings, _: FedAdam(settings.strategy_options),
    "fedyogi": lambda settings, _: FedYogi(settings.strategy_options),
    "fedbn": lambda *_: FedBN(),
    "scaffold": lambda _, size: Scaffold(size),
    "fednova": lambda *_: FedNova(),
    "fedmedian": lambda *_: FedMedian(),
    "krum": lambda settings, _: Krum(settings.strategy_options),
}


def make_strategy(settings: NetworkSettings, size: int) -> Any:
    """A new strategy (see `strategies.base.RoundStrategy`) for a network of so many weights."""
    return _MAKERS[settings.strategy](settings, size)
