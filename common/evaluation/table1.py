"""Tests of Table 1, from counts, sums and histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy

from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.table1 import GroupResult

RESAMPLES, SEED = 99_999, 20240101


@plain
class TestResult:
    """Name of the test, its statistic (NaN where it has none) and p; NaN where undefined."""

    __test__ = False  # not a pytest class

    test: str
    statistic: float
    p: float


def contingency_test(counts: Float) -> TestResult:
    """Apply Pearson's chi-square without continuity correction, or Fisher's test for small counts.

    Empty levels and empty groups are left out. A 2 x 2 table with an expected count below 5 is
    tested by Fisher's exact test; a larger one with an expected count below 1 by its Monte Carlo
    form with a fixed seed. A larger table with more than 20 % of the expected counts below 5
    (Cochran 1954) keeps chi-square and says so in the name. The uncorrected chi-square reproduces
    the paper's Table 1, in which sex and cartilage invasion are such tables.

    Parameters
    ----------
    counts : (levels, groups).

    Examples
    --------
    >>> result = contingency_test(np.array([[30.0, 20.0], [20.0, 30.0]]))
    >>> round(result.statistic, 3), round(result.p, 3)
    (4.0, 0.046)
    """
    table = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if min(table.shape) < 2:
        return TestResult(test="chi-square", statistic=math.nan, p=math.nan)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    if table.shape == (2, 2) and expected.min() < 5:
        _, p = scipy.stats.fisher_exact(np.rint(table).astype(np.int64))
        return TestResult(test="Fisher", statistic=math.nan, p=float(p))
    if expected.min() < 1:
        return _fisher_by_monte_carlo(table)
    name = "chi-square (small counts)" if (expected < 5).mean() > 0.2 else "chi-square"
    statistic = float(((table - expected) ** 2 / expected).sum())
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return TestResult(
        test=name, statistic=statistic, p=float(scipy.stats.chi2.sf(statistic, freedom))
    )


def _fisher_by_monte_carlo(table: Float) -> TestResult:
    """Run Fisher-Freeman-Halton on tables with the same margins; p to about 0.001 near 0.05."""
    method = scipy.stats.MonteCarloMethod(
        n_resamples=RESAMPLES, batch=1_000, rng=np.random.default_rng(SEED)
    )
    result = scipy.stats.fisher_exact(np.rint(table).astype(np.int64), method=method)
    return TestResult(test="Fisher (Monte Carlo)", statistic=math.nan, p=float(result.pvalue))


def analysis_of_variance(groups: Sequence[GroupResult], column: int) -> TestResult:
    """Run one-way analysis of variance on a column; of two groups, Student's t test.

    Groups without values are left out. A column that is constant over all groups has no p; one
    that is constant within every group but differs between them has p = 0, as in scipy.

    Examples
    --------
    >>> sizes, means, squares = np.array([10.0]), np.array([[1.0], [2.0]]), np.array([9.0])
    >>> groups = [GroupResult(sizes, mean, squares) for mean in means]
    >>> round(analysis_of_variance(groups, 0).p, 3)
    0.038
    """
    used = [group for group in groups if group.n[column] > 0]
    n = np.array([group.n[column] for group in used])
    mean = np.array([group.mean[column] for group in used])
    name = "t" if len(used) == 2 else "ANOVA"
    freedom = float(n.sum()) - len(used)
    if len(used) < 2 or freedom < 1:
        return TestResult(test=name, statistic=math.nan, p=math.nan)
    within = sum(float(group.squares[column]) for group in used)
    grand = float(n @ mean) / float(n.sum())
    between = float(n @ (mean - grand) ** 2)
    # rounding of a constant is no variation
    rounding = float(n.sum()) * (1e-12 * abs(grand)) ** 2
    if within + between <= rounding:
        return TestResult(test=name, statistic=math.nan, p=math.nan)
    ratio = math.inf
    if within > rounding:
        ratio = between / (len(used) - 1) / (within / freedom)
    p = float(scipy.stats.f.sf(ratio, len(used) - 1, freedom))
    if name == "t":
        ratio = math.copysign(math.sqrt(ratio), mean[0] - mean[1])
    return TestResult(test=name, statistic=ratio, p=p)


def rank_test(counts: Float) -> TestResult:
    """Run Mann-Whitney's U of two groups, Kruskal-Wallis' H of more, with rows of a cell tied.

    The normal approximation with tie and continuity correction (U) and the chi-square with tie
    correction (H), as in scipy; exact ranks when every cell holds one value.

    Parameters
    ----------
    counts : (groups, cells), cells in increasing order.

    Examples
    --------
    >>> round(rank_test(np.array([[5.0, 3.0, 1.0], [1.0, 3.0, 5.0]])).p, 3)
    0.028
    """
    table = counts[counts.sum(axis=1) > 0]
    groups = table.shape[0]
    name = "Mann-Whitney" if groups == 2 else "Kruskal-Wallis"
    tied, size = table.sum(axis=0), table.sum(axis=1)
    n = float(size.sum())
    spread = 1.0 - float((tied**3 - tied).sum()) / (n**3 - n) if n >= 2 else 0.0
    if groups < 2 or spread <= 0:
        return TestResult(test=name, statistic=math.nan, p=math.nan)
    rank = np.cumsum(tied) - tied + (tied + 1.0) / 2.0
    sums = table @ rank
    if groups == 2:
        u = float(sums[0] - size[0] * (size[0] + 1.0) / 2.0)
        product = float(size[0] * size[1])
        deviation = math.sqrt(product * (n + 1.0) / 12.0 * spread)
        z = (abs(u - product / 2.0) - 0.5) / deviation
        return TestResult(test=name, statistic=u, p=min(1.0, 2.0 * float(scipy.stats.norm.sf(z))))
    h = (12.0 / (n * (n + 1.0)) * float((sums**2 / size).sum()) - 3.0 * (n + 1.0)) / spread
    return TestResult(test=name, statistic=h, p=float(scipy.stats.chi2.sf(h, groups - 1)))
