"""Rows of Table 1 as they stand in results.json: what may be published, and its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.evaluation.p_band import p_band
from common.evaluation.suppression import Mask, suppress
from common.evaluation.table1 import (
    TestResult,
    analysis_of_variance,
    contingency_test,
    rank_test,
)
from common.statistics.base import Float
from common.statistics.table1 import GroupResult
from common.study.model import ClinicalColumn, PrivacySettings
from server.phases.quartiles import UNORDERED, ColumnFindings


@dataclass(frozen=True)
class StudySet:
    """The training set or a test set.

    Parameters
    ----------
    patients : over all sites.
    alone : one site holds them all, so that a sum is this site's own table.
    """

    name: str
    patients: int
    alone: bool


def level_rows(
    column: ClinicalColumn,
    sets: Sequence[StudySet],
    counts: Float,
    hidden: Mask,
    minimum: int,
) -> list[dict[str, Any]]:
    """A row a level. The test knows all counts, as the coordinator does, also those withheld.

    A set that gave away no more than its own site allows, or with fewer than `minimum` patients,
    is left out of the test.

    Parameters
    ----------
    counts : (sets, levels + 1), patients without a value last.
    hidden : of the same shape, True = withheld.
    """
    known = np.array([not s.alone and s.patients >= minimum for s in sets])
    tested = known | ~hidden.any(axis=1)
    test = contingency_test(counts[tested, :-1].T)
    band = None
    if hidden[tested].any():
        band = p_band(
            counts[tested], hidden[tested], minimum, lambda table: contingency_test(table.T)
        )
        test = TestResult(test=test.test, statistic=np.nan, p=np.nan)
    missing = _counts(sets, counts[:, -1], hidden[:, -1])
    rows = []
    for index, level in enumerate(column.levels):
        cells = {}
        for own, gaps, group in zip(counts, hidden, sets, strict=True):
            present = group.patients - own[-1]
            shown = not gaps[index]
            cells[group.name] = {
                "n": round(float(own[index])) if shown else None,
                "percent": 100.0 * float(own[index] / present) if shown and present else None,
                "suppressed": not shown,
            }
        rows.append(_row(column, level, cells, missing, test) | {"p_band": band})
    return rows


def mean_row(
    column: ClinicalColumn,
    sets: Sequence[StudySet],
    groups: Sequence[GroupResult],
    index: int,
    privacy: PrivacySettings,
) -> dict[str, Any]:
    """Mean and SD a set; sets with fewer values than `min_rows` take no part."""
    n = np.array([group.n[index] for group in groups])
    enough = n >= privacy.min_rows
    cells, missing = _present(sets, n, privacy)
    for position, (group, own) in enumerate(zip(sets, groups, strict=True)):
        shown = bool(enough[position] and n[position])
        deviation = float(own.deviation[index])
        cells[group.name] |= {
            "mean": float(own.mean[index]) if shown else None,
            "sd": deviation if shown and n[position] > 1 else None,
        }
    used = [group for group, wanted in zip(groups, enough, strict=True) if wanted]
    return _row(column, None, cells, missing, analysis_of_variance(used, index))


def median_row(
    column: ClinicalColumn,
    sets: Sequence[StudySet],
    found: ColumnFindings,
    privacy: PrivacySettings,
) -> dict[str, Any]:
    """Median and quartiles a set; sets with fewer values than `min_rows` take no part.

    Nor does a set in the test whose cells had to be joined so much that its ranks are not known.
    """
    n = found.counts.sum(axis=1)
    enough = n >= privacy.min_rows
    values, missing = _present(sets, n, privacy)
    for position, group in enumerate(sets):
        shown = bool(enough[position] and n[position])
        cell = values[group.name]
        for name, quantile in zip(("q1", "median", "q3"), found.quartiles[position], strict=True):
            cell[name] = quantile.value if shown and np.isfinite(quantile.value) else None
        cell["note"] = found.notes[position] if shown else ""
    used = enough & found.usable
    test, note = _ranked(found, used)
    left_out = [s.name for s, out in zip(sets, enough & ~found.usable, strict=True) if out]
    if left_out and not note:
        note = f"without {', '.join(left_out)}: {UNORDERED}"
    return _row(column, None, values, missing, test) | {"note": note}


def _ranked(found: ColumnFindings, used: Mask) -> tuple[TestResult, str]:
    """The rank test of these sets, or why there is none."""
    test = rank_test(found.counts[used])
    if not found.comparable(used):
        return TestResult(test=test.test, statistic=np.nan, p=np.nan), f"P withheld: {UNORDERED}"
    joined = any(one.joined for one, wanted in zip(found.sets, used, strict=True) if wanted)
    if joined or found.unsorted(used).any():
        test = TestResult(test=f"{test.test} (grouped)", statistic=test.statistic, p=test.p)
    return test, ""


def _present(
    sets: Sequence[StudySet], n: Float, privacy: PrivacySettings
) -> tuple[dict[str, dict[str, Any]], dict[str, int | None]]:
    """Cells with the number of values, and the numbers missing."""
    pairs = np.array([[own, group.patients - own] for own, group in zip(n, sets, strict=True)])
    hidden = np.array([suppress(pair, privacy.min_cell) for pair in pairs])
    # a site that holds the set alone gives no column of few values, not even their number
    untold = [s.alone and privacy.min_rows > 1 and own == 0 for s, own in zip(sets, n, strict=True)]
    hidden[untold] = True
    cells = {}
    for group, own, gap in zip(sets, n, hidden[:, 0], strict=True):
        withheld = bool(gap or 0 < own < privacy.min_rows)
        cells[group.name] = {"n": None if gap else round(float(own)), "suppressed": withheld}
    return cells, _counts(sets, pairs[:, 1], hidden[:, 1])


def _counts(sets: Sequence[StudySet], counts: Float, hidden: Mask) -> dict[str, int | None]:
    return {
        group.name: None if gap else round(float(count))
        for group, count, gap in zip(sets, counts, hidden, strict=True)
    }


def _row(
    column: ClinicalColumn,
    level: str | None,
    cells: dict[str, dict[str, Any]],
    missing: dict[str, int | None],
    test: TestResult,
) -> dict[str, Any]:
    return {
        "variable": f"{column.name} ({column.unit})" if column.unit else column.name,
        "level": level,
        "kind": column.kind,
        "decimals": column.decimals,
        "sets": cells,
        "missing": missing,
        "test": test.test,
        "p": float(test.p),
    }
