"""The base of every strategy: its step on the server, and its hooks in a site's own training.

Torch and Flower are imported where they are used: every study that is read loads these files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.study.block import Settings
from common.study.networks import NetworkSettings
from common.study.strategy import REGISTERED, StrategySpec, read_options

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, Message
    from torch import nn

Vector = NDArray[np.float32]
Ranges = NDArray[np.int64]
Options = TypeVar("Options", bound=Settings)
NOTHING: Vector = np.zeros(0, dtype=np.float32)
NO_RANGES: Ranges = np.zeros((0, 2), dtype=np.int64)
# the weights in a record of Flower's
WEIGHTS = "weights"


@dataclass(frozen=True)
class AggregatedUpdate:
    """The sum of a round's replies, from which a strategy makes the next weights.

    Parameters
    ----------
    change : (n,), sum of the sites' weighted changes.
    control : (n,), sum of what they sent beside them (`SiteOutcome`); empty where nothing.
    steps : mean of their steps.
    singles : each site's part of `change`, for strategies that compare them.
    """

    change: Vector
    control: Vector = field(default_factory=lambda: NOTHING)
    steps: float = 1.0
    singles: tuple[Vector, ...] = ()

    def only(self, chosen: NDArray[np.bool_] | slice) -> AggregatedUpdate:
        """Return the update of some of the weights."""
        singles = tuple(one[chosen] for one in self.singles)
        return replace(self, change=self.change[chosen], singles=singles)


@dataclass(frozen=True)
class SiteRound:
    """A round as a site's hooks see it.

    Parameters
    ----------
    control : what the server sent beside the weights; empty for most strategies.
    carried : reads what `after_round` left at this site in the round before; None in the first.
    """

    control: Vector
    carried: Callable[[], Vector | None]


@dataclass(frozen=True)
class SiteOutcome:
    """Results that a site's hooks leave behind after a round.

    Parameters
    ----------
    control : sent beside the change, times the site's share of all patients.
    carried : stays at the site, for its next round.
    """

    control: Vector = field(default_factory=lambda: NOTHING)
    carried: Vector | None = None


class Strategy(StrategySpec, Generic[Options]):
    """A strategy; as it stands, federated averaging.

    On the server one object lives as long as a training, at a site as long as a round.

    Parameters
    ----------
    options : its own, from the study's `strategy_options`.
    """

    averages: ClassVar[bool] = False
    """Declares a server that does nothing but average: Flower, which would copy a large network six
    times to find that the average of one sum is that sum, is then left out."""

    def __init__(self, options: Options) -> None:
        self.options = options

    # -- on the server -------------------------------------------------------------------------

    def make_flower(self) -> Any:
        """Return the strategy of Flower that does the server's step."""
        from flwr.serverapp.strategy import FedAvg

        return FedAvg()

    @cached_property
    def flower(self) -> Any:
        """Flower's strategy, made once."""
        return self.make_flower()

    def aggregate(self, number: int, weights: Vector, update: AggregatedUpdate) -> Vector:
        """Return the next weights.

        Flower gets one reply, the weighted sum with weight one, or where the strategy compares
        single updates one reply of the same weight a site. Running statistics never come here.

        Parameters
        ----------
        number : of the round, from 0.
        weights : that the round started from.
        """
        changes = [update.change]
        if self.single_updates:
            changes = [part * np.float32(len(update.singles)) for part in update.singles]
        replies = [_reply(weights + change) for change in changes]
        with _silence():
            arrays, _ = self.flower.aggregate_train(number + 1, replies)
        if arrays is None:
            raise ValueError("a round without a reply")
        found: Vector = arrays[WEIGHTS].numpy().astype(np.float32, copy=False)
        return found

    def control(self, size: int) -> Vector:
        """Return what is sent beside so many weights, with `sends_control` as many numbers."""
        return NOTHING

    def state(self) -> dict[str, Any]:
        """Return all that later rounds depend on, as plain data (see `common.messages.plain`)."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""

    # -- at a site -----------------------------------------------------------------------------

    def own_ranges(self, model: nn.Module) -> Ranges:
        """Return the ranges (k, 2) of the flat weights that a site keeps for itself.

        A site goes on with its own there, in training, on held-out patients and on test sets; the
        others' mean is for hospitals that did not train. Say so in `own_layers`.
        """
        return NO_RANGES

    def before_round(self, model: nn.Module, site: SiteRound) -> None:
        """Take note of the network that was sent, before it is trained."""

    def on_gradient(self, model: nn.Module) -> None:
        """Change `grad` of every parameter in place, after each backward pass, before clipping."""

    def weigh(self, change: Vector, steps: np.float32, statistics: Ranges) -> Vector:
        """Return a site's change, already times its share of the patients, as it is sent.

        Parameters
        ----------
        steps : effective steps of the optimiser in this round.
        statistics : ranges (k, 2) of running statistics, which no step of the optimiser moves.
        """
        return change

    def after_round(self, model: nn.Module) -> SiteOutcome:
        """Return what else leaves the site, and what stays for its next round."""
        return SiteOutcome()

    @property
    def gradient_hook(self) -> Callable[[nn.Module], None] | None:
        """`on_gradient` where the strategy has one; without, mixed precision saves a pass."""
        has_one = type(self).on_gradient is not Strategy.on_gradient
        return self.on_gradient if has_one else None


StrategyClass = TypeVar("StrategyClass", bound=type[Strategy[Any]])


def register(strategy: StrategyClass) -> StrategyClass:
    """Let studies name this strategy; a decorator.

    Raises
    ------
    TypeError : another has its name, or it promises what it cannot keep.
    """
    if REGISTERED.get(strategy.name, strategy) is not strategy:
        raise TypeError(f"two strategies are called {strategy.name}")
    if strategy.private and strategy.on_gradient is not Strategy.on_gradient:
        raise TypeError(
            f"{strategy.name} reads gradients before differential privacy adds its noise: say"
            " private = False"
        )
    REGISTERED[strategy.name] = strategy
    return strategy


def make_strategy(settings: NetworkSettings) -> Strategy[Any]:
    """Return a new strategy, as a study's block of a network names it."""
    found = settings.spec
    if not issubclass(found, Strategy):
        raise TypeError(f"{settings.strategy} is described but has no hooks")
    return found(read_options(settings.strategy, settings.strategy_options.model_dump()))


def record(vector: Vector) -> ArrayRecord:
    """Return weights as Flower's strategies take them."""
    from flwr.app import Array, ArrayRecord

    return ArrayRecord({WEIGHTS: Array(vector)})


def _reply(weights: Vector) -> Message:
    from flwr.app import Message, Metadata, MetricRecord, RecordDict

    content = RecordDict({"arrays": record(weights), "metrics": MetricRecord({"num-examples": 1})})
    # it is never sent, so it needs neither sender nor time
    metadata = Metadata(0, "", 0, 0, "", "", 0.0, 0.0, "train")
    return Message(content, metadata=metadata)  # type: ignore[call-overload, no-any-return]


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Flower's strategies from saying at every round how many replies came: one, always."""
    from common.flower.internals import FLOWER_LOGGER

    before = FLOWER_LOGGER.level
    FLOWER_LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        FLOWER_LOGGER.setLevel(before)
