"""Rows of results.json from the findings of the phases: what may be shown, and in which words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from common.disclosure.rule import TRAIN
from common.evaluation.average_precision import precision_interval
from common.evaluation.calibration_curve import calibration_table
from common.evaluation.decision_curve import decision_curve
from common.evaluation.delong import auc_interval, paired_test, wald_interval
from common.evaluation.level_areas import LevelAreas, difference_test
from common.evaluation.local import Evaluation
from common.evaluation.suppression import Mask, suppress
from common.messages.exchanges import EnrolReply
from common.statistics.base import Float
from common.statistics.placements import DeLongResult
from common.study.follow_up import FollowUp
from common.study.model import ClinicalColumn, PrivacySettings, Study
from server.phases.set_findings import EvaluationFindings, SetFindings, one_site_method
from server.phases.strata import StratumFindings
from server.phases.table1 import (
    LevelFindings,
    MeanFindings,
    MedianFindings,
    StudySet,
    Table1Findings,
)
from server.report.calibration_rows import (
    curve_of,
    level_fit,
    recalibration_rows,
    set_fits,
    site_fits,
)
from server.report.comparisons import difference_of
from server.report.follow_up import follow_up_rows, performance_rows

FEW = "too few patients, or too few with or without the endpoint"
SMALL = "withheld: small counts"
UNMASKED = "withheld: sums over fewer than three sites are not masked"
WITHHELD = "withheld by the site: too few patients, or too few of one class"
TABLES = (
    *("performance", "site_performance", "delong", "roc", "calibration", "decision_curve"),
    *("strata", "strata_tests", "refusals", "calibration_fits", "recalibration", "follow_up"),
)

Row = dict[str, Any]

# -- table 1 --------------------------------------------------------------------------------------


def table1_rows(study: Study, found: Table1Findings) -> list[Row]:
    """Return the rows of Table 1 in the order of the study file, then the endpoint."""
    rows: list[Row] = []
    for column in study.clinical:
        own = found.columns[column.name]
        if isinstance(own, LevelFindings):
            rows += _level_rows(column, found.sets, own)
        elif isinstance(own, MeanFindings):
            rows.append(_mean_row(column, found.sets, own, study.privacy))
        else:
            rows.append(_median_row(column, found.sets, own, study.privacy))
    endpoint = ClinicalColumn(name="endpoint", kind="binary", levels=("negative", "positive"))
    named = endpoint.model_copy(update={"name": study.endpoint})
    return [*rows, *_level_rows(named, found.sets, found.endpoint)]


def _level_rows(
    column: ClinicalColumn, sets: Sequence[StudySet], found: LevelFindings
) -> list[Row]:
    """Return a row a level."""
    missing = _counts(sets, found.counts[:, -1], found.hidden[:, -1])
    rows = []
    for index, level in enumerate(column.levels):
        cells = {}
        for own, gaps, group in zip(found.counts, found.hidden, sets, strict=True):
            present = group.patients - own[-1]
            shown = not gaps[index]
            cells[group.name] = {
                "n": round(float(own[index])) if shown else None,
                "percent": 100.0 * float(own[index] / present) if shown and present else None,
                "suppressed": not shown,
            }
        row = _table1_row(column, level, cells, missing, found)
        rows.append(row | {"p_band": found.band})
    return rows


def _mean_row(
    column: ClinicalColumn, sets: Sequence[StudySet], found: MeanFindings, privacy: PrivacySettings
) -> Row:
    """Return mean and SD a set, of sets with `min_rows` values."""
    cells, missing = _present(sets, found.n, privacy)
    for group, n, mean, deviation in zip(sets, found.n, found.mean, found.deviation, strict=True):
        shown = n >= privacy.min_rows and n
        cells[group.name] |= {
            "mean": float(mean) if shown else None,
            "sd": float(deviation) if shown and n > 1 else None,
        }
    return _table1_row(column, None, cells, missing, found)


def _median_row(
    column: ClinicalColumn,
    sets: Sequence[StudySet],
    found: MedianFindings,
    privacy: PrivacySettings,
) -> Row:
    """Return median and quartiles a set, of sets with `min_rows` values."""
    cells, missing = _present(sets, found.n, privacy)
    for group, n, three, note in zip(sets, found.n, found.quartiles, found.notes, strict=True):
        shown = n >= privacy.min_rows and n
        for name, value in zip(("q1", "median", "q3"), three.tolist(), strict=True):
            cells[group.name][name] = value if shown and np.isfinite(value) else None
        cells[group.name]["note"] = note if shown else ""
    return _table1_row(column, None, cells, missing, found)


def _present(
    sets: Sequence[StudySet], n: Float, privacy: PrivacySettings
) -> tuple[dict[str, Row], dict[str, int | None]]:
    """Return cells with the number of values, and the numbers missing."""
    pairs = np.array([[own, group.patients - own] for own, group in zip(n, sets, strict=True)])
    hidden = np.array([suppress(pair, privacy.min_cell) for pair in pairs])
    # a site that holds the set alone gives no column of few values, not even their number
    kept = [s.alone and privacy.min_rows > 1 and own == 0 for s, own in zip(sets, n, strict=True)]
    hidden[kept] = True
    cells: dict[str, Row] = {}
    for group, own, gap in zip(sets, n, hidden[:, 0], strict=True):
        withheld = bool(gap or 0 < own < privacy.min_rows)
        cells[group.name] = {"n": None if gap else round(float(own)), "suppressed": withheld}
    return cells, _counts(sets, pairs[:, 1], hidden[:, 1])


def _counts(sets: Sequence[StudySet], counts: Float, hidden: Mask) -> dict[str, int | None]:
    return {
        group.name: None if gap else round(float(count))
        for group, count, gap in zip(sets, counts, hidden, strict=True)
    }


def _table1_row(
    column: ClinicalColumn,
    level: str | None,
    cells: dict[str, Row],
    missing: dict[str, int | None],
    found: LevelFindings | MeanFindings | MedianFindings,
) -> Row:
    return {
        "variable": f"{column.name} ({column.unit})" if column.unit else column.name,
        "level": level,
        "kind": column.kind,
        "decimals": column.decimals,
        "sets": cells,
        "missing": missing,
        "test": found.test.test or None,
        "p": float(found.test.p),
        "note": found.note,
        "pairs": {
            one.name: {
                "test": one.test.test or None,
                "p": float(one.test.p),
                "p_band": one.band,
                "note": one.note,
            }
            for one in found.pairs
        },
    }


def slice_rows(found: Table1Findings) -> list[Row]:
    """Return the axial slices of each set, if a network looks at them; of few patients, None."""
    return [
        {"set": one.name, "slices": round(total) if np.isfinite(total) else None}
        for one, total in zip(found.sets, found.slices, strict=bool(found.slices))
    ]


# -- participants ---------------------------------------------------------------------------------


def participant_rows(study: Study, members: Mapping[str, EnrolReply]) -> list[Row]:
    """Return sites with their patients and positives by set; small counts are withheld.

    The totals of a set are published, so a single gap among its sites could be filled: each outcome
    of a set is taken as a table with a cell a site.
    """
    shown = {
        subset: _shown(
            {site: members[site].counts[subset] for site in study.members(subset)},
            study.privacy.min_cell,
        )
        for subset in ("train", *(test.name for test in study.test_sets))
    }
    return [
        {
            "site": site.name,
            "trains": site.trains,
            "excluded": members[site.name].excluded,
            "sets": {subset: own[site.name] for subset, own in shown.items() if site.name in own},
        }
        for site in study.sites
    ]


def shown_counts(n: int, positives: int, minimum: int) -> dict[str, int | None]:
    """Return counts of a whole set; small ones, and those that give them away, are None."""
    small = [0 < count < minimum for count in (n, positives, n - positives)]
    return {"n": None if small[0] else n, "positives": None if any(small) else positives}


def _shown(counts: dict[str, tuple[int, int]], minimum: int) -> dict[str, dict[str, int | None]]:
    if len(counts) < 2:
        return {site: shown_counts(n, p, minimum) for site, (n, p) in counts.items()}
    pairs = np.array(list(counts.values()), dtype=np.float64)
    outcomes = np.vstack([pairs[:, 1], pairs[:, 0] - pairs[:, 1]])
    few = [suppress(np.append(row, 0.0), minimum)[:-1] for row in outcomes]
    gone = few[0] | few[1]
    small = suppress(np.append(pairs[:, 0], 0.0), minimum)[:-1]
    return {
        site: {
            "n": None if no_n else n,
            "positives": None if no_positives or no_n else positives,
        }
        for (site, (n, positives)), no_n, no_positives in zip(
            counts.items(), small, gone, strict=True
        )
    }


# -- evaluation -----------------------------------------------------------------------------------


def evaluation_rows(
    found: EvaluationFindings, minimum: int, grid: FollowUp | None = None
) -> dict[str, list[Row]]:
    """Return the rows of all tables of measures, by table.

    Parameters
    ----------
    minimum : smallest count that may be shown of a set that its sites withhold.
    grid : the study's grid of times, where the endpoint has one.
    """
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    for one in found.sets:
        if one.evaluation is None:
            rows["performance"] += _withheld_rows(one, found.cutoffs, minimum)
        else:
            joined = minimum > 1 and set(one.methods) == {one_site_method(minimum)}
            _measures(rows, one, one.evaluation, found.cutoffs, joined)
        rows["roc"] += [_roc(one, model, list(found.cutoffs)) for model in one.curves]
    for subset, areas in found.site_areas.items():
        rows["site_performance"] += site_rows(subset, areas, found.cutoffs, minimum, grid)
    rows["calibration_fits"] += site_fits(found.site_fits, tuple(found.cutoffs), minimum > 1)
    rows["strata"], rows["strata_tests"] = strata_rows(tuple(found.cutoffs), found.strata)
    rows["calibration_fits"] += level_fits(tuple(found.cutoffs), found.strata, minimum)
    if grid is not None:
        measured, cuts = found.follow_up, found.cutoffs
        shown = partial(shown_counts, minimum=minimum)
        rows["performance"] += performance_rows(measured, cuts, grid, shown)
        rows["follow_up"] += follow_up_rows(measured, cuts, grid)
    rows["refusals"] = [
        {"site": site, **vars(note)} for site, notes in found.withheld.items() for note in notes
    ]
    return rows


def site_rows(
    subset: str,
    areas: Mapping[str, DeLongResult],
    models: Iterable[str],
    minimum: int,
    grid: FollowUp | None,
    horizon: int = 0,
) -> list[Row]:
    """Return a row of each hospital's own area of each model, at a horizon where there are any."""
    about: Row = {"set": subset, "method": one_site_method(minimum)}
    if grid is not None:
        about["horizon"] = grid.horizons[horizon]
    return [
        {
            **about,
            **{"site": site, "model": model, **_area(area, i)},
            "se": math.sqrt(area.covariance[i, i]),
        }
        for site, area in areas.items()
        for i, model in enumerate(models)
    ]


def _withheld_rows(one: SetFindings, cutoffs: Mapping[str, float], minimum: int) -> list[Row]:
    """Return rows of a set of which patients and positives may be shown, if that."""
    counts = shown_counts(one.patients, one.positives, minimum)
    return [
        {"model": model, "set": one.subset, **counts, "cutoff": float(cutoff), "method": WITHHELD}
        for model, cutoff in cutoffs.items()
    ]


def _measures(
    rows: dict[str, list[Row]],
    one: SetFindings,
    evaluation: Evaluation,
    cutoffs: Mapping[str, float],
    joined: bool,
) -> None:
    """Add all rows of one set but those of its ROC curves.

    Parameters
    ----------
    joined : one hospital gave them, from groups of patients.
    """
    delong, models = evaluation.delong, tuple(cutoffs)
    rows["calibration_fits"] += set_fits(one.subset, models, evaluation, joined)
    rows["recalibration"] += recalibration_rows(one.subset, models, evaluation)
    for i, (model, cutoff) in enumerate(cutoffs.items()):
        key = {"set": one.subset, "model": model}
        tp = round(float(evaluation.confusion.tp[i]))
        tn = round(float(evaluation.confusion.tn[i]))
        counts = {"cutoff": float(cutoff), "correct": tp + tn, "tp": tp, "tn": tn}
        area = {
            **_area(delong, i),
            **_wald(delong, i),
            **_within(one, model),
            **_precision(evaluation, i),
        }
        rows["performance"].append({**key, **area, **counts, "method": one.methods[i]})
        rows["calibration"].append({**key, **_calibration(evaluation, i)})
        if delong.n:
            rows["decision_curve"].append({**key, **_decision(evaluation, i)})
    for (a, first), (b, second) in combinations(enumerate(cutoffs), 2):
        z, p = paired_test(delong, a, b)
        pair = {"model_a": first, "model_b": second}
        apart = difference_of(float(delong.auc[a]), float(delong.auc[b]), z)
        rows["delong"].append({"set": one.subset, **pair, "z": z, "p": p, **apart})


def _roc(one: SetFindings, model: str, models: Sequence[str]) -> Row:
    """Return the points of a curve, the one at the cut-off among them.

    The cells of a small set may hide that point, and a curve without it lies far below its area. On
    the training set the cut-offs of the folds differ, so that their counts are no point of it.
    """
    curve = one.curves[model]
    fpr, tpr = curve.fpr, curve.tpr
    if one.evaluation is not None and one.subset != TRAIN:
        i, counts = models.index(model), one.evaluation.confusion
        negatives = one.patients - one.positives
        fpr = np.append(fpr, 1.0 - round(float(counts.tn[i])) / negatives)
        tpr = np.append(tpr, round(float(counts.tp[i])) / one.positives)
        order = np.lexsort((tpr, fpr))
        fpr, tpr = fpr[order], np.maximum.accumulate(tpr[order])
    return {"set": one.subset, "model": model, "fpr": fpr.tolist(), "tpr": tpr.tolist()}


def _within(one: SetFindings, model: str) -> Row:
    """Return the area of pairs of the same hospital; nothing where it is not known."""
    auc, variance = one.within.get(model, (float("nan"), float("nan")))
    found = auc_interval(auc, variance, one.patients - one.positives, one.positives)
    values = {"auc_within": auc, "within_low": found.low, "within_high": found.high}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def _area(delong: DeLongResult, column: int) -> Row:
    negatives, variance = delong.n - delong.positives, float(delong.covariance[column, column])
    interval = _interval(float(delong.auc[column]), variance, negatives, delong.positives)
    return {"n": delong.n, "positives": delong.positives, **interval}


def _wald(delong: DeLongResult, column: int) -> Row:
    """Return DeLong's own error and interval, which tables of whole sets have beside the other."""
    variance = float(delong.covariance[column, column])
    low, high = wald_interval(float(delong.auc[column]), variance)
    return {"se": float(np.sqrt(max(variance, 0.0))), "wald_low": low, "wald_high": high}


def _precision(evaluation: Evaluation, column: int) -> Row:
    value = float(evaluation.smooth.precision[column])
    error = float(evaluation.smooth.precision_error[column])
    low, high = precision_interval(value, error, evaluation.delong.positives)
    return {"average_precision": value, "ap_low": low, "ap_high": high}


def _interval(auc: float, variance: float, negatives: int, positives: int) -> Row:
    found = auc_interval(auc, variance, negatives, positives)
    return {"auc": auc, "ci_low": found.low, "ci_high": found.high, "ci_method": found.method}


def _calibration(evaluation: Evaluation, column: int) -> Row:
    found = calibration_table(evaluation.calibration, column)
    bins = [
        # a group that is withheld has no number
        {
            "n": int(n) if np.isfinite(n) else None,
            "mean_predicted": float(mean),
            "observed": float(rate),
        }
        for n, mean, rate in zip(found.count, found.probability, found.observed, strict=True)
    ]
    curve = curve_of(evaluation.smooth.curve, column)
    return {"bins": bins, "brier": float(evaluation.brier[column]), "curve": curve}


def _decision(evaluation: Evaluation, column: int) -> Row:
    curve = decision_curve(evaluation.decision, column)
    return {
        "thresholds": curve.threshold.tolist(),
        "net_benefit": curve.model.tolist(),
        "low": curve.low.tolist(),
        "high": curve.high.tolist(),
        "treat_all": curve.treat_all.tolist(),
    }


# -- strata ---------------------------------------------------------------------------------------


def strata_rows(
    names: Sequence[str], found: Iterable[StratumFindings]
) -> tuple[list[Row], list[Row]]:
    """Return a row a level and model, and a test a model, of every stratum of every set."""
    rows: list[Row] = []
    tests: list[Row] = []
    for one in found:
        key = {"set": one.subset, "variable": one.variable}
        note = FEW if one.alone else UNMASKED if one.areas is None else ""
        for i, level in enumerate(one.levels):
            for column, model in enumerate(names):
                row: Row = {**key, "model": model, "level": level, "note": note}
                if one.areas is not None:
                    row |= _level_row(one.areas, i, column)
                rows.append(row)
        if one.areas is None or len(one.areas.areas) < 2:
            continue
        for column, model in enumerate(names):
            test = _difference(one.areas, column)
            if test is not None:
                tests.append({**key, "model": model, **test})
    return rows, tests


def level_fits(
    names: Sequence[str], found: Iterable[StratumFindings], minimum: int
) -> Iterator[Row]:
    """Yield the calibration of each model in each level, with the reason where there is none."""
    for one in found:
        for i, level in enumerate(one.levels):
            for column, model in enumerate(names):
                key = {"set": one.subset, "variable": one.variable, "level": level, "model": model}
                row: Row = {"note": FEW if one.alone else UNMASKED}
                if one.areas is not None:
                    note = SMALL if one.areas.hidden[i] > 0.5 else FEW
                    own = level_fit(one.areas, i, column, one.alone and minimum > 1)
                    row = own or {"note": note}
                yield {**key, **row}


def _difference(found: LevelAreas, column: int) -> Row | None:
    """Test whether the areas of a model differ; None with fewer than two."""
    areas = [float(area.auc[column]) for area in found.areas]
    variances = [float(area.covariance[column, column]) for area in found.areas]
    statistic, freedom, p = difference_test(areas, variances, found.counts)
    if freedom == 0:
        return None
    return {"levels": freedom + 1, "statistic": statistic, "p": p, "note": ""}


def _level_row(levels: LevelAreas, level: int, column: int) -> Row:
    if levels.hidden[level] > 0.5:
        return {"note": SMALL}
    negatives, positives = (round(float(count)) for count in levels.counts[level])
    area = levels.areas[level]
    auc, variance = float(area.auc[column]), float(area.covariance[column, column])
    interval = _interval(auc, variance, negatives, positives)
    note = "" if np.isfinite(auc) else FEW
    return {"n": negatives + positives, "positives": positives, **interval, "note": note}
