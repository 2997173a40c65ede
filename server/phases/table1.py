"""Table 1: the study sets side by side, tested, from counts and sums only."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.evaluation.table1 import TestResult, analysis_of_variance, contingency_test
from common.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.counts import LevelCounts
from common.statistics.moments import Means
from common.statistics.table1 import GroupResult, GroupSums
from common.study import ClinicalColumn
from common.transforms import Select
from common.views import table
from server.federation import Federation


def table1(federation: Federation) -> list[dict[str, Any]]:
    """Rows for results.json; two rounds, all sets together."""
    study = federation.study
    sets = ["train", *(test.name for test in study.test_sets)]
    numbers = tuple(c for c in study.clinical if c.kind == "continuous")
    coded = tuple(c for c in study.clinical if c.kind != "continuous")
    number_view = table("coded").then(Select(columns=tuple(c.name for c in numbers)))
    coded_view = table("coded").then(Select(columns=tuple(c.name for c in coded)))
    centre: Float = federation.sum(Means(), number_view).mean
    levels = max([1, *(len(c.levels) for c in coded)])
    items = [SumItem(GroupSums(centre=centre), number_view, name) for name in sets]
    items += [SumItem(LevelCounts(levels=levels), coded_view, name) for name in sets]
    sums = federation.sum_many(items)
    groups: list[GroupResult] = sums[: len(sets)]
    counts = np.array([result.counts for result in sums[len(sets) :]])
    rows = [_number(column, i, sets, groups) for i, column in enumerate(numbers)]
    for i, column in enumerate(coded):
        rows.extend(_levels(column, sets, counts[:, i, : len(column.levels)]))
    rows.extend(_outcome(federation, sets))
    return rows


def _number(
    column: ClinicalColumn, index: int, sets: list[str], groups: list[GroupResult]
) -> dict[str, Any]:
    cells = {}
    for name, group in zip(sets, groups, strict=True):
        n = float(group.n[index])
        spread = float(group.squares[index])
        cells[name] = {
            "n": round(n),
            "mean": float(group.mean[index]) if n else None,
            "sd": float(np.sqrt(spread / (n - 1))) if n > 1 else None,
        }
    name = f"{column.name} ({column.unit})" if column.unit else column.name
    return _row(name, None, column.kind, cells, analysis_of_variance(groups, index))


def _levels(column: ClinicalColumn, sets: list[str], counts: Float) -> list[dict[str, Any]]:
    """Rows of one variable; `counts` is (sets, levels)."""
    test = contingency_test(counts.T)
    rows = []
    for index, level in enumerate(column.levels):
        cells = {}
        for name, own in zip(sets, counts, strict=True):
            total = float(own.sum())
            percent = 100.0 * float(own[index]) / total if total else None
            cells[name] = {"n": round(float(own[index])), "percent": percent}
        rows.append(_row(column.name, level, column.kind, cells, test))
    return rows


def _outcome(federation: Federation, sets: list[str]) -> list[dict[str, Any]]:
    """The endpoint itself, from the counts of the enrolment."""
    pairs = [federation.count(name) for name in sets]
    counts = np.array([[n - positives, positives] for n, positives in pairs], dtype=np.float64)
    column = ClinicalColumn(
        name="endpoint", kind="binary", levels=("negative", "positive")
    ).model_copy(update={"name": federation.study.endpoint})
    return _levels(column, sets, counts)


def _row(
    variable: str, level: str | None, kind: str, cells: dict[str, Any], test: TestResult
) -> dict[str, Any]:
    return {
        "variable": variable,
        "level": level,
        "kind": kind,
        "sets": cells,
        "test": test.test,
        "p": float(test.p),
    }
