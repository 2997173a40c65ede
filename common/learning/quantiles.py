"""Quantiles of probabilities read off their histogram."""

from __future__ import annotations

import numpy as np

from common.statistics.base import Float


def probability_quantiles(edges: Float, counts: Float, shares: Float) -> Float:
    """Quantiles (k, q) of each of k models, rows being taken as evenly spread within a cell.

    Parameters
    ----------
    edges : (k, cells + 1), not decreasing; what lies outside 0 to 1 is cut.
    counts : (k, cells), rows in each cell.
    shares : (q,), between 0 and 1.
    """
    quantiles = np.empty((edges.shape[0], shares.size))
    for column, (own, held) in enumerate(zip(np.clip(edges, 0.0, 1.0), counts, strict=True)):
        below = np.concatenate([[0.0], np.cumsum(held)]) / max(float(held.sum()), 1.0)
        quantiles[column] = np.interp(shares, below, own)
    return quantiles
