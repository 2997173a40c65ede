"""What a round's replies come to: what a strategy is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Shares:
    """What a round's replies come to.

    Parameters
    ----------
    change : (n,), sum of the sites' weighted changes.
    control : (n,), sum of the weighted changes of their control variates; empty where none.
    steps : mean of their steps.
    singles : each site's part of `change`, for strategies that compare them.
    """

    change: Vector
    control: Vector
    steps: float
    singles: tuple[Vector, ...] = ()
