from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.evaluation.table1 import analysis_of_variance, contingency_test, rank_test
from common.statistics.table1 import GroupResult

PAPER = Path(__file__).parents[4] / "shared" / "paper" / "table1.csv"
# chi-square on the printed counts; the paper prints 0.063, 0.55 and 0.47 for three of them
EXPECTED = {
    "sex": 0.069,
    "differentiation": 0.080,
    "space_invasion": 0.074,
    "cartilage_invasion": 0.016,
    "enhancement": 0.688,
    "lnm": 0.167,
}


def group(values: Any) -> GroupResult:
    values = np.asarray(values, dtype=float)
    n, mean = np.array([float(values.size)]), np.array([values.mean() if values.size else np.nan])
    return GroupResult(n=n, mean=mean, squares=np.array([((values - mean) ** 2).sum()]))


@pytest.mark.parametrize(
    ("counts", "p"),
    [
        ([[124, 33, 42, 11], [176, 56, 78, 33]], 0.167),
        ([[84, 33, 36, 7], [179, 46, 61, 28], [37, 10, 23, 9]], 0.080),
    ],
)
def test_printed_counts_of_the_paper_give_its_p(counts: Any, p: float) -> None:
    assert contingency_test(np.array(counts, dtype=float)).p == pytest.approx(p, abs=5e-4)


def test_all_rows_of_table_1_give_the_known_p() -> None:
    if not PAPER.is_file():
        pytest.skip("the paper's Table 1 is not here")
    tables: dict[str, list[list[float]]] = {}
    with PAPER.open(encoding="utf-8") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            sets = ("training", "internal", "external1", "external2")
            tables.setdefault(row["characteristic"], []).append([float(row[s]) for s in sets])
    for name, p in EXPECTED.items():
        assert contingency_test(np.array(tables[name])).p == pytest.approx(p, abs=5e-4), name
    for name in ("primary_site", "t_stage"):
        assert contingency_test(np.array(tables[name])).p < 1e-4


def test_chi_square_matches_scipy_without_correction() -> None:
    counts = np.array([[30.0, 12.0], [18.0, 25.0]])
    expected = stats.chi2_contingency(counts, correction=False)
    result = contingency_test(counts)
    assert result.test == "chi-square"
    assert (result.statistic, result.p) == pytest.approx((expected[0], expected[1]))


def test_small_two_by_two_tables_use_fisher() -> None:
    counts = np.array([[8.0, 2.0], [1.0, 5.0]])
    result = contingency_test(counts)
    assert result.test == "Fisher"
    assert result.p == pytest.approx(0.0349650, abs=1e-6)  # R: fisher.test


def test_empty_levels_and_groups_do_not_count() -> None:
    counts = np.array([[30.0, 0.0, 12.0], [0.0, 0.0, 0.0], [18.0, 0.0, 25.0]])
    expected = contingency_test(counts[[0, 2]][:, [0, 2]])
    assert contingency_test(counts).p == expected.p
    assert np.isnan(contingency_test(np.array([[3.0, 4.0], [0.0, 0.0]])).p)


def test_analysis_of_variance_matches_scipy() -> None:
    random = np.random.default_rng(0)
    samples = [random.normal(60 + shift, 9, n) for shift, n in ((0, 80), (2, 30), (4, 41))]
    result = analysis_of_variance([group(s) for s in samples], 0)
    expected = stats.f_oneway(*samples)
    assert result.test == "ANOVA"
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_two_groups_are_students_t() -> None:
    random = np.random.default_rng(1)
    first, second = random.normal(0, 1, 20), random.normal(0.7, 1, 33)
    result = analysis_of_variance([group(first), group([]), group(second)], 0)
    expected = stats.ttest_ind(first, second)
    assert result.test == "t"
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize("samples", [[[1.0, 2.0]], [[1.0], [2.0]], [[3.0, 3.0], [3.0, 3.0]]])
def test_variance_that_does_not_exist_gives_nan(samples: Any) -> None:
    assert np.isnan(analysis_of_variance([group(s) for s in samples], 0).p)


def cells(samples: Any, levels: int) -> Any:
    return np.array([np.bincount(s, minlength=levels) for s in samples], dtype=float)


def test_mann_whitney_on_integers_matches_scipy() -> None:
    random = np.random.default_rng(2)
    first, second = random.integers(0, 9, 40), random.integers(2, 11, 31)
    result = rank_test(cells([first, second], 11))
    expected = stats.mannwhitneyu(first, second, method="asymptotic")
    assert result.test == "Mann-Whitney"
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_kruskal_wallis_on_integers_matches_scipy() -> None:
    random = np.random.default_rng(3)
    samples = [random.integers(low, 9 + low, n) for low, n in ((0, 40), (1, 25), (2, 30))]
    result = rank_test(cells(samples, 11))
    expected = stats.kruskal(*samples)
    assert result.test == "Kruskal-Wallis"
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_ties_everywhere_and_single_groups_give_nan() -> None:
    assert np.isnan(rank_test(np.array([[4.0, 0.0], [7.0, 0.0]])).p)
    assert np.isnan(rank_test(np.array([[4.0, 3.0], [0.0, 0.0]])).p)
    assert np.isnan(rank_test(np.zeros((2, 3))).p)
