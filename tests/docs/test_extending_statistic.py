"""The worked example of docs/extending.md adds a statistic in one file."""

from __future__ import annotations

import doctest
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import common.statistics
from common.disclosure.rule import rules_of
from common.dossier.general import statistics_section
from common.errors import RefusedError
from common.messages.plain import from_tree, to_tree
from common.statistics.base import Rows, add, statistic_classes, zeros

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extending" / "statistic.py"
LEVELS = 3


@pytest.fixture(scope="module")
def ordinal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The example in the folder of statistics, and nothing else anywhere."""
    added = tmp_path_factory.mktemp("statistics")
    shutil.copy(EXAMPLE, added / "ordinal.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common.statistics, "__path__", [*common.statistics.__path__, str(added)])
        yield statistic_classes()["OrdinalCounts"](levels=LEVELS)
    del sys.modules["common.statistics.ordinal"]


def rows_of(values: Any, label: Any) -> Rows:
    return Rows(
        np.asarray(values, dtype=float)[:, None],
        ("grade",),
        label,
        np.zeros(len(label), dtype=np.int64),
    )


def test_masked_sums_give_what_scipy_gives_of_all_patients(grades: Any, ordinal: Any) -> None:
    hospitals = grades(lacking=0.2)
    for subset in ("train", "spread"):
        assert hospitals.study.masked(subset)
        found = hospitals.ask(ordinal, subset)
        pooled = hospitals.pooled(subset)
        value, positive = pooled.values[:, 0], pooled.label > 0.5
        assert np.isnan(value).any()
        used = np.isfinite(value)
        wanted = stats.mannwhitneyu(value[used & positive], value[used & ~positive]).statistic
        pairs = (used & positive).sum() * (used & ~positive).sum()
        np.testing.assert_allclose(found.superiority, [wanted / pairs], rtol=1e-14)
        for cut in range(1, LEVELS):
            table = [
                [((value >= cut) & own).sum(), ((value < cut) & own).sum()]
                for own in (positive, ~positive)
            ]
            ratio = stats.contingency.odds_ratio(table, kind="sample").statistic
            np.testing.assert_allclose(found.odds_ratio[0, cut - 1], ratio, rtol=1e-14)


def test_counts_of_a_set_that_one_hospital_holds_alone_are_refused(
    grades: Any, ordinal: Any
) -> None:
    with pytest.raises(RefusedError, match="rule cells, threshold 3, patients of one"):
        grades().ask(ordinal, "one")
    assert [rule.name for rule in rules_of(ordinal.kind)] == ["rows", "cells"]


def test_it_adds_up_travels_and_stands_in_the_dossier(ordinal: Any) -> None:
    random = np.random.default_rng(5)
    values, label = random.integers(0, LEVELS, 40).astype(float), random.integers(0, 2, 40) * 1.0
    parts = [slice(0, 0), slice(0, 11), slice(11, 40)]
    again = from_tree(*to_tree(ordinal))
    total = zeros(ordinal.shapes(1))
    for part in parts:
        total = add(total, again.from_rows(rows_of(values[part], label[part])))
    np.testing.assert_array_equal(
        total["counts"], ordinal.from_rows(rows_of(values, label))["counts"]
    )
    assert total["counts"][0].sum(axis=0)[0] == 40
    text = statistics_section()
    assert "### OrdinalCounts" in text and type(ordinal).attack in text
    assert "columns x 2 x levels" in text


def test_the_example_of_its_docstring_runs(ordinal: Any) -> None:
    done = doctest.testmod(sys.modules["common.statistics.ordinal"])
    assert done.attempted and not done.failed
