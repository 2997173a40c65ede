"""Limits of what a field of a reply may hold, beside its type; the gate lets out no more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

MOST_PATIENTS = 10_000_000


@dataclass(frozen=True)
class Limits:
    """Lengths of an array, and bounds of its numbers or of a single one.

    Parameters
    ----------
    shape : length of each axis. A name stands for a length that the request gives, or that the
        first field of an object with this name has.
    low, high : of every number.
    decimals : places that the numbers are rounded to; None = they may have any.
    unknown : NaN may stand for a number.

    Examples
    --------
    >>> patients("models").broken(np.array([1.0, 2.0]), {"models": 2}) is None
    True
    >>> patients("models").broken(np.array([1.0, 2.5]), {"models": 2})
    'value'
    """

    shape: tuple[int | str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    decimals: int | None = None
    unknown: bool = False

    def broken(self, value: Any, lengths: dict[str, int]) -> Literal["shape", "value"] | None:
        """Return which limit is broken, "shape" or "value"; None where all hold.

        Parameters
        ----------
        lengths : by name; those that were not known are added.
        """
        numbers = np.asarray(value)
        if numbers.ndim != len(self.shape):
            return "shape"
        for wanted, found in zip(self.shape, numbers.shape, strict=True):
            if found != (lengths.setdefault(wanted, found) if isinstance(wanted, str) else wanted):
                return "shape"
        fits = (numbers >= self.low) & (numbers <= self.high)
        if self.decimals is not None:
            fits &= np.round(numbers, self.decimals) == numbers
        if self.unknown:
            fits |= np.isnan(numbers)
        return None if fits.all() else "value"


def patients(*shape: int | str) -> Limits:
    """Return the limits of numbers of patients."""
    return Limits(shape, low=0, high=MOST_PATIENTS, decimals=0)


def shares(*shape: int | str, decimals: int | None = None, unknown: bool = False) -> Limits:
    """Return the limits of numbers from 0 to 1."""
    return Limits(shape, low=0, high=1, decimals=decimals, unknown=unknown)


Patients = Annotated[int, patients()]
