"""Rules for the counts, means and histograms of sums over sites and of one site's own tables.

Nobody sees a site's part of a masked sum over three sites and more, so it may be small. A subset
that one site holds alone is that site's own table, and answered with statistics that protect it.
"""

from __future__ import annotations

import numpy as np

from common.disclosure.rule import Rule, SumQuery, declare
from common.statistics.table1 import GroupSums, JoinedHistogram, ProtectedLevelCounts


def check_rows(query: SumQuery) -> str:
    """Refuse sums over few test patients of this site that somebody would see apart."""
    statistic, fewest = query.statistic, query.privacy.min_rows
    if statistic.kind == "quartiles":
        return "quartiles" if statistic.fewest < fewest else ""
    if query.trains or not query.seen:
        return ""
    if not query.alone:
        return "rows of a set" if 0 < query.rows.n < fewest else ""
    protects = isinstance(statistic, GroupSums) and statistic.minimum >= fewest
    if statistic.kind != "rows" or protects:
        return ""
    present = np.isfinite(query.rows.values).sum(axis=0)
    return "values of a column" if ((present > 0) & (present < fewest)).any() else ""


def check_paired(query: SumQuery) -> str:
    """Check sums over patients that were read twice: none, or enough."""
    first, second = query.rows.values, query.rows.paired
    if second is None:
        return ""
    twice = (np.isfinite(first) & np.isfinite(second)).sum(axis=0)
    few = (twice > 0) & (twice < query.privacy.min_category)
    return "patients read twice" if few.any() else ""


def check_cells(query: SumQuery) -> str:
    """Refuse small cells, by level or by interval, of a set that this site holds alone."""
    statistic, fewest = query.statistic, query.privacy.min_cell
    if statistic.kind == "quartiles":
        return "quartiles" if statistic.minimum < fewest else ""
    protects = isinstance(statistic, ProtectedLevelCounts | JoinedHistogram)
    # below 2 no cell is small
    small = query.alone and fewest > 1 and not (protects and statistic.minimum >= fewest)
    return "cells that nothing joins" if small else ""


declare(
    Rule(
        name="rows",
        protects="single patients behind a mean, a standard deviation or any other sum",
        text="A hospital takes part in sums over training patients only with at least this many,"
        " and gives a mean of a test set that it holds alone only where as many patients have a"
        " value. No smallest or largest value is asked for; where a column says how many decimals"
        " it has, the counts of its values over all hospitals are.",
        setting="min_rows",
        sums=(
            "rows",
            "cells",
            "rank_histogram",
            "quartiles",
            "score_histogram",
            "scores",
            "placements",
            "calibration",
            "ranked_pairs",
            "follow_up",
        ),
        check=check_rows,
        describes=True,
        decided_here=True,
    ),
    Rule(
        name="paired",
        protects="the few patients whose tumour was contoured twice",
        text="A hospital answers about agreement between readers only where at least this many"
        " patients were contoured twice; hospitals without any add nothing.",
        setting="min_category",
        sums=("paired",),
        check=check_paired,
        decided_here=True,
        way="no repeat readings in cohort.csv of {site}",
    ),
    Rule(
        name="cells",
        protects="small cells of a table",
        text="A table of a test set that one hospital holds alone leaves it only with cells below"
        " this number withheld or joined, and with a second cell withheld where one could be"
        " computed. Median and quartiles of a column leave it only where at least this many"
        " patients lie in each quarter, with no more digits than a table needs.",
        setting="min_cell",
        sums=("cells", "rank_histogram", "quartiles", "support"),
        check=check_cells,
        decided_here=True,
    ),
)
