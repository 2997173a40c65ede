"""Rules for the scores of test patients, and for the counts that a forest is grown from."""

from __future__ import annotations

from common.disclosure.asked import Asked
from common.disclosure.refusing import Refusals, refusal
from common.disclosure.training import smaller_class
from common.messages.exchanges import Refusal
from common.statistics.base import Rows
from common.statistics.forest import NodeCounts
from common.study.model import PrivacySettings


def check_test_set(rows: Rows, subset: str, privacy: PrivacySettings) -> Refusals:
    """Check measures of a site's own test patients: enough rows and enough of each class."""
    found: list[Refusal] = []
    if rows.n < privacy.min_rows:
        found.append(refusal("test_rows", privacy, f"patients of {subset}"))
    if smaller_class(rows) < privacy.min_per_class:
        found.append(refusal("test_class", privacy, f"patients of one class of {subset}"))
    return tuple(found)


def check_scores(asked: Asked) -> Refusals:
    """Check sums over scores of a set spread over sites, or of the training rows.

    The first round's histograms by class and threshold are such sums: masked over three sites and
    more, their cells may hold single rows of all sites, of which nobody knows the site.
    """
    if asked.trains:
        return ()
    if asked.alone:
        return asked.refuse("one_site_scores", f"scores of {asked.subset}")
    if not asked.seen:
        return ()
    few = 0 < smaller_class(asked.rows) < asked.privacy.min_per_class
    short = asked.refuse("test_class", f"patients of one class of {asked.subset}") if few else ()
    return (*asked.stands_alone(), *short)


def check_placements(asked: Asked) -> Refusals:
    """Check that class-wise cells for comparison across sites hold none or enough rows."""
    fewest = asked.privacy.min_cell
    for cells in (asked.statistic.negatives, asked.statistic.positives):
        if ((cells.counts > 0.5) & (cells.counts < fewest - 0.5)).any():
            return asked.refuse("placements", f"rows of one class of {asked.subset} in a cell")
    return check_scores(asked)


def check_bin_counts(asked: Asked) -> Refusals:
    """Check class counts in the bins of open tree nodes.

    A site cannot know how many rows of all sites a node holds. It checks the question itself: the
    study declares it, trees are no deeper than allowed (each level is one round), and nodes split
    only where one of the study's bins ends, so that no threshold can be moved until it separates
    one patient from the others.
    """
    statistic: NodeCounts = asked.statistic
    if asked.study.fusion.pooling != "bins":
        return asked.refuse("bin_counts", "a study that does not grow its forest from counts")
    inner = statistic.feature.shape[1]
    if inner.bit_length() > asked.privacy.max_tree_depth:
        return asked.refuse("bin_counts", "levels of a tree")
    if statistic.edges.shape[1] - 1 > asked.study.fusion.bins:
        return asked.refuse("bin_counts", "bins of a column")
    split = statistic.feature >= 0
    edges = statistic.edges[statistic.feature[split]]
    if not (edges == statistic.threshold[split][:, None]).any(axis=1).all():
        return asked.refuse("bin_counts", "a split that is not at the edge of a bin")
    return ()
