"""Rows of all sites as one sum: each writes its own into places of its own, and zeros elsewhere.

As in a dining cryptographers' net with dealt slots (Chaum 1988), the masked sum holds every row
once and names no site. A flag that has to sum to one in every place shows that no two sites wrote
into the same, and that none was left empty. The places are a permutation that only sites know.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from common.masking.group_key import prf
from common.masking.pairwise import keystream
from common.statistics.base import Float, Int

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


Ring32 = NDArray[np.uint32]
FLAG_AND_LABEL = 2


def ring_size(rows: int, columns: int) -> int:
    """Return the length of the vector that holds so many rows of probabilities."""
    return rows * (columns + FLAG_AND_LABEL)


def to_slots(cells: Int, labels: Float, places: Int, total: int, decimals: int) -> Ring32:
    """Return a site's rows in their places among those of all sites, as ring elements.

    Parameters
    ----------
    cells : (n, k), probabilities as whole multiples of 10^-decimals.
    labels : (n,), 0 or 1.
    places : (n,), all different, below `total`.
    total : rows of all sites.
    decimals : of a probability.

    Returns
    -------
    (`ring_size(total, k)`,), a flag, the label and the probabilities of every place.

    Raises
    ------
    ValueError : a probability outside [0, 1], a label that is neither, or places that are no such.
    """
    if ((cells < 0) | (cells > 10**decimals)).any() or not np.isin(labels, (0.0, 1.0)).all():
        raise ValueError("rows hold probabilities and labels")
    if places.shape != labels.shape or np.unique(places).size != places.size:
        raise ValueError("every row takes a place of its own")
    if places.size and not (places.min() >= 0 and places.max() < total):
        raise ValueError("a place beyond those of all rows")
    table = np.zeros((total, cells.shape[1] + FLAG_AND_LABEL), dtype=np.uint32)
    table[places, 0] = 1
    table[places, 1] = labels.astype(np.uint32)
    table[places, FLAG_AND_LABEL:] = cells.astype(np.uint32)
    return table.ravel()


def from_slots(total: Ring32, columns: int, decimals: int) -> tuple[Float, Float]:
    """Return the rows that a sum over all sites holds: probabilities (n, k) and labels (n,).

    The order is that of the places, which says nothing.

    Raises
    ------
    ValueError : a place with no row or several, or a number that no row can hold.
    """
    table = total.reshape(-1, columns + FLAG_AND_LABEL)
    if not (table[:, 0] == 1).all():
        raise ValueError("a place holds no row, or several")
    whole = 10**decimals
    if (table[:, 1] > 1).any() or (table[:, FLAG_AND_LABEL:] > whole).any():
        raise ValueError("a place holds a number that is no probability or label")
    return table[:, FLAG_AND_LABEL:] / whole, table[:, 1].astype(np.float64)
