"""Linkage of pooled rows: patients whose row can be found by somebody who knows clinical values.

The attacker knows a patient's clinical values, and from the released models what a clinical model
says about them: then the outcome and all other probabilities stand in the rows with this
probability. A patient is unique if there is exactly one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Int
from common.transforms.views import View, base_tables

KNOWN_TABLES = frozenset({"clinical"})


@plain
class Linkage:
    """Patients with a pooled row, and those of them who have exactly one that fits."""

    patients: int
    unique: int


def known_columns(columns: Mapping[str, View]) -> tuple[str, ...]:
    """Name the models that read clinical values alone."""
    return tuple(name for name, view in columns.items() if base_tables(view) <= KNOWN_TABLES)


def row_cells(probabilities: Float, edges: Float) -> Int:
    """Return the cell [edge, next edge) of every probability, which its rounding stands for.

    Raises
    ------
    ValueError : a number that is no probability.
    """
    if not ((probabilities >= 0.0) & (probabilities <= 1.0)).all():
        raise ValueError("rows hold probabilities")
    return np.searchsorted(edges[1:-1], probabilities, side="right").astype(np.int64)


def cell_edges(decimals: int) -> Float:
    """Return the edges (10^decimals + 2,) between rounded probabilities, halves rounded up.

    >>> cell_edges(1)[:4].tolist()
    [0.0, 0.05, 0.15, 0.25]
    """
    whole = 10**decimals
    between = (np.arange(whole) + 0.5) / whole
    return np.concatenate([[0.0], between, [1.0]])


def count_cells(cells: Int, decimals: int) -> Float:
    """Return the rows in every cell of each column, (k, 10^decimals + 1).

    Parameters
    ----------
    cells : (n, k), from `row_cells`.
    """
    size = 10**decimals + 1
    counted = [np.bincount(column, minlength=size) for column in cells.T]
    return np.array(counted, dtype=np.float64).reshape(len(counted), size)


def unique_patients(cells: Int, counts: Float) -> int:
    """Count the patients who are alone in a cell, by any one of the models.

    Parameters
    ----------
    cells : (n, k), of these patients, from `row_cells`.
    counts : (k, 10^decimals + 1), rows of all sites, from `count_cells` or a sum of histograms.

    Examples
    --------
    >>> unique_patients(np.array([[0], [2]]), np.array([[1.0, 3.0, 2.0]]))
    1
    """
    alone = counts[np.arange(len(counts)), cells] == 1.0
    return int(alone.any(axis=1).sum())
