"""Models trained without each hospital in turn: what they reach on its patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy

from common.evaluation.random_effects import (
    FEWEST,
    FEWEST_PREDICTED,
    RandomEffects,
    random_effects,
)
from common.html.pages import Block, Cell, Line
from common.models import MODELS
from common.utils.portable import Z_95
from server.report import words
from server.report.heterogeneity import summary_lines, summary_of
from server.report.performance import interval_warnings
from server.report.performance_records import LeaveOneOut
from server.report.reading import models
from server.report.schema import Results

LEAVE_ONE_OUT_COLUMNS = (
    *("site", "model", "n", "positives", "auc", "ci_low", "ci_high", "ci_method"),
    *("large", "large_low", "large_high", "slope", "slope_low", "slope_high"),
)
SUMMARY_COLUMNS = (
    *("model", "measure", "hospitals", "mean", "ci_low", "ci_high"),
    *("tau", "i2", "prediction_low", "prediction_high"),
)
_LINES = {"slope": "Calibration slope", "large": "Calibration in the large"}


def leave_one_out_blocks(results: Results) -> list[Block]:
    """Return a table of the AUC, the calibration slope and intercept; none without such runs."""
    rows = results.leave_one_out
    shown = [model for model in models(results) if any(row.model == model for row in rows)]
    sites = list(dict.fromkeys(row.site for row in rows if row.model in shown))
    if not sites:
        return []
    columns = ("Hospital left out", "Patients, with finding", *(MODELS[m].label for m in shown))
    lines = [_line(site, _of(rows, site, shown), _auc) for site in sites]
    lines += summary_lines(rows, shown)
    note = " ".join(interval_warnings([(row.site, row) for row in rows]))
    blocks = [Block("AUC", note, columns, tuple(lines), "leave-one-out-auc")]
    for measure, title in _LINES.items():
        cells = [_line(site, _of(rows, site, shown), measure) for site in sites]
        cells += _summary(rows, shown, measure)
        blocks.append(Block(title, "", columns, tuple(cells), f"leave-one-out-{measure}"))
    return blocks


def _of(rows: Sequence[LeaveOneOut], site: str, shown: Sequence[str]) -> list[LeaveOneOut | None]:
    found = {row.model: row for row in rows if row.site == site}
    return [found.get(model) for model in shown]


_auc = "auc"


def _line(site: str, rows: Sequence[LeaveOneOut | None], measure: str) -> Line:
    known = next(row for row in rows if row is not None)
    patients = Cell(f"{known.n}, {known.positives}", key="n")
    return Line(site, (patients, *(_cell(row, measure) for row in rows)), site)


def _cell(row: LeaveOneOut | None, measure: str) -> Cell:
    found = None if row is None else _estimate(row, measure)
    if found is None:
        return Cell(words.MISSING, key=measure)
    value, low, high = found
    if measure == _auc:
        return Cell(words.auc(value), words.interval(low, high), measure)
    return Cell(_number(value), _span(low, high), measure)


def _estimate(row: LeaveOneOut, measure: str) -> tuple[float, float, float] | None:
    low, high = ("ci_low", "ci_high") if measure == _auc else (f"{measure}_low", f"{measure}_high")
    found = [getattr(row, name) for name in (measure, low, high)]
    return None if None in found else (found[0], found[1], found[2])


def _span(low: float, high: float) -> str:
    return f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    """Write two decimals, with a minus sign, and zero without one."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", words.MINUS)


def _effects(rows: Sequence[LeaveOneOut], measure: str) -> tuple[int, RandomEffects] | None:
    """Return the number of hospitals and the summary of estimates whose interval is Wald's."""
    known = [found for row in rows if (found := _estimate(row, measure)) is not None]
    errors = [(high - low) / (2.0 * Z_95) for _, low, high in known]
    if len(known) < FEWEST or min(errors) <= 0.0:
        return None
    values = np.array([value for value, _, _ in known])
    return len(known), random_effects(values, np.square(errors))


def _summary(rows: Sequence[LeaveOneOut], shown: Sequence[str], measure: str) -> Iterator[Line]:
    found = [_effects([row for row in rows if row.model == model], measure) for model in shown]
    if not any(found):
        return
    means, expected = [], []
    for summary in found:
        if summary is None:
            means.append(Cell(words.MISSING))
            expected.append(Cell(words.MISSING))
            continue
        count, one = summary
        means.append(Cell(_number(one.mean), _span(one.low, one.high), "mean"))
        spread = f"tau {one.tau:.2f}, I\N{SUPERSCRIPT TWO} {100 * one.i2:.0f} %"
        reach = words.MISSING
        if count >= FEWEST_PREDICTED:
            reach = _span(one.predicted_low, one.predicted_high)
        expected.append(Cell(reach, spread, "expected"))
    yield Line("Mean over hospitals", (Cell(""), *means), "mean", pinned=True)
    yield Line("Expected at a new hospital", (Cell(""), *expected), "expected", pinned=True)


def summary_rows(results: Results) -> Iterator[list[str | int | float | None]]:
    """Yield the values of `SUMMARY_COLUMNS`, of every model and measure."""
    for model in dict.fromkeys(row.model for row in results.leave_one_out):
        own = [row for row in results.leave_one_out if row.model == model]
        for measure in (_auc, *_LINES):
            summary = summary_of(own) if measure == _auc else _effects(own, measure)
            if summary is None:
                continue
            count, one = summary
            ends = [one.mean, one.low, one.high]
            reach: list[float | None] = [None, None]
            if count >= FEWEST_PREDICTED:
                reach = [one.predicted_low, one.predicted_high]
            if measure == _auc:  # the summary is on the logit, and so are tau and I2
                ends = [float(scipy.special.expit(end)) for end in ends]
                reach = [None if end is None else float(scipy.special.expit(end)) for end in reach]
            yield [model, measure, count, *ends, one.tau, one.i2, *reach]
