"""Areas within the levels of the study's strata, of test sets at one site and over sites.

A continuous or ordinal column is cut at the median of the training patients. Over sites the areas
take three rounds, as fewer patients call for more care: first the counts of each level, then, of
levels that are large enough, histograms of the scores in cells that hold several patients of the
whole set, then the placements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.evaluation.calibration_fit import (
    CalibrationFit,
    calibration_question,
    fit_sums,
    fit_unknown,
    rounded_fit,
)
from common.evaluation.level_areas import LevelAreas, hidden_levels, publishable_levels
from common.learning.quantile_cells import ROUNDS, Quantile, Tally, roundest
from common.messages.exchanges import EvaluateReply, SumItem
from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.calibration import CalibrationSums
from common.statistics.class_histogram import (
    MOST_CELLS,
    ClassCells,
    ClassHistogram,
    ClassHistogramResult,
    merge_class,
    merge_classes,
)
from common.statistics.histogram import Histogram, HistogramResult
from common.statistics.placements import DeLongResult, Placements, delong_unknown
from common.statistics.table1 import JoinedHistogram
from common.study.model import ClinicalColumn, Study
from common.study.strata import is_cut, level_names, level_view, most_levels, strata_columns
from common.transforms import Select
from common.transforms.views import table
from server.phases.batching import Procedure, run_together
from server.phases.protocol import UNREAD, Federation, any_unread
from server.phases.quartiles import ColumnFindings, CountedSet, find_quartiles, quartiles_asks

# the histogram of a level has about this many cells at most
CELLS = 24
# a cut is rounded by at most this share of the distance between the quartiles
ROUNDING = 0.05
FEWEST_DIGITS, MOST_DIGITS = 3, 17

Key = tuple[str, str]  # set, stratum


@plain
class StratumFindings:
    """Areas of every model within the levels of one stratum of one test set.

    Parameters
    ----------
    variable : the stratum's column. levels : their names.
    alone : one site holds the set.
    areas : None where the site withholds them, or where sums over the sites are not masked.
    """

    subset: str
    variable: str
    levels: tuple[str, ...]
    alone: bool
    areas: LevelAreas | None


def strata_findings(
    federation: Federation,
    names: tuple[str, ...],
    edges: Float,
    cuts: Mapping[str, float],
    replies: Mapping[str, EvaluateReply],
) -> tuple[StratumFindings, ...]:
    """Find the areas of every model in every level of every stratum of every test set.

    Parameters
    ----------
    names : of the models. edges : (k, cells + 1). cuts : by column.
    replies : of the handout, with the sets that one site holds.
    """
    study, findings = federation.study, []
    labels = {c.name: level_names(c, cuts.get(c.name)) for c in strata_columns(study)}
    summed = [t.name for t in study.test_sets if study.masked(t.name)]
    over_sites = _over_sites(federation, summed, names, edges, labels) if labels else {}
    for test in study.test_sets:
        members = study.members(test.name)
        alone = len(members) == 1
        for variable, levels in labels.items():
            found = over_sites.get((test.name, variable))
            if alone and replies is not UNREAD:
                found = replies[members[0]].strata.get(test.name, {}).get(variable)
            findings.append(StratumFindings(test.name, variable, levels, alone, found))
    return tuple(findings)


def strata_asks(study: Study, models: int) -> tuple[tuple[Disclosure, ...], int]:
    """Declare counts, histograms, placements and calibration by level; and the rounds."""
    levels = sum(most_levels(column) for column in strata_columns(study))
    subsets = [test.name for test in study.test_sets if study.masked(test.name)]
    if not levels or not subsets:
        return (), 0
    one_cell = ClassHistogram(edges=np.zeros((models, 2)))
    fine = ClassHistogram(edges=np.zeros((models, MOST_CELLS + 1)))
    asked: list[Disclosure] = []
    for subset in subsets:
        asked.append(sum_disclosure(study, fine, models, subset))
        calibration = CalibrationSums(*(np.zeros(models) for _ in range(3)))
        for statistic in (one_cell, fine, widest_placements(models), calibration):
            asked.append(sum_disclosure(study, statistic, models, subset, tables=levels))
    return tuple(asked), 3


def widest_placements(models: int) -> Placements:
    """Return a question for placements in as many cells as there may be."""
    edges, counts = np.zeros((models, MOST_CELLS + 1)), np.zeros((models, MOST_CELLS))
    cells = ClassCells(edges=edges, counts=counts, lower=counts, upper=counts)
    return Placements(edges=edges, single=counts, negatives=cells, positives=cells)


def placements_of(histogram: ClassHistogramResult, minimum: int) -> Placements:
    """Return the question for placements in the cells of a histogram, small ones joined."""
    return Placements(
        edges=histogram.edges,
        single=histogram.single,
        negatives=merge_class(histogram, 0, minimum),
        positives=merge_class(histogram, 1, minimum),
    )


@dataclass(frozen=True)
class _Level:
    """A level of a stratum in a set."""

    subset: str
    variable: str
    level: int

    def item(self, statistic: Any, names: tuple[str, ...]) -> SumItem:
        """Ask for a statistic over its patients."""
        return SumItem(statistic, level_view(names, self.variable, self.level), self.subset)


def _over_sites(
    federation: Federation,
    subsets: Sequence[str],
    names: tuple[str, ...],
    edges: Float,
    labels: Mapping[str, tuple[str, ...]],
) -> dict[Key, LevelAreas]:
    """Find the levels of sets spread over sites; three rounds for all together."""
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
    hidden, shown = _allowed(federation, counts, wholes)
    areas = _areas(federation, [one for one in levels if shown[one]], names, wholes)
    nothing = delong_unknown(0, 0, len(names)), fit_unknown(len(names))
    found = {}
    for subset, variable in dict.fromkeys((one.subset, one.variable) for one in levels):
        own = [one for one in levels if (one.subset, one.variable) == (subset, variable)]
        found[subset, variable] = LevelAreas(
            counts=np.array([counts[one] for one in own]),
            hidden=np.array([float(hidden[one]) for one in own]),
            areas=tuple(areas.get(one, nothing)[0] for one in own),
            fits=tuple(areas.get(one, nothing)[1] for one in own),
        )
    return found


def _allowed(
    federation: Federation,
    counts: Mapping[_Level, Float],
    wholes: Mapping[str, ClassHistogramResult],
) -> tuple[dict[_Level, bool], dict[_Level, bool]]:
    """Find levels that are withheld altogether, and those with patients enough for an area."""
    privacy = federation.study.privacy
    hidden: dict[_Level, bool] = {}
    shown: dict[_Level, bool] = {}
    for subset, variable in dict.fromkeys((one.subset, one.variable) for one in counts):
        own = [one for one in counts if (one.subset, one.variable) == (subset, variable)]
        held = np.array([counts[one] for one in own])
        everyone = wholes[subset].counts[0].sum(axis=1)
        gone = hidden_levels(held, everyone - held.sum(axis=0), privacy.min_cell)
        hidden |= dict(zip(own, gone.tolist(), strict=True))
        shown |= dict(zip(own, publishable_levels(held, gone, privacy).tolist(), strict=True))
    return hidden, shown


def _areas(
    federation: Federation,
    levels: Sequence[_Level],
    names: tuple[str, ...],
    wholes: Mapping[str, ClassHistogramResult],
) -> dict[_Level, tuple[DeLongResult, CalibrationFit]]:
    """Find areas and calibration of levels that are large enough; two rounds."""
    if not levels:
        return {}
    minimum = federation.study.privacy.min_cell
    coarse = {subset: coarse_edges(histogram, minimum) for subset, histogram in wholes.items()}
    histograms = federation.sum_many(
        [one.item(ClassHistogram(edges=coarse[one.subset]), names) for one in levels]
    )
    placements = [placements_of(histogram, minimum) for histogram in histograms]
    asked = [calibration_question(histogram) for histogram in histograms]
    found = federation.sum_many(
        [
            one.item(own, names)
            for statistics in (placements, asked)
            for one, own in zip(levels, statistics, strict=True)
        ]
    )
    if any_unread(found):
        return {}
    fits = map(rounded_fit, map(fit_sums, histograms, asked, found[len(levels) :]))
    return dict(zip(levels, zip(found, fits, strict=False), strict=True))


def coarse_edges(histogram: ClassHistogramResult, minimum: int) -> Float:
    """Join cells until each holds several patients of either outcome in the whole set."""
    rarer = float(histogram.counts[0].sum(axis=1).min())
    return merge_classes(histogram, max(minimum, round(rarer / CELLS), 1)).edges


# -- cuts -----------------------------------------------------------------------------------------


def strata_cuts(federation: Federation) -> dict[str, float]:
    """Find where strata are cut in two; mostly two rounds.

    Of a continuous column the median of the training patients, to the decimals that the column has
    or to as few digits as keep it in its place, three at least. Of an ordinal one the median level,
    the last of the lower part.
    """
    columns = tuple(c for c in strata_columns(federation.study) if is_cut(c))
    continuous = tuple(c for c in columns if c.kind == "continuous")
    ordinal = tuple(c for c in columns if c.kind != "continuous")
    cuts: dict[str, float] = {}
    for found in run_together(
        federation, _medians(federation, continuous), _median_levels(federation, ordinal)
    ):
        cuts |= found
    return {c.name: cuts[c.name] for c in columns if np.isfinite(cuts[c.name])}


def cuts_asks(study: Study) -> tuple[tuple[Disclosure, ...], int]:
    """Declare what `strata_cuts` asks for, and its rounds at most."""
    width = sum(is_cut(column) for column in strata_columns(study))
    if not width:
        return (), 0
    one = CountedSet.of(study, "train")
    return tuple(quartiles_asks(study, width, one, ROUNDS)), ROUNDS


def _medians(
    federation: Federation, columns: tuple[ClinicalColumn, ...]
) -> Procedure[dict[str, float]]:
    if not columns:
        return {}
    train, privacy = CountedSet.of(federation.study, "train"), federation.study.privacy
    findings = yield from find_quartiles(columns, [train], privacy, ranks=False)
    return {
        column.name: _cut(own, column.decimals)
        for column, own in zip(columns, findings, strict=True)
    }


def _median_levels(
    federation: Federation, columns: tuple[ClinicalColumn, ...]
) -> Procedure[dict[str, float]]:
    if not columns:
        return {}
    view = table("coded").then(Select(columns=tuple(c.name for c in columns)))
    most = max(len(column.levels) for column in columns)
    inner = np.arange(1, most) - 0.5
    edges = np.tile([-np.inf, *inner.tolist(), np.inf], (len(columns), 1))
    train, minimum = CountedSet.of(federation.study, "train"), federation.study.privacy.min_cell
    statistic = JoinedHistogram(edges, minimum) if train.joined else Histogram(edges)
    (found,) = yield [SumItem(statistic, view, "train")]
    counted: HistogramResult = found
    return {
        column.name: _median_level(own[: len(column.levels)])
        for column, own in zip(columns, counted.counts, strict=True)
    }


def _cut(found: ColumnFindings, decimals: int | None) -> float:
    """Round the median; NaN where it is not known.

    Where no patient lies above the median, as with an upper limit of detection, the cut is put
    below the patients who share it.
    """
    low, middle, high = found.quartiles[0]
    if not math.isfinite(middle.value):
        return math.nan
    spread = high.value - low.value if math.isfinite(high.value - low.value) else 0.0
    tally = found.tally
    for cut in rounded_cuts(middle, spread, decimals):
        below, above = _parts(tally, cut)
        # a hospital that holds the set alone sends the quartiles, and no more than joined cells
        if found.sets[0].joined or (below > 0.5 and above > 0.5):
            return cut
    lower = _below_the_highest(tally)
    return middle.value if lower is None else lower


def rounded_cuts(median: Quantile, spread: float, decimals: int | None) -> Iterator[float]:
    """Round a median to more and more digits, moving it by at most 5 % of `spread`.

    A value that several patients share is kept: they belong to the lower part.

    >>> next(rounded_cuts(Quantile(61.23456, 0.1), 12.0, None))
    61.2
    >>> next(rounded_cuts(Quantile(1e9 + 0.1234, 0.01), 2.0, None))
    1000000000.1
    """
    if decimals is not None:
        yield round(median.value, decimals)
    shared = median.error == 0.0 and median.rows > 1.5
    allowed = 0.0 if shared else ROUNDING * spread
    for digits in range(FEWEST_DIGITS, MOST_DIGITS):
        rounded = float(f"{median.value:.{digits}g}")
        if abs(rounded - median.value) <= allowed:
            yield rounded


def _parts(tally: Tally, cut: float) -> tuple[float, float]:
    """Count the patients who are known to lie up to a cut, and above it."""
    cell = int(np.searchsorted(tally.edges, cut, side="right"))
    ends = np.concatenate([[0.0], tally.below[0], tally.total[:1]])
    value = tally.single(cell)
    if value is None:
        return float(ends[cell]), float(ends[-1] - ends[cell + 1])
    upto = ends[cell + 1] if value <= cut else ends[cell]
    return float(upto), float(ends[-1] - upto)


def _below_the_highest(tally: Tally) -> float | None:
    """Return a cut between the patients of the highest cell and others, None without others."""
    below, edges = tally.below[0], tally.edges
    held = np.flatnonzero(below < tally.total[0] - 0.5)
    if not held.size or below[held[-1]] < 0.5:
        return None
    last = int(held[-1])
    # the lowest edge that has all the others below it, or the last one that has some
    first = int(np.searchsorted(below, below[last] - 0.5))
    first = last - 1 if first == last else first
    if first < 0 or below[first] < 0.5:
        return None
    return roundest(float(edges[first]), float(edges[last]))


def _median_level(counts: Float) -> float:
    """Find the first level up to which half of the patients are, but not the last with any."""
    if counts.sum() < 0.5:
        return math.nan
    # whole numbers, so that exactly one half is not missed by rounding
    upto = np.cumsum(np.rint(counts))
    median = int(np.argmax(2.0 * upto >= upto[-1]))
    last = int(np.flatnonzero(np.rint(counts))[-1])
    return float(max(min(median, last - 1), 0))
