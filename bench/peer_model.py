"""The payload as a torch model, for the peers; nothing of this project is loaded here."""

from __future__ import annotations

import torch
from torch import nn

from bench.payload import TENSORS, numbers_of


class Payload(nn.Module):
    """Zeros in as many tensors as a network of that size has.

    Parameters
    ----------
    payload : `tiny`, `big`, or how many numbers.
    """

    def __init__(self, payload: str) -> None:
        super().__init__()
        tensors = TENSORS.get(payload, 1)
        each = numbers_of(payload) // tensors
        self.parts = nn.ParameterList(nn.Parameter(torch.zeros(each)) for _ in range(tensors))

    def add_one(self) -> None:
        """Stand in for training."""
        with torch.no_grad():
            for part in self.parts:
                part.add_(1.0)
