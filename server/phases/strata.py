"""Areas within the levels of the study's strata, of test sets at one site and over sites.

Over sites it takes three rounds, as fewer patients call for more care: first only how many there
are in each level, then histograms of the scores in cells that hold several patients of the whole
set, of levels that are large enough, then the placements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.evaluation.delong import auc_interval
from common.evaluation.level_areas import (
    LevelAreas,
    difference_test,
    hidden_levels,
    levels_told,
    without_variance,
)
from common.messages.exchanges import EvaluateReply, SumItem
from common.statistics.base import Float
from common.statistics.class_histogram import (
    ClassHistogram,
    ClassHistogramResult,
    merge_class,
    merge_classes,
)
from common.statistics.placements import DeLongResult, Placements, delong_unknown
from common.study.strata import level_names, level_view, strata_columns
from common.transforms import Select
from common.transforms.views import table
from server.federation.federation import Federation

# the histogram of a level has about this many cells at most
CELLS = 24
FEW = "too few patients, or too few with or without the endpoint"
SMALL = "withheld: small counts"
UNMASKED = "withheld: sums over fewer than three sites are not masked"

Key = tuple[str, str]  # set, stratum


@dataclass
class StrataFindings:
    """Rows for results.json, without the run's name."""

    strata: list[dict[str, Any]] = field(default_factory=list)
    strata_tests: list[dict[str, Any]] = field(default_factory=list)


def strata_findings(
    federation: Federation,
    names: tuple[str, ...],
    edges: Float,
    cuts: Mapping[str, float],
    replies: Mapping[str, EvaluateReply],
) -> StrataFindings:
    """Every model in every level of every stratum of every test set.

    Parameters
    ----------
    names : of the models. edges : (k, cells + 1). cuts : by column.
    replies : of the handout, with the sets that one site holds.
    """
    study, findings = federation.study, StrataFindings()
    labels = {c.name: level_names(c, cuts.get(c.name)) for c in strata_columns(study)}
    summed = [t.name for t in study.test_sets if study.masked(t.name)]
    over_sites = _over_sites(federation, summed, names, edges, labels) if labels else {}
    for test in study.test_sets:
        members = federation.sites_with(test.name)
        for variable, levels in labels.items():
            found = over_sites.get((test.name, variable))
            note = ""
            if len(members) == 1:
                found = replies[members[0]].strata.get(test.name, {}).get(variable)
                note = FEW
            elif found is None:
                note = UNMASKED
            key = {"set": test.name, "variable": variable}
            _add(findings, key, names, levels, found, note)
    return findings


def _add(
    findings: StrataFindings,
    key: dict[str, str],
    names: tuple[str, ...],
    levels: tuple[str, ...],
    found: LevelAreas | None,
    note: str,
) -> None:
    """Rows of one stratum of one set: a row a level and model, and a test a model."""
    for i, level in enumerate(levels):
        for column, model in enumerate(names):
            row: dict[str, Any] = {**key, "model": model, "level": level, "note": note}
            if found is not None:
                row |= _level_row(found, i, column)
            findings.strata.append(row)
    if found is None or len(found.areas) < 2:
        return
    for column, model in enumerate(names):
        test = _test(found, levels, column)
        if test is not None:
            findings.strata_tests.append({**key, "model": model, **test})


def _test(found: LevelAreas, levels: tuple[str, ...], column: int) -> dict[str, Any] | None:
    """Whether the areas of a model differ, or why that was not tested; None with fewer than two."""
    areas = [float(area.auc[column]) for area in found.areas]
    variances = [float(area.covariance[column, column]) for area in found.areas]
    number = int(np.isfinite(areas).sum())
    if number < 2:
        return None
    statistic, _, p = difference_test(areas, variances)
    sure = [levels[level] for level in without_variance(areas, variances)]
    note = f"not tested: the AUC of {', '.join(sure)} has no variance" if sure else ""
    return {"levels": number, "statistic": statistic, "p": p, "note": note}


def _level_row(levels: LevelAreas, level: int, column: int) -> dict[str, Any]:
    if levels.hidden[level] > 0.5:
        return {"note": SMALL}
    negatives, positives = (round(float(count)) for count in levels.counts[level])
    area = levels.areas[level]
    auc = float(area.auc[column])
    found = auc_interval(auc, float(area.covariance[column, column]), negatives, positives)
    counts = {"n": negatives + positives, "positives": positives}
    note = "" if np.isfinite(auc) else FEW
    interval = {"ci_low": found.low, "ci_high": found.high, "ci_method": found.method}
    return {**counts, "auc": auc, **interval, "note": note}


@dataclass(frozen=True)
class _Level:
    """A level of a stratum in a set."""

    subset: str
    variable: str
    level: int

    def item(self, statistic: Any, names: tuple[str, ...]) -> SumItem:
        """A statistic over its patients."""
        return SumItem(statistic, level_view(names, self.variable, self.level), self.subset)


def _over_sites(
    federation: Federation,
    subsets: Sequence[str],
    names: tuple[str, ...],
    edges: Float,
    labels: Mapping[str, tuple[str, ...]],
) -> dict[Key, LevelAreas]:
    """Levels of sets spread over sites; three rounds for all together."""
    levels = [
        _Level(subset, variable, level)
        for subset in subsets
        for variable, own in labels.items()
        for level in range(len(own))
    ]
    if not levels:
        return {}
    one_cell = ClassHistogram(edges=np.tile([-np.inf, np.inf], (len(names), 1)))
    whole = table("scores").then(Select(columns=names))
    first = federation.sum_many(
        [
            *(SumItem(ClassHistogram(edges=edges), whole, subset) for subset in subsets),
            *(one.item(one_cell, names) for one in levels),
        ]
    )
    wholes: dict[str, ClassHistogramResult] = dict(zip(subsets, first, strict=False))
    counts = {
        one: result.counts[0, :, 0]
        for one, result in zip(levels, first[len(subsets) :], strict=True)
    }
    hidden, told = _allowed(federation, counts, wholes)
    areas = _areas(federation, [one for one in levels if told[one]], names, wholes)
    nothing = delong_unknown(0, 0, len(names))
    found = {}
    for subset, variable in dict.fromkeys((one.subset, one.variable) for one in levels):
        own = [one for one in levels if (one.subset, one.variable) == (subset, variable)]
        found[subset, variable] = LevelAreas(
            counts=np.array([counts[one] for one in own]),
            hidden=np.array([float(hidden[one]) for one in own]),
            areas=tuple(areas.get(one, nothing) for one in own),
        )
    return found


def _allowed(
    federation: Federation,
    counts: Mapping[_Level, Float],
    wholes: Mapping[str, ClassHistogramResult],
) -> tuple[dict[_Level, bool], dict[_Level, bool]]:
    """Levels that are withheld altogether, and those with patients enough for an area."""
    privacy = federation.study.privacy
    hidden: dict[_Level, bool] = {}
    told: dict[_Level, bool] = {}
    for subset, variable in dict.fromkeys((one.subset, one.variable) for one in counts):
        own = [one for one in counts if (one.subset, one.variable) == (subset, variable)]
        held = np.array([counts[one] for one in own])
        everyone = wholes[subset].counts[0].sum(axis=1)
        gone = hidden_levels(held, everyone - held.sum(axis=0), privacy.min_cell)
        hidden |= dict(zip(own, gone.tolist(), strict=True))
        told |= dict(zip(own, levels_told(held, gone, privacy).tolist(), strict=True))
    return hidden, told


def _areas(
    federation: Federation,
    levels: Sequence[_Level],
    names: tuple[str, ...],
    wholes: Mapping[str, ClassHistogramResult],
) -> dict[_Level, DeLongResult]:
    """Areas of levels that are large enough; two rounds."""
    if not levels:
        return {}
    minimum = federation.study.privacy.min_cell
    coarse = {subset: _coarse(histogram, minimum) for subset, histogram in wholes.items()}
    histograms = federation.sum_many(
        [one.item(ClassHistogram(edges=coarse[one.subset]), names) for one in levels]
    )
    placements = [
        Placements(
            edges=histogram.edges,
            single=histogram.single,
            negatives=merge_class(histogram, 0, minimum),
            positives=merge_class(histogram, 1, minimum),
        )
        for histogram in histograms
    ]
    found = federation.sum_many(
        [one.item(own, names) for one, own in zip(levels, placements, strict=True)]
    )
    return dict(zip(levels, found, strict=True))


def _coarse(histogram: ClassHistogramResult, minimum: int) -> Float:
    """Edges of cells that hold several patients of either outcome in the whole set."""
    rarer = float(histogram.counts[0].sum(axis=1).min())
    return merge_classes(histogram, max(minimum, round(rarer / CELLS), 1)).edges
