"""Rows of all sites as one sum: each writes its own into places of its own, and zeros elsewhere.

As in a dining cryptographers' net with dealt slots (Chaum 1988), the masked sum holds every row
once and names no site. A flag that has to sum to one in every place shows that no two sites wrote
into the same, and that none was left empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float, Int

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
