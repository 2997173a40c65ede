"""Table 1: the study sets side by side, tested, from counts and sums only.

Two rounds; three when a median column does not say how many decimals were recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from common.evaluation.recorded import Cells, padded, recorded_cells
from common.evaluation.suppression import suppress
from common.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.counts import LevelCounts
from common.statistics.histogram import Histogram, HistogramResult
from common.statistics.moments import Means
from common.statistics.rank_gram import first_edges, refine_edges
from common.statistics.table1 import (
    GroupSums,
    JoinedHistogram,
    ProtectedCountResult,
    ProtectedLevelCounts,
    merge_groups,
)
from common.study import ClinicalColumn, PrivacySettings
from common.transforms import Select
from common.views import View, table
from server.federation import Federation
from server.lockstep import Procedure, in_lockstep
from server.phases.table1_rows import StudySet, level_rows, mean_row, median_row

Columns = tuple[ClinicalColumn, ...]
Rows = dict[str, list[dict[str, Any]]]
MOST_GROUPED_CELLS, ROWS_PER_CELL = 64, 10


def table1(federation: Federation) -> list[dict[str, Any]]:
    """Rows for results.json, in the order of the study file, then the endpoint."""
    clinical = federation.study.clinical
    numbers = tuple(c for c in clinical if c.kind == "continuous")
    medians = tuple(c for c in numbers if c.summary == "median")
    by_name: Rows = {}
    for found in in_lockstep(
        federation,
        _means(federation, tuple(c for c in numbers if c.summary == "mean")),
        _recorded_medians(federation, tuple(c for c in medians if c.decimals is not None)),
        _grouped_medians(federation, tuple(c for c in medians if c.decimals is None)),
        _levels(federation, tuple(c for c in clinical if c.kind != "continuous")),
    ):
        by_name |= found
    return [row for column in clinical for row in by_name[column.name]] + _outcome(federation)


def study_sets(federation: Federation) -> list[StudySet]:
    """The training set and the test sets of which a table may be made.

    Where sums are not masked, a site's part of a set is that site's own table, and takes as many
    patients as one.
    """
    fewest = federation.study.privacy.min_rows

    def told(name: str) -> bool:
        sites = federation.sites_with(name)
        own = [federation.members[site].counts[name][0] for site in sites]
        hidden = federation.study.masked(name) or len(sites) == 1
        return hidden or all(n == 0 or n >= fewest for n in own)

    names = [test.name for test in federation.study.test_sets]
    names = ["train", *(name for name in names if told(name))]
    return [
        StudySet(name, federation.count(name)[0], len(federation.sites_with(name)) == 1)
        for name in names
    ]


def _means(federation: Federation, columns: Columns) -> Procedure[Rows]:
    if not columns:
        return {}
    view, sets = _view(columns), study_sets(federation)
    (found,) = yield [SumItem(Means(), view, "train")]
    privacy = federation.study.privacy
    groups = yield _group_sums(found.mean, view, sets, privacy)
    return {c.name: [mean_row(c, sets, groups, i, privacy)] for i, c in enumerate(columns)}


def _recorded_medians(federation: Federation, columns: Columns) -> Procedure[Rows]:
    """Medians and rank tests on cells that hold one recorded value each."""
    if not columns:
        return {}
    view, sets = _view(columns), study_sets(federation)
    n, mean, deviation = yield from _moments(view, sets, federation.study.privacy)
    cells = [
        recorded_cells(float(n[i]), float(mean[i]), float(deviation[i]), c.decimals or 0)
        for i, c in enumerate(columns)
    ]
    width = max(one.low.size for one in cells)
    edges = np.array([padded(one.edges, width) for one in cells])
    histograms = yield _histograms(federation, edges, view, sets)
    return _median_rows(federation, columns, histograms, cells)


def _grouped_medians(federation: Federation, columns: Columns) -> Procedure[Rows]:
    """Medians and rank tests on cells that hold about equal shares of all rows."""
    if not columns:
        return {}
    view, sets = _view(columns), study_sets(federation)
    n, mean, deviation = yield from _moments(view, sets, federation.study.privacy)
    scale = np.where(deviation > 0, deviation, np.maximum(1e-6 * np.abs(mean), 1e-12))
    cells = int(np.clip(n.min() // ROWS_PER_CELL, 4, MOST_GROUPED_CELLS))
    standard = first_edges(len(columns), cells)
    first = yield _histograms(federation, _unscaled(standard, mean, scale), view, sets)
    counts = np.sum([histogram.counts for histogram in first], axis=0)
    standard = refine_edges(HistogramResult(edges=standard, counts=counts), cells)
    edges = _unscaled(standard, mean, scale)
    histograms = yield _histograms(federation, edges, view, sets)
    found = [Cells(edges=own, low=own[:-1], high=own[1:]) for own in edges]
    return _median_rows(federation, columns, histograms, found)


def _levels(federation: Federation, columns: Columns) -> Procedure[Rows]:
    if not columns:
        return {}
    view, sets = _view(columns), study_sets(federation)
    levels, minimum = max(len(c.levels) for c in columns), federation.study.privacy.min_cell
    results = yield [
        SumItem(
            ProtectedLevelCounts(levels=levels, minimum=minimum)
            if s.alone
            else LevelCounts(levels=levels),
            view,
            s.name,
        )
        for s in sets
    ]
    rows: Rows = {}
    for index, column in enumerate(columns):
        size = len(column.levels)
        # results are as wide as the column with most levels
        keep = [*range(size), levels]
        counts = np.zeros((len(sets), size + 1))
        hidden = np.zeros(counts.shape, dtype=bool)
        for position, (group, result) in enumerate(zip(sets, results, strict=True)):
            if isinstance(result, ProtectedCountResult):
                counts[position] = result.counts[index, keep]
                hidden[position] = result.hidden[index, keep]
                continue
            counts[position, :-1] = result.counts[index, :size]
            counts[position, -1] = group.patients - counts[position].sum()
            hidden[position] = suppress(counts[position], minimum)
        rows[column.name] = level_rows(column, sets, counts, hidden, minimum)
    return rows


def _outcome(federation: Federation) -> list[dict[str, Any]]:
    """The endpoint itself, from the counts of the enrolment, which every site has agreed to."""
    pairs = [federation.count(s.name) for s in study_sets(federation)]
    counts = np.array([[n - positives, positives, 0.0] for n, positives in pairs])
    minimum = federation.study.privacy.min_cell
    hidden = np.array([suppress(own, minimum) for own in counts])
    sets = [StudySet(s.name, s.patients, alone=False) for s in study_sets(federation)]
    column = ClinicalColumn(
        name="endpoint", kind="binary", levels=("negative", "positive")
    ).model_copy(update={"name": federation.study.endpoint})
    return level_rows(column, sets, counts, hidden, minimum)


def _view(columns: Columns) -> View:
    return table("coded").then(Select(columns=tuple(c.name for c in columns)))


def _group_sums(
    centre: Float, view: View, sets: list[StudySet], privacy: PrivacySettings
) -> list[SumItem]:
    """Sums a set; one that a single site holds alone comes without columns of too few values."""
    return [
        SumItem(GroupSums(centre=centre, minimum=privacy.min_rows if s.alone else 0), view, s.name)
        for s in sets
    ]


def _moments(
    view: View, sets: list[StudySet], privacy: PrivacySettings
) -> Procedure[tuple[Float, Float, Float]]:
    """Values, mean and SD (ddof = 0) over all sets; 0 and 0 where nobody has a value."""
    groups = yield _group_sums(np.zeros(len(view.outputs())), view, sets, privacy)
    whole = merge_groups(groups)
    deviation = np.sqrt(whole.squares / np.maximum(whole.n, 1.0))
    return whole.n, np.nan_to_num(whole.mean), deviation


def _histograms(
    federation: Federation, edges: Float, view: View, sets: list[StudySet]
) -> list[SumItem]:
    """A histogram a set; one that a single site holds alone comes joined to cells not too small."""
    minimum = federation.study.privacy.min_cell
    joined, plain = JoinedHistogram(edges=edges, minimum=minimum), Histogram(edges=edges)
    return [SumItem(joined if s.alone and minimum > 1 else plain, view, s.name) for s in sets]


def _median_rows(
    federation: Federation, columns: Columns, histograms: list[Any], cells: list[Cells]
) -> Rows:
    sets, privacy = study_sets(federation), federation.study.privacy
    rows: Rows = {}
    for index, (column, own) in enumerate(zip(columns, cells, strict=True)):
        counts = np.array([histogram.counts[index, : own.low.size] for histogram in histograms])
        rows[column.name] = [median_row(column, sets, counts, own, privacy)]
    return rows


def _unscaled(edges: Float, mean: Float, scale: Float) -> Float:
    return mean[:, None] + scale[:, None] * edges
