"""Rows spread over four unequal sites, and a sum taken over them as the wire would carry it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.masking.layout import RingSums, from_rings, to_rings
from common.statistics.base import Rows

SHARES = (0.12, 0.38, 0.3, 0.2)


def make_rows(values: Any, label: Any = None, fold: Any = None, paired: Any = None) -> Rows:
    values = np.asarray(values, dtype=np.float64)
    n, p = values.shape
    return Rows(
        values=values,
        columns=tuple(f"c{index:04d}" for index in range(p)),
        label=np.zeros(n) if label is None else np.asarray(label, dtype=np.float64),
        fold=np.arange(n, dtype=np.int64) % 5 if fold is None else np.asarray(fold, dtype=np.int64),
        paired=None if paired is None else np.asarray(paired, dtype=np.float64),
    )


def take(rows: Rows, index: Any) -> Rows:
    return Rows(
        values=rows.values[index],
        columns=rows.columns,
        label=rows.label[index],
        fold=rows.fold[index],
        paired=None if rows.paired is None else rows.paired[index],
        origin=None if rows.origin is None else rows.origin[index],
    )


def split(rows: Rows, shares: tuple[float, ...] = SHARES) -> list[Rows]:
    ends = np.round(np.cumsum((0.0, *shares)) * rows.n).astype(int)
    return [take(rows, slice(a, b)) for a, b in itertools.pairwise(ends)]


def over_sites(statistic: Any, rows: Rows, shares: tuple[float, ...] = SHARES) -> Any:
    parts = [
        to_rings(statistic, statistic.from_rows(site), rows.p, len(shares))
        for site in split(rows, shares)
    ]
    total = RingSums(
        ring64=np.sum([part.ring64 for part in parts], axis=0, dtype=np.uint64),
        ring32=np.sum([part.ring32 for part in parts], axis=0, dtype=np.uint32),
    )
    return statistic.finalise(from_rings(statistic, total, rows.p))


@pytest.fixture
def rows() -> Callable[..., Rows]:
    return make_rows


@pytest.fixture
def summed() -> Callable[..., Any]:
    return over_sites


@pytest.fixture
def sites() -> Callable[..., list[Rows]]:
    return split
