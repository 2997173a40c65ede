"""Table 1: the study sets side by side, tested, from counts and sums only.

Two rounds for most studies; more, up to 13, where a column of medians is very skewed or has many
ties, see `server.phases.quartiles`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from common.evaluation.suppression import suppress
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.counts import LevelCounts
from common.statistics.moments import Means
from common.statistics.table1 import GroupSums, ProtectedCountResult, ProtectedLevelCounts
from common.study.model import ClinicalColumn, PrivacySettings
from common.transforms import Select
from common.transforms.views import View, table
from server.federation.batching import Procedure, in_lockstep
from server.federation.federation import Federation
from server.phases.quartiles import CountedSet, find_quartiles
from server.phases.table1_rows import StudySet, level_rows, mean_row, median_row

Columns = tuple[ClinicalColumn, ...]
Rows = dict[str, list[dict[str, Any]]]


def table1(federation: Federation) -> list[dict[str, Any]]:
    """Rows for results.json, in the order of the study file, then the endpoint."""
    clinical = federation.study.clinical
    numbers = tuple(c for c in clinical if c.kind == "continuous")
    medians = tuple(c for c in numbers if c.summary == "median")
    by_name: Rows = {}
    for found in in_lockstep(
        federation,
        _means(federation, tuple(c for c in numbers if c.summary == "mean")),
        _medians(federation, tuple(c for c in medians if c.decimals is not None)),
        _medians(federation, tuple(c for c in medians if c.decimals is None)),
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


def _medians(federation: Federation, columns: Columns) -> Procedure[Rows]:
    """Medians, quartiles and rank tests; the columns agree in whether their decimals are known."""
    if not columns:
        return {}
    sets, privacy = study_sets(federation), federation.study.privacy
    recorded = all(column.decimals is not None for column in columns)
    counted = [_counted_set(federation, one, recorded=recorded) for one in sets]
    findings = yield from find_quartiles(columns, counted, privacy, ranks=True)
    return {
        column.name: [median_row(column, sets, own, privacy)]
        for column, own in zip(columns, findings, strict=True)
    }


def _counted_set(federation: Federation, one: StudySet, *, recorded: bool) -> CountedSet:
    """Say how a set is counted: with small cells joined where a site's part can be seen.

    The study declares with the decimals of a column that its values are counted one by one.
    """
    seen = one.alone or not (recorded or federation.study.masked(one.name))
    return CountedSet(
        name=one.name,
        hospitals=len(federation.sites_with(one.name)),
        joined=seen and federation.study.privacy.min_cell > 1,
    )


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
