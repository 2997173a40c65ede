"""Rules for the scores of test patients, and for the counts that a forest is grown from."""

from __future__ import annotations

from common.disclosure.rule import Refusals, Rule, SumQuery, declare, fall_short
from common.disclosure.training import smaller_class
from common.statistics.base import Rows
from common.statistics.forest import NodeCounts
from common.study.model import PrivacySettings

# kinds of sums over the scores of test patients
OF_SCORES = (
    "score_histogram",
    "scores",
    "placements",
    "calibration",
    "ranked_pairs",
    "follow_up",
)


def check_test_set(rows: Rows, subset: str, privacy: PrivacySettings) -> Refusals:
    """Check measures of a site's own test patients: enough rows and enough of each class."""
    return fall_short(privacy, subset, {"test_rows": rows.n, "test_class": smaller_class(rows)})


def check_one_site_scores(query: SumQuery) -> str:
    """Refuse sums over scores of a test set that this site holds alone.

    The first round's histograms by class and threshold are sums over scores as well: masked over
    three sites and more, their cells may hold single rows of all sites, of which nobody knows the
    site.
    """
    return "scores of one site's own set" if query.alone and not query.trains else ""


def check_test_class(query: SumQuery) -> str:
    """Refuse sums over scores of few test patients of one class that somebody would see apart."""
    if query.trains or query.alone or not query.seen:
        return ""
    few = 0 < smaller_class(query.rows) < query.privacy.min_per_class
    return "rows of a class" if few else ""


def check_placements(query: SumQuery) -> str:
    """Check that class-wise cells for comparison across sites hold none or enough rows."""
    fewest = query.privacy.min_cell
    for cells in (query.statistic.negatives, query.statistic.positives):
        if ((cells.counts > 0.5) & (cells.counts < fewest - 0.5)).any():
            return "rows of a class in a cell"
    return ""


def check_bin_counts(query: SumQuery) -> str:
    """Check class counts in the bins of open tree nodes.

    A site cannot know how many rows of all sites a node holds. It checks the question itself: the
    study declares it, trees are no deeper than allowed (each level is one round), and nodes split
    only where one of the study's bins ends, so that no threshold can be moved until it separates
    one patient from the others.
    """
    statistic: NodeCounts = query.statistic
    if query.study.fusion.pooling != "bins":
        return "a study that does not grow its forest from counts"
    inner = statistic.feature.shape[1]
    if inner.bit_length() > query.privacy.max_tree_depth:
        return "levels of a tree"
    if statistic.edges.shape[1] - 1 > query.study.fusion.bins:
        return "bins of a column"
    split = statistic.feature >= 0
    edges = statistic.edges[statistic.feature[split]]
    at_edges = (edges == statistic.threshold[split][:, None]).any(axis=1).all()
    return "" if at_edges else "a split that is not at the edge of a bin"


declare(
    Rule(
        name="bin_counts",
        protects="the few patients in a small branch of a decision tree",
        text="A forest that is grown from counts may be at most this deep and split at the edges"
        " of the study's bins alone, and only a study that declares it may ask.",
        setting="max_tree_depth",
        sums=("bin_counts",),
        check=check_bin_counts,
    ),
    Rule(
        name="test_rows",
        protects="single test patients",
        text="Measures of a hospital's own test patients are given only where there are at least"
        " this many.",
        setting="min_rows",
        decided_here=True,
    ),
    Rule(
        name="test_class",
        protects="the few test patients of one outcome",
        text="Measures of a hospital's own test patients are given only where at least this many"
        " have either outcome.",
        setting="min_per_class",
        sums=OF_SCORES,
        check=check_test_class,
        decided_here=True,
    ),
    Rule(
        name="one_site_scores",
        protects="test patients of one hospital",
        text="A test set that one hospital holds alone is evaluated inside it; sums over its"
        " scores are not given.",
        fixed=2.0,
        sums=OF_SCORES,
        check=check_one_site_scores,
    ),
    Rule(
        name="placements",
        protects="test patients of the other hospitals with unusual scores",
        text="To compare scores across hospitals each learns how many patients of either outcome"
        " lie in an interval of the score: at least this many, or in a wide interval none.",
        setting="min_cell",
        sums=("placements",),
        check=check_placements,
    ),
)
