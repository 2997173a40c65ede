"""Every measure at the cut-off with its interval: tables of the report, and rows of a CSV file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby

from common.evaluation.at_cutoff import AtCutoff, Estimate, at_cutoff
from common.html.pages import Block, Cell, Line
from common.models import MODELS
from server.report import words
from server.report.performance_records import Performance
from server.report.reading import MatrixRow, main_run, performance_matrix, primary, set_label
from server.report.schema import Results

SHARES = {
    "accuracy": "Accuracy, %",
    "sensitivity": "Sensitivity, %",
    "specificity": "Specificity, %",
    "ppv": "PPV, %",
    "npv": "NPV, %",
}
RATIOS = {"lr_positive": "LR+", "lr_negative": f"LR{words.MINUS}"}
MEASURE_COLUMNS = ("run", "set", "model", "measure", "value", "low", "high", "method")
_METHODS = {**dict.fromkeys(SHARES, "wilson"), **dict.fromkeys(RATIOS, "log")}


def measures_of(row: Performance) -> AtCutoff | None:
    """Return the measures of one model on one set; None where its counts are withheld."""
    if row.tp is None or row.tn is None or row.positives is None or row.negatives is None:
        return None
    return at_cutoff(row.tp, row.tn, row.positives, row.negatives)


def measure_blocks(results: Results) -> list[Block]:
    """Return a table a set: a row for each model of the main run whose counts are known."""
    blocks = []
    titles = ("Model", *SHARES.values(), *RATIOS.values())
    for name, group in groupby(performance_matrix(results), key=lambda row: row.set):
        lines = tuple(_lines(group, main_run(results)))
        if lines:
            blocks.append(Block(set_label(name), "", titles, lines, f"measures-{name}"))
    return blocks


def precision_blocks(results: Results) -> list[Block]:
    """Return the area under the precision-recall curve, a table a set where it is known."""
    blocks = []
    titles = ("Model", f"Average precision (95%{words.NO_BREAK}CI)")
    run = main_run(results)
    for name, group in groupby(performance_matrix(results), key=lambda row: row.set):
        known = [found for row in group if (found := primary(row, run)) is not None]
        shown = [row for row in known if row.average_precision is not None]
        lines = tuple(Line(MODELS[row.model].label, (_precision(row),), row.model) for row in shown)
        if lines:
            first = shown[0]
            share = None if first.positives is None or not first.n else first.positives / first.n
            note = f"Without skill: {words.number(share)}, the share with the finding."
            blocks.append(Block(set_label(name), note, titles, lines, f"precision-{name}"))
    return blocks


def _precision(row: Performance) -> Cell:
    span = words.interval(row.ap_low, row.ap_high)
    return Cell(words.auc(row.average_precision), span, "precision")


def measure_rows(results: Results) -> Iterator[list[str | float | None]]:
    """Yield the values of `MEASURE_COLUMNS`, of every run, set, model and measure."""
    for row in results.performance:
        found = measures_of(row)
        if found is None:
            continue
        for name, method in _METHODS.items():
            one: Estimate = getattr(found, name)
            ends = [end if math.isfinite(end) else None for end in (one.value, one.low, one.high)]
            yield [row.run, row.set, row.model, name, *ends, method]


def _lines(rows: Iterator[MatrixRow], run: str) -> Iterator[Line]:
    for row in rows:
        known = primary(row, run)
        found = None if known is None else measures_of(known)
        if found is None:
            continue
        shares = [_share(getattr(found, name), name) for name in SHARES]
        ratios = [_ratio(getattr(found, name), name) for name in RATIOS]
        yield Line(MODELS[row.model].label, (*shares, *ratios), row.model)


def _share(one: Estimate, key: str) -> Cell:
    if math.isnan(one.value):
        return Cell(words.MISSING, key=key)
    low, high = 100 * one.low, 100 * one.high
    return Cell(f"{100 * one.value:.0f}", f"{low:.0f}{words.EN_DASH}{high:.0f}", key)


def _ratio(one: Estimate, key: str) -> Cell:
    if math.isnan(one.value):
        return Cell(words.MISSING, key=key)
    span = f"{_plain(one.low)}{words.EN_DASH}{_plain(one.high)}"
    return Cell(_plain(one.value), span, key)


def _plain(value: float) -> str:
    return "\N{INFINITY}" if math.isinf(value) else f"{value:.2f}"
