"""The sites as the phases of a study see them; `server.federation` reaches them over Flower.

A phase has no other way out: given the study, the enrolment and the answers so far, its next
question follows. Where no sum gives a number that all must share, they agree on it, see
`Federation.agreed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from common.learning.agreement import ANOTHER, Axes, axes_apart, axes_of
from common.masking.update import Update
from common.messages.exchanges import (
    EnrolReply,
    EvaluateReply,
    Ranges,
    RoundPlan,
    SumItem,
    Weights,
)
from common.statistics.base import Float
from common.study.model import Study
from common.transforms.views import View
from strategies.base import AggregatedUpdate

UNREAD: Any = None
"""Result of a sum that no later question depends on, where the program runs at a site."""
T = TypeVar("T")
NO_CONTROL: Weights = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class TrainingRound:
    """Result of one round of training.

    Parameters
    ----------
    update : updates of the sites, added up; no change when nothing was trained.
    loss : mean in training, NaN if nothing was trained.
    held_out_loss : mean on held-out patients of the weights that were sent, NaN if none. Both are
        NaN where the round went on without a site.
    present : sites whose updates were added up; empty = all.
    """

    update: AggregatedUpdate
    loss: float
    held_out_loss: float
    present: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, total: Update, singles: Sequence[Weights] = (), present: tuple[str, ...] = ()
    ) -> TrainingRound:
        """Return the result of a round from the update summed over the sites.

        Parameters
        ----------
        singles : the sites' single changes, where they are known.
        present : sites whose updates were added up; empty = all.
        """
        loss, samples, held_out, held_out_samples, steps = total.sums
        update = AggregatedUpdate(total.change, total.control, float(steps), tuple(singles))
        return cls(update, _ratio(loss, samples), _ratio(held_out, held_out_samples), present)


def _ratio(total: float, count: float) -> float:
    return float(total / count) if count else float("nan")


NOTHING_TRAINED = TrainingRound(AggregatedUpdate(NO_CONTROL), float("nan"), float("nan"))
"""Result of a round in which sites keep features, and tell nothing."""


@dataclass(frozen=True)
class OutOfFoldRows:
    """Pooled out-of-fold probabilities (n, k), labels (n,), in an order no site determines."""

    columns: tuple[str, ...]
    probabilities: Float
    labels: Float


def any_unread(results: Iterable[Any]) -> bool:
    """Tell whether one of these results is `UNREAD`."""
    return any(result is UNREAD for result in results)


class Federation(Protocol):
    """The enrolled sites of one study.

    Parameters
    ----------
    members : reply to the enrolment, by site.
    """

    study: Study
    members: Mapping[str, EnrolReply]

    def sum_many(self, items: Sequence[SumItem]) -> list[Any]:
        """Return several statistics, each summed over the sites of its subset; one round."""

    def train(
        self,
        network: str,
        variant: str,
        weights: Weights,
        running: Ranges,
        plan: RoundPlan,
        *,
        control: Weights = NO_CONTROL,
        singly: bool = False,
    ) -> TrainingRound:
        """Train a network for one round at every training site."""

    def rows(self, columns: Mapping[str, View], fitting: Float) -> OutOfFoldRows:
        """Return the pooled out-of-fold probabilities with labels.

        Parameters
        ----------
        fitting : (m, cells), rows at each rounded probability of the m models that read clinical
            values alone, by which sites measure how many of their patients are unique.
        """

    def evaluate(
        self, files: Mapping[str, Any], edges: Float, cuts: Mapping[str, float]
    ) -> dict[str, EvaluateReply]:
        """Hand the final bundle to every site that has test patients; scores stay there."""

    def agreed(self, name: str, value: T, apart: Callable[[T], float]) -> T:
        """Return the output of a solver as the coordinator has it.

        The last digits of a solver differ between processors. The coordinator goes on with its own
        value, as here; a site that runs the program itself goes on with the coordinator's, if that
        solves the same problem. Only what `common.utils.portable` cannot compute comes here.

        Parameters
        ----------
        name : of the value, each of which is agreed on once a study.
        value : own result, plain data that a message can carry; `UNREAD` where only the
            coordinator can have one.
        apart : measures another's result, which may be anything at all: 0 = as the own one, up to
            1 = it may stand in its place, above = it may not. See `common.learning.agreement`.
        """
        del name, apart
        return value

    def sum(self, statistic: Any, view: View, subset: str = "train") -> Any:
        """Return one statistic over one view, summed over the sites that have the subset."""
        return self.sum_many([SumItem(statistic, view, subset)])[0]

    def columns(self, table: str) -> tuple[str, ...]:
        """Return the columns of a base table, which are the same at every training site."""
        return self.members[self.study.training_sites[0]].columns[table]

    def count(self, subset: str) -> tuple[int, int]:
        """Return patients and positives of a subset over all sites."""
        counts = [self.members[site].counts[subset] for site in self.study.members(subset)]
        return sum(n for n, _ in counts), sum(positives for _, positives in counts)


def agreed_axes(federation: Federation, name: str, matrix: Float, largest: int = 0) -> Axes:
    """Return the eigenvectors of a symmetric matrix (p, p), as the coordinator has them.

    Parameters
    ----------
    name : see `Federation.agreed`. largest : see `axes_of`.
    """
    own = axes_of(matrix, largest)
    return federation.agreed(name, own, lambda theirs: axes_apart(matrix, own, theirs))


def only_if(allowed: Callable[[Any], bool]) -> Callable[[Any], float]:
    """Return the measure of a value that may stand in, or may not, with nothing in between.

    >>> measure = only_if(lambda found: found == "a")
    >>> measure("a"), measure("b")
    (0.0, inf)
    """
    return lambda found: 0.0 if allowed(found) else ANOTHER
