"""Stability of a feature selection: how far selections on other patients agree."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from common.utils.portable import Z_95


@dataclass(frozen=True)
class Stability:
    """Nogueira's index, at most 1, with its 95 % interval; 0 = as by chance."""

    index: float
    low: float
    high: float


def stability(selections: Sequence[Set[str]], candidates: int) -> Stability | None:
    """Return the stability of several selections from the same features.

    The index is 1 where all selections are the same, and about 0 where each is drawn by chance,
    however many features they keep. It is Fleiss' kappa of the selections as raters. Index,
    variance and normal interval are those of Nogueira, Sechidis and Brown (2018, J Mach Learn Res
    18(174):1-54), definition 4 and corollary 9; the interval is cut at the ends of the index, -1
    and 1. It takes the selections as independent, which those of cross-validation are not: they
    share patients.

    Parameters
    ----------
    selections : names kept, two selections or more.
    candidates : features that each of them chose from.

    Returns
    -------
    None with fewer than two selections, or where they keep nothing, or everything.

    Raises
    ------
    ValueError : more features kept than there are candidates.

    Examples
    --------
    >>> found = stability([{"a", "b"}, {"a", "b"}, {"a", "c"}], candidates=6)
    >>> round(found.index, 3)
    0.5
    """
    names = sorted(set().union(*selections))
    if len(names) > candidates:
        raise ValueError(f"{len(names)} features kept of {candidates}")
    number = len(selections)
    if number < 2 or not names:
        return None
    kept = np.array([[name in one for name in names] for one in selections], dtype=np.float64)
    frequency, share = kept.mean(axis=0), kept.sum(axis=1) / candidates
    mean = float(frequency.sum()) / candidates
    chance = mean * (1.0 - mean)
    if chance == 0:
        return None
    spread = float((frequency * (1.0 - frequency)).sum()) / candidates
    index = 1.0 - number / (number - 1) * spread / chance
    own = kept @ frequency / candidates - share * mean
    own += index / 2.0 * (2.0 * share * mean - share - mean + 1.0)
    variance = 4.0 / number**2 * float(((own - own.mean()) ** 2).sum()) / chance**2
    reach = Z_95 * math.sqrt(variance)
    return Stability(index, max(-1.0, index - reach), min(1.0, index + reach))
