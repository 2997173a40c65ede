"""Rules for the counts, means and histograms of sums over sites and of one site's own tables.

Nobody sees a site's part of a masked sum over three sites and more, so it may be small. A subset
that one site holds alone is that site's own table, and answered with statistics that protect it.
"""

from __future__ import annotations

import numpy as np

from common.disclosure.asked import Asked
from common.disclosure.refusing import Refusals
from common.statistics.site_quartiles import UNKNOWN_DECIMALS
from common.statistics.table1 import GroupSums, JoinedHistogram, ProtectedLevelCounts


def check_rows(asked: Asked) -> Refusals:
    """Check means, deviations and numbers of values present."""
    if asked.trains or not asked.seen:
        return ()
    if not asked.alone:
        return asked.stands_alone()
    fewest = asked.privacy.min_rows
    if isinstance(asked.statistic, GroupSums) and asked.statistic.minimum >= fewest:
        return ()
    present = np.isfinite(asked.rows.values).sum(axis=0)
    if ((present > 0) & (present < fewest)).any():
        return asked.refuse("rows", f"values of a column of {asked.subset}")
    return ()


def check_paired(asked: Asked) -> Refusals:
    """Check sums over patients that were read twice: none, or enough."""
    first, second = asked.rows.values, asked.rows.paired
    if second is None:
        return ()
    twice = (np.isfinite(first) & np.isfinite(second)).sum(axis=0)
    if ((twice > 0) & (twice < asked.privacy.min_category)).any():
        return asked.refuse("paired", "patients read twice")
    return ()


def check_cells(asked: Asked) -> Refusals:
    """Check counts by level, or by cell of a histogram."""
    fewest = asked.privacy.min_cell
    protects = isinstance(asked.statistic, ProtectedLevelCounts | JoinedHistogram)
    if asked.alone:
        # below 2 no cell is small
        if fewest > 1 and not (protects and asked.statistic.minimum >= fewest):
            return asked.refuse("cells", f"a table of {asked.subset}, held by one site")
        return ()
    return asked.stands_alone() if asked.seen and not asked.trains else ()


def check_quartiles(asked: Asked) -> Refusals:
    """Check median and quartiles of a set that this site holds alone, as the study records them."""
    statistic, privacy = asked.statistic, asked.privacy
    recorded = {column.name: column.decimals for column in asked.study.clinical}
    names = asked.view.outputs()
    own = [recorded.get(name) for name in names]
    declared = [UNKNOWN_DECIMALS if decimals is None else decimals for decimals in own]
    if not asked.alone or statistic.decimals.tolist() != declared:
        return asked.refuse("form", "quartiles of another set or column than a study's Table 1")
    if statistic.fewest < privacy.min_rows:
        return asked.refuse("rows", f"quartiles of {asked.subset}")
    if statistic.minimum < privacy.min_cell:
        return asked.refuse("cells", f"quartiles of {asked.subset}, held by one site")
    return ()


def allow(asked: Asked) -> Refusals:
    """Add nothing to the rules of the subset."""
    return ()
