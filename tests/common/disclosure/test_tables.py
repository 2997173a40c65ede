from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.statistics.capped_histogram import CappedHistogram
from common.statistics.counts import LevelCounts
from common.statistics.histogram import Histogram
from common.statistics.icc import PairedMoments
from common.statistics.moments import Means
from common.statistics.site_quartiles import SiteQuartiles
from common.statistics.table1 import GroupSums, JoinedHistogram, ProtectedLevelCounts
from common.study.model import PrivacySettings
from common.transforms import Select
from common.transforms.views import table

EDGES = np.array([[-np.inf, 0.0, np.inf]])
CENTRE = np.zeros(1)
CODED = table("coded").then(Select(columns=("x",)))
OPEN = {"masking": "where_possible"}


@pytest.mark.parametrize("statistic", [Means(), GroupSums(centre=CENTRE), LevelCounts(levels=2)])
def test_a_sites_part_of_a_masked_sum_may_be_small(rows: Any, asked: Any, statistic: Any) -> None:
    assert asked(statistic, rows(np.zeros((1, 1))), "spread") == []


@pytest.mark.parametrize(("n", "expected"), [(0, []), (9, [("rows", 10)]), (10, [])])
@pytest.mark.parametrize("statistic", [Means(), LevelCounts(levels=2), Histogram(edges=EDGES)])
def test_a_part_that_can_be_seen_has_enough_rows(
    rows: Any, asked: Any, study: Any, statistic: Any, n: int, expected: Any
) -> None:
    found = asked(statistic, rows(np.zeros((n, 1))), "two", study=study(privacy=OPEN))
    assert found == expected


@pytest.mark.parametrize(("present", "expected"), [(0, []), (9, [("rows", 10)]), (10, [])])
def test_means_at_one_site_need_values_enough(
    rows: Any, asked: Any, present: int, expected: Any
) -> None:
    values = np.full((30, 1), np.nan)
    values[:present] = 1.0
    assert asked(Means(), rows(values), "one") == expected
    assert asked(GroupSums(centre=CENTRE), rows(values), "one") == expected
    assert asked(GroupSums(centre=CENTRE, minimum=9), rows(values), "one") == expected


def test_sums_that_leave_out_few_values_are_answered(rows: Any, asked: Any) -> None:
    statistic, few = GroupSums(centre=CENTRE, minimum=10), rows(np.ones((9, 1)))
    assert asked(statistic, few, "one") == []
    assert not any(part.any() for part in statistic.from_rows(few).values())
    assert statistic.from_rows(rows(np.ones((10, 1))))["n"].tolist() == [10]
    tight = PrivacySettings(min_rows=11)
    assert asked(statistic, few, "one", privacy=tight) == [("rows", 11)]


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        (LevelCounts(levels=2), [("cells", 3)]),
        (ProtectedLevelCounts(levels=2, minimum=2), [("cells", 3)]),
        (ProtectedLevelCounts(levels=2, minimum=3), []),
        (Histogram(edges=EDGES), [("cells", 3)]),
        (CappedHistogram(edges=EDGES, cap=2), [("cells", 3)]),
        (JoinedHistogram(edges=EDGES, minimum=2), [("cells", 3)]),
        (JoinedHistogram(edges=EDGES, minimum=3), []),
    ],
)
def test_a_table_of_one_site_comes_protected(
    rows: Any, asked: Any, statistic: Any, expected: Any
) -> None:
    assert asked(statistic, rows(np.zeros((30, 1))), "one") == expected


@pytest.mark.parametrize(
    ("subset", "changes", "expected"),
    [
        ("one", {}, []),
        ("one", {"fewest": 9}, [("rows", 10)]),
        ("one", {"minimum": 2}, [("cells", 3)]),
        # more digits than the study records
        ("one", {"decimals": np.array([6])}, [("form", 1)]),
        # the sum over hospitals is no quartile
        ("spread", {}, [("form", 1)]),
        ("two", {}, [("form", 1)]),
    ],
)
def test_quartiles_are_told_of_a_set_at_one_site_as_the_study_records_them(
    rows: Any, asked: Any, subset: str, changes: Any, expected: Any
) -> None:
    statistic = replace(SiteQuartiles(decimals=np.array([-1]), fewest=10, minimum=3), **changes)
    assert asked(statistic, rows(np.zeros((30, 1))), subset, view=CODED) == expected


def test_a_site_may_ask_for_larger_cells_and_a_study_for_none(rows: Any, asked: Any) -> None:
    table = rows(np.zeros((30, 1)))
    tight, loose = PrivacySettings(min_cell=6), PrivacySettings(min_cell=0)
    protected = ProtectedLevelCounts(levels=2, minimum=3)
    assert asked(protected, table, "one", privacy=tight) == [("cells", 6)]
    assert asked(LevelCounts(levels=2), table, "one", privacy=loose) == []


@pytest.mark.parametrize(("twice", "expected"), [(0, []), (4, [("paired", 5)]), (5, [])])
def test_readers_are_compared_on_nobody_or_enough(
    rows: Any, asked: Any, twice: int, expected: Any
) -> None:
    again = np.full((30, 1), np.nan)
    again[:twice] = 1.0
    table = rows(np.ones((30, 1)), paired=again)
    assert asked(PairedMoments(mean=CENTRE), table) == expected
