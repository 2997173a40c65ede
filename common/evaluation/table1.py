"""Tests of Table 1, from counts, sums and histograms; bands of p where counts are withheld."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import scipy

from common.evaluation.suppression import Mask
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


BANDS = (0.0, 0.001, 0.01, 0.05, 0.1, 1.0)


Groups = tuple[int, ...]
Band = tuple[float, float]
Judgement = tuple[str, int | None]


def p_bands(
    counts: Float,
    hidden: Mask,
    minimum: int,
    test: Callable[[Float], TestResult],
    comparisons: Sequence[Groups],
) -> tuple[Band | None, ...]:
    """Return the band of `BANDS` that each p lies in, for a variable with withheld counts.

    All digits of p would reveal which of the possible counts are the true ones. A band is published
    instead, and only if for every withheld count there is another possible table with another
    value there, the same tests and every p in the same band. A comparison that would break this
    for those before it has no band.

    Parameters
    ----------
    counts : (sets, levels + 1), patients without a value last.
    hidden : of the same shape, True = withheld.
    test : of (sets, levels) counts.
    comparisons : sets that are tested together, the most important first; each has a withheld
        count.

    Returns
    -------
    Lower and upper end for each, or None where there is no p or no band that is safe.

    Examples
    --------
    >>> from common.evaluation.table1 import contingency_test
    >>> counts = np.array([[3.0, 4.0, 60.0, 0.0], [30.0, 30.0, 10.0, 0.0]])
    >>> hidden = np.array([[True, True, False, False], [False] * 4])
    >>> p_bands(counts, hidden, 5, contingency_test, [(0, 1)])
    ((0.0, 0.001),)
    """

    @cache
    def judge(groups: Groups, cells: bytes) -> Judgement:
        own = np.frombuffer(cells).reshape(len(groups), counts.shape[1])
        return _judge(test(own[:, :-1]))

    def judged(groups: Groups, table: Float) -> Judgement:
        return judge(groups, table[list(groups)].tobytes())

    truth = {groups: judged(groups, counts) for groups in comparisons}
    shown: list[Groups] = []
    for groups in comparisons:
        tried = [*shown, groups]
        if truth[groups][1] is not None and all(
            any(
                all(judged(one, table) == truth[one] for one in tried)
                for table in _neighbours(counts, hidden, minimum, int(group), int(cell))
            )
            for group, cell in np.argwhere(hidden)
        ):
            shown.append(groups)
    return tuple(_ends(truth[groups]) if groups in shown else None for groups in comparisons)


def _ends(judgement: Judgement) -> Band | None:
    band = judgement[1]
    return None if band is None else (BANDS[band], BANDS[band + 1])


def _judge(result: TestResult) -> Judgement:
    """Return the name of the test and the number of its band."""
    if np.isnan(result.p):
        return result.test, None
    return result.test, int(np.searchsorted(BANDS[1:-1], result.p, side="right"))


def _neighbours(
    counts: Float, hidden: Mask, minimum: int, group: int, cell: int
) -> Iterator[Float]:
    """Yield tables with the same published cells and one patient moved into or out of a gap."""
    floor = 0.0 if hidden[group].all() else 1.0
    for other in np.flatnonzero(hidden[group]):
        for step in (1.0, -1.0):
            table = counts.copy()
            table[group, cell] += step
            table[group, other] -= step
            gaps = table[group][hidden[group]]
            levels = table[group, :-1]
            small = (levels > 0) & (levels < minimum) & hidden[group, :-1]
            if other != cell and gaps.min() >= floor and small.any():
                yield table
