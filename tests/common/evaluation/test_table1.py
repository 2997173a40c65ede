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
    # in words: more glottic cancer in both external sets, more T3-4 tumours in the second
    site, stage = np.array(tables["primary_site"]), np.array(tables["t_stage"])
    stage = np.array([stage[:2].sum(axis=0), stage[2:].sum(axis=0)])
    differ = [[contingency_test(t[:, [0, k]]).p < 0.05 for k in (1, 2, 3)] for t in (site, stage)]
    assert differ == [[False, True, True], [False, False, True]]


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


def test_larger_tables_with_small_counts_are_tested_by_fishers_exact_test() -> None:
    counts = np.array([[1.0, 1.0, 0.0], [1.0, 2.0, 8.0]])
    result = contingency_test(counts)
    assert result.test == "Fisher (Monte Carlo)"
    assert result.p == pytest.approx(fisher_by_enumeration(counts), abs=3e-3)
    assert contingency_test(counts).p == result.p


def test_chi_square_on_small_counts_says_so() -> None:
    one_of_six = np.array([[2.0, 9.0, 9.0], [12.0, 45.0, 50.0]])
    two_of_six = np.array([[2.0, 3.0, 9.0], [12.0, 15.0, 50.0]])
    for counts, name in ((one_of_six, ""), (two_of_six, " (small counts)")):
        result = contingency_test(counts)
        expected = stats.chi2_contingency(counts, correction=False)
        assert (expected.expected_freq < 5).sum() == 1 + bool(name)
        assert (result.test, result.p) == (f"chi-square{name}", pytest.approx(expected.pvalue))


def fisher_by_enumeration(counts: Any) -> float:
    """Freeman and Halton (1951): all tables with these margins that are not more probable."""
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    table = stats.random_table(rows, columns)
    observed, total = table.pmf(counts), 0.0
    for a in range(int(columns[0]) + 1):
        for b in range(int(columns[1]) + 1):
            first = np.array([a, b, rows[0] - a - b])
            other = np.array([first, columns - first])
            if other.min() >= 0 and table.pmf(other) <= observed * (1 + 1e-9):
                total += float(table.pmf(other))
    return total


def test_sets_that_are_constant_but_differ_have_p_zero() -> None:
    result = analysis_of_variance([group([1.0, 1.0]), group([2.0, 2.0, 2.0])], 0)
    assert (result.test, result.p) == ("t", 0.0)
    assert result.statistic == -np.inf


def test_what_rounding_leaves_of_a_constant_is_no_variation() -> None:
    third = GroupResult(n=np.array([9.0]), mean=np.array([1 / 3]), squares=np.array([1e-32]))
    other = GroupResult(n=np.array([5.0]), mean=np.array([1 / 3 + 1e-16]), squares=np.array([0.0]))
    assert np.isnan(analysis_of_variance([third, other], 0).p)
