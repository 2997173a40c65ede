"""What goes out in a round, and what the sites' replies of one come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flwr.app import RecordDict

from common.messages.codec import encode, size_of
from common.statistics.base import Float
from strategies.base import AggregatedUpdate


@dataclass(frozen=True)
class TrainingRound:
    """A round of training.

    Parameters
    ----------
    shares : of the sites, added up; no change when nothing was trained.
    loss : mean in training, NaN if nothing was trained.
    held_out_loss : mean on held-out patients of the weights that were sent, NaN if none.
    """

    shares: AggregatedUpdate
    loss: float
    held_out_loss: float


@dataclass(frozen=True)
class OutOfFoldRows:
    """Pooled out-of-fold probabilities (n, k), labels (n,), in an order no site determines."""

    columns: tuple[str, ...]
    probabilities: Float
    labels: Float


class RequestContent:
    """A request as it is sent, made when it is; its size is known from then on."""

    def __init__(self, request: Any) -> None:
        self._request, self.size = request, 0

    def __call__(self) -> RecordDict:
        """Encode it."""
        content = encode(self._request)
        self.size = size_of(content)
        return content
