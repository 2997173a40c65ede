"""Table 1: the study sets side by side, tested, from counts and sums only.

Two rounds for most studies; more, up to 13, where a column of medians is very skewed or has many
ties, see `server.phases.quartiles`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.dossier.disclosure import Phase, sum_disclosure
from common.evaluation.suppression import Mask, suppress
from common.evaluation.table1 import (
    TestResult,
    analysis_of_variance,
    contingency_test,
    p_bands,
    rank_test,
)
from common.learning.quantile_cells import ROUNDS
from common.messages.exchanges import SumItem
from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.counts import LevelCounts
from common.statistics.moments import Means
from common.statistics.table1 import (
    GroupResult,
    GroupSums,
    ProtectedCountResult,
    ProtectedLevelCounts,
)
from common.study.model import ClinicalColumn, PrivacySettings, Study
from common.transforms import Select
from common.transforms.views import SLICES, View, table
from server.phases.batching import Procedure, run_together
from server.phases.protocol import Federation, any_unread
from server.phases.quartiles import (
    UNORDERED,
    ColumnFindings,
    CountedSet,
    find_quartiles,
    quartiles_asks,
)

Columns = tuple[ClinicalColumn, ...]
FEW_VALUES, SMALL_COUNTS = "too few values", "P withheld: small counts"


@plain
class StudySet:
    """The training set or a test set.

    Parameters
    ----------
    patients : over all sites.
    alone : one site holds them all, so that a sum is this site's own table.
    """

    name: str
    patients: int
    alone: bool


@plain
class PairFindings:
    """A test set compared with the training set.

    Parameters
    ----------
    name : of the test set.
    test : its p is NaN where something is withheld.
    band : bounds of p where counts are withheld.
    note : reason why there is no p.
    """

    name: str
    test: TestResult
    band: tuple[float, float] | None = None
    note: str = ""


Pairs = tuple[PairFindings, ...]


@plain
class LevelFindings:
    """Counts of a column with levels.

    Parameters
    ----------
    counts : (sets, levels + 1), patients without a value last.
    hidden : of the same shape, True = withheld.
    test : of the counts; its p is NaN where one that it takes in is withheld.
    band : bounds of p in that case.
    pairs : each test set against the training set; none where there is one test set alone.
    note : which sets the test leaves out, and why.
    """

    counts: Float
    hidden: Mask
    test: TestResult
    band: tuple[float, float] | None
    pairs: Pairs = ()
    note: str = ""


@plain
class MeanFindings:
    """Values, mean and deviation (sets,) of a column, and the analysis of variance.

    `pairs` and `note` are those of `LevelFindings`.
    """

    n: Float
    mean: Float
    deviation: Float
    test: TestResult
    pairs: Pairs = ()
    note: str = ""


@plain
class MedianFindings:
    """Quartiles of a skewed column, and its rank test.

    Parameters
    ----------
    n : (sets,), values.
    quartiles : (sets, 3); NaN = withheld, or without values.
    notes : by set, reasons why something is withheld, or nothing.
    note : reason why the test is withheld, or leaves sets out.
    pairs : as in `LevelFindings`.
    """

    n: Float
    quartiles: Float
    notes: tuple[str, ...]
    test: TestResult
    note: str
    pairs: Pairs = ()


Findings = dict[str, LevelFindings | MeanFindings | MedianFindings]


@plain
class Table1Findings:
    """Table 1 over these sets.

    Parameters
    ----------
    columns : findings by clinical column.
    endpoint : of the endpoint, without it first.
    slices : by set, axial slices of all patients together; NaN = too few patients, nothing without
        a network that looks at slices.
    """

    sets: tuple[StudySet, ...]
    columns: Findings
    endpoint: LevelFindings
    slices: tuple[float, ...] = ()


def table1(federation: Federation) -> Table1Findings:
    """Count, sum and test every clinical column in every set."""
    clinical = federation.study.clinical
    numbers = tuple(c for c in clinical if c.kind == "continuous")
    medians = tuple(c for c in numbers if c.summary == "median")
    sets, by_name = study_sets(federation), Findings()
    slices, *others = run_together(
        federation,
        _slices(federation, sets),
        _means(federation, sets, tuple(c for c in numbers if c.summary == "mean")),
        _medians(federation, sets, tuple(c for c in medians if c.decimals is not None)),
        _medians(federation, sets, tuple(c for c in medians if c.decimals is None)),
        _levels(federation, sets, tuple(c for c in clinical if c.kind != "continuous")),
    )
    for found in others:
        by_name |= found
    return Table1Findings(sets, by_name, _endpoint(federation, sets), slices)


def table1_asks(study: Study) -> Phase:
    """Declare what `table1` asks for; median columns may need many rounds and cells."""
    numbers = [c for c in study.clinical if c.kind == "continuous"]
    means = sum(c.summary == "mean" for c in numbers)
    medians = [c.decimals is not None for c in numbers if c.summary == "median"]
    levels = [len(c.levels) for c in study.clinical if c.kind != "continuous"]
    asked = [sum_disclosure(study, Means(), means)] if means else []
    extra = 0
    for subset in ("train", *(test.name for test in study.test_sets)):
        if means:
            asked.append(sum_disclosure(study, GroupSums(centre=np.zeros(means)), means, subset))
        for recorded in (True, False):
            if recorded in medians:
                one = CountedSet.of(study, subset, recorded=recorded)
                rounds = ROUNDS + 1 if subset == "train" else 1
                asked.extend(quartiles_asks(study, medians.count(recorded), one, rounds))
                extra = max(extra, int(one.joined))
        if levels:
            alone = len(study.members(subset)) == 1
            statistic = _level_counts(max(levels), alone, study.privacy)
            asked.append(sum_disclosure(study, statistic, len(levels), subset))
        if study.cuts_slices:
            asked.append(sum_disclosure(study, GroupSums(centre=np.zeros(1)), 1, subset))
    once = levels or study.cuts_slices
    rounds = ROUNDS + extra if medians else 2 if means else 1 if once else 0
    return Phase("table1", "Table 1: the sets of patients side by side", rounds, tuple(asked))


def study_sets(federation: Federation) -> tuple[StudySet, ...]:
    """List the training set and the test sets of which a table may be made.

    Where sums are not masked, a site's part of a set is that site's own table, and takes as many
    patients as one.
    """
    study = federation.study

    def allowed(name: str) -> bool:
        sites = study.members(name)
        own = [federation.members[site].counts[name][0] for site in sites]
        hidden = study.masked(name) or len(sites) == 1
        return hidden or all(n == 0 or n >= study.privacy.min_rows for n in own)

    tests = (test.name for test in study.test_sets)
    return tuple(
        StudySet(name, federation.count(name)[0], alone=len(study.members(name)) == 1)
        for name in ("train", *(name for name in tests if allowed(name)))
    )


def _view(columns: Columns) -> View:
    return table("coded").then(Select(columns=tuple(c.name for c in columns)))


# -- slices ---------------------------------------------------------------------------------------


def _slices(federation: Federation, sets: Sequence[StudySet]) -> Procedure[tuple[float, ...]]:
    """Count the axial slices of each set; one round."""
    study = federation.study
    if not study.cuts_slices:
        return ()
    view, fewest = table(SLICES).then(Select(columns=(SLICES,))), study.privacy.min_rows
    groups = yield [
        SumItem(GroupSums(centre=np.zeros(1), minimum=fewest if s.alone else 0), view, s.name)
        for s in sets
    ]
    if any_unread(groups):
        return ()
    totals = [float(group.n[0] * group.mean[0]) for group in groups]
    enough = [group.n[0] >= max(fewest, 1) for group in groups]
    return tuple(total if shown else np.nan for total, shown in zip(totals, enough, strict=True))


# -- means ----------------------------------------------------------------------------------------


def _means(
    federation: Federation, sets: Sequence[StudySet], columns: Columns
) -> Procedure[Findings]:
    if not columns:
        return {}
    view, fewest = _view(columns), federation.study.privacy.min_rows
    (found,) = yield [SumItem(Means(), view, "train")]
    groups = yield [
        # of a set that a single site holds, columns of too few values stay there
        SumItem(GroupSums(centre=found.mean, minimum=fewest if s.alone else 0), view, s.name)
        for s in sets
    ]
    if any_unread(groups):
        return {}
    return {
        column.name: _mean_findings(sets, groups, i, fewest) for i, column in enumerate(columns)
    }


def _mean_findings(
    sets: Sequence[StudySet], groups: Sequence[GroupResult], column: int, fewest: int
) -> MeanFindings:
    """Compare the sets with at least `fewest` values."""
    enough = [group.n[column] >= fewest for group in groups]

    def compare(places: Sequence[int]) -> TestResult:
        return analysis_of_variance([groups[i] for i in places if enough[i]], column)

    return MeanFindings(
        n=np.array([group.n[column] for group in groups]),
        mean=np.array([group.mean[column] for group in groups]),
        deviation=np.array([group.deviation[column] for group in groups]),
        test=compare(range(len(sets))),
        pairs=tuple(
            PairFindings(sets[i].name, compare((0, i)))
            if enough[0] and enough[i]
            else PairFindings(sets[i].name, _untested(), note=FEW_VALUES)
            for i in _pairs(sets)
        ),
        note=_without(sets, enough, FEW_VALUES),
    )


def _without(sets: Sequence[StudySet], tested: Sequence[bool], why: str) -> str:
    """Name the sets that a test of several leaves out; empty where there are none, or all are."""
    left_out = [group.name for group, used in zip(sets, tested, strict=True) if not used]
    some = 0 < len(left_out) < len(sets)
    return f"without {', '.join(left_out)}: {why}" if some else ""


def _pairs(sets: Sequence[StudySet]) -> range:
    """Return the places of the test sets, the training set being the first; none if just one."""
    return range(1, len(sets)) if len(sets) > 2 else range(0)


def _untested() -> TestResult:
    return TestResult(test="", statistic=np.nan, p=np.nan)


# -- medians --------------------------------------------------------------------------------------


def _medians(
    federation: Federation, sets: Sequence[StudySet], columns: Columns
) -> Procedure[Findings]:
    """Find medians and quartiles; the columns agree in whether their decimals are known."""
    if not columns:
        return {}
    study = federation.study
    recorded = all(column.decimals is not None for column in columns)
    counted = [CountedSet.of(study, one.name, recorded=recorded) for one in sets]
    findings = yield from find_quartiles(columns, counted, study.privacy, ranks=True)
    if not findings:
        return {}
    return {
        column.name: _tested(sets, own, study.privacy.min_rows)
        for column, own in zip(columns, findings, strict=True)
    }


def _tested(sets: Sequence[StudySet], found: ColumnFindings, fewest: int) -> MedianFindings:
    """Compare the sets by rank.

    Sets with fewer values than `fewest` take no part, nor do those whose cells had to be joined so
    much that the ranks are not known.
    """
    n = found.counts.sum(axis=1)
    enough = n >= fewest
    used = enough & found.usable
    test, note = _ranked(found, used)
    note = note or _without(sets, (found.usable | ~enough).tolist(), UNORDERED)
    pairs = []
    for place in _pairs(sets):
        both = np.isin(np.arange(len(sets)), (0, place))
        pair, why = _ranked(found, used & both)
        if not (used & both)[[0, place]].all():
            few = not (enough & both)[[0, place]].all()
            pair, why = _untested(), FEW_VALUES if few else f"P withheld: {UNORDERED}"
        pairs.append(PairFindings(sets[place].name, pair, note=why))
    return MedianFindings(
        n=n,
        quartiles=np.array([[one.value for one in three] for three in found.quartiles]),
        notes=found.notes,
        test=test,
        note=note,
        pairs=tuple(pairs),
    )


def _ranked(found: ColumnFindings, used: Mask) -> tuple[TestResult, str]:
    """Compare these sets (True = used) by rank; the note says why p is withheld."""
    test = rank_test(found.counts[used])
    if not found.comparable(used):
        return TestResult(test=test.test, statistic=np.nan, p=np.nan), f"P withheld: {UNORDERED}"
    joined = any(one.joined for one, wanted in zip(found.sets, used, strict=True) if wanted)
    if joined or found.unsorted(used).any():
        test = TestResult(test=f"{test.test} (grouped)", statistic=test.statistic, p=test.p)
    return test, ""


# -- levels ---------------------------------------------------------------------------------------


def _levels(
    federation: Federation, sets: Sequence[StudySet], columns: Columns
) -> Procedure[Findings]:
    if not columns:
        return {}
    view, privacy = _view(columns), federation.study.privacy
    levels = max(len(c.levels) for c in columns)
    results = yield [SumItem(_level_counts(levels, s.alone, privacy), view, s.name) for s in sets]
    found: Findings = {}
    if any_unread(results):
        return found
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
            hidden[position] = suppress(counts[position], privacy.min_cell)
        known = [not s.alone and s.patients >= privacy.min_cell for s in sets]
        found[column.name] = _compared(sets, counts, hidden, known, privacy.min_cell)
    return found


def _level_counts(
    levels: int, alone: bool, privacy: PrivacySettings
) -> ProtectedLevelCounts | LevelCounts:
    """Leave small cells at a site that holds the set alone."""
    if alone:
        return ProtectedLevelCounts(levels=levels, minimum=privacy.min_cell)
    return LevelCounts(levels=levels)


def _endpoint(federation: Federation, sets: Sequence[StudySet]) -> LevelFindings:
    """Compare the endpoint by the counts of the enrolment, which every site has agreed to."""
    minimum = federation.study.privacy.min_cell
    pairs = [federation.count(s.name) for s in sets]
    counts = np.array([[n - positives, positives, 0.0] for n, positives in pairs])
    hidden = np.array([suppress(own, minimum) for own in counts])
    return _compared(sets, counts, hidden, [s.patients >= minimum for s in sets], minimum)


def _compared(
    sets: Sequence[StudySet], counts: Float, hidden: Mask, known: Sequence[bool], minimum: int
) -> LevelFindings:
    """Test all counts, as the coordinator knows them, also those withheld.

    A set of which something is withheld is left out unless all its counts are `known` here.
    """
    tested = np.array(known) | ~hidden.any(axis=1)
    everybody = tuple(np.flatnonzero(tested).tolist())
    pairs = {place: (0, place) for place in _pairs(sets) if tested[0] and tested[place]}
    comparisons = [everybody, *pairs.values()]
    in_bands = [groups for groups in comparisons if hidden[list(groups)].any()]
    bands = dict(
        zip(
            in_bands,
            # what is withheld of a set that is not tested is in no p
            p_bands(counts, hidden & tested[:, None], minimum, _by_level, in_bands),
            strict=True,
        )
    )

    def judged(groups: tuple[int, ...]) -> TestResult:
        if groups in bands and bands[groups] is None:
            return _untested()  # which test it would be depends on the counts, too
        test = _by_level(counts[list(groups), :-1])
        return test if groups not in bands else TestResult(test.test, np.nan, np.nan)

    def pair(place: int) -> PairFindings:
        groups = pairs.get(place)
        if groups is None or (groups in bands and bands[groups] is None):
            return PairFindings(sets[place].name, _untested(), note=SMALL_COUNTS)
        return PairFindings(sets[place].name, judged(groups), bands.get(groups))

    return LevelFindings(
        counts=counts,
        hidden=hidden,
        test=judged(everybody),
        band=bands.get(everybody),
        pairs=tuple(pair(place) for place in _pairs(sets)),
        note=_without(sets, tested.tolist(), SMALL_COUNTS.removeprefix("P withheld: ")),
    )


def _by_level(table: Float) -> TestResult:
    """Test counts (sets, levels)."""
    return contingency_test(table.T)
