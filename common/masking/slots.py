"""Secret places of every site's patients among those of all: a permutation that only sites know."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from common.masking.group_key import prf
from common.masking.pairwise import keystream

_WORD_BYTES = 8
_RANGE = 2 ** (8 * _WORD_BYTES)


def slots(key: bytes, context: bytes, counts: Mapping[str, int]) -> dict[str, NDArray[np.intp]]:
    """Deal the places 0 to n - 1 to the sites, so that every deal is equally likely.

    Parameters
    ----------
    key : group key, 32 bytes.
    context : of one study and cohort.
    counts : patients of every site; n is their sum.

    Returns
    -------
    By site, its places (count,), of which no other site has one.

    Raises
    ------
    ValueError : a negative count.
    """
    if any(count < 0 for count in counts.values()):
        raise ValueError("a site has no negative number of patients")
    order = permutation(prf(key, "slots", context), sum(counts.values()))
    dealt: dict[str, NDArray[np.intp]] = {}
    start = 0
    for site in sorted(counts):
        dealt[site] = order[start : start + counts[site]]
        start += counts[site]
    return dealt


def permutation(key: bytes, n: int) -> NDArray[np.intp]:
    """Return a permutation of 0 to n - 1 (Fisher-Yates; Durstenfeld 1964) that the key decides.

    Draws are rejected where a remainder would favour small numbers, so all n! are equally likely.

    Parameters
    ----------
    key : 32 bytes, used for nothing else.
    """
    stream = keystream(key)
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        choices = last + 1
        drawn = _RANGE
        while drawn >= _RANGE - _RANGE % choices:
            drawn = int.from_bytes(stream.update(bytes(_WORD_BYTES)), "little")
        other = drawn % choices
        order[last], order[other] = order[other], order[last]
    return np.array(order, dtype=np.intp)
