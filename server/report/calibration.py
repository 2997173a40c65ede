"""Tables of calibration: of whole sets, of hospitals and subgroups, and after recalibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.html.pages import Block, Cell, Line
from common.models import MODELS
from server.report import words
from server.report.performance_records import CalibrationFit, Recalibration
from server.report.reading import main_run, models, set_label, sets
from server.report.schema import Results

FIGURES = ("Observed : expected", "Intercept in the large", "Slope")
WAYS = {"none": "as it is", "large": "new intercept", "logistic": "new intercept and slope"}


def calibration_blocks(results: Results) -> list[Block]:
    """Return a table a set: a row for each model of the main run."""
    blocks = []
    briers = {(row.run, row.set, row.model): row.brier for row in results.calibration}
    run = main_run(results)
    titles = ("Model", *(f"{name} (95%\N{NO-BREAK SPACE}CI)" for name in FIGURES), "Brier score")
    for name in sets(results):
        rows = [row for row in _whole(results) if row.set == name]
        lines = tuple(
            Line(
                MODELS[row.model].label,
                (*_figures(row), Cell(words.number(briers.get((run, name, row.model))), key="b")),
                row.model,
            )
            for row in rows
        )
        if lines:
            blocks.append(Block(set_label(name), _reasons(rows), titles, lines, f"fit-{name}"))
    return blocks


def part_blocks(results: Results) -> list[Block]:
    """Return a table a set: its hospitals and subgroups, a row for each of their models."""
    blocks = []
    titles = ("Hospital or subgroup", "Model", "Patients, with finding", *FIGURES)
    for name in sets(results):
        rows = [row for row in _of(results) if row.set == name and (row.site or row.variable)]
        lines = tuple(_part_line(row) for row in rows if row.oe is not None)
        if lines:
            note = _reasons(rows)
            blocks.append(Block(set_label(name), note, titles, lines, f"parts-{name}"))
    return blocks


def _part_line(row: CalibrationFit) -> Line:
    counts = Cell(f"{row.n}, {row.positives}", key="n")
    cells = (Cell(MODELS[row.model].label), counts, *_figures(row))
    return Line(_where(row), cells, f"{_where(row)}|{row.model}")


def recalibration_blocks(results: Results) -> list[Block]:
    """Return a table a set of patients from elsewhere: its models before and after."""
    outside = {test.name for test in results.study.test_sets if test.split == "external_test"}
    run, blocks = main_run(results), []
    titles = (
        *("Model", "Recalibration", "Logit of the risk", "Observed : expected"),
        *("Brier score", "Net benefit at the cut-off"),
    )
    ratios = {(row.set, row.model): row.oe for row in _whole(results)}
    for name in (name for name in sets(results) if name in outside):
        own = [row for row in results.recalibration if (row.run, row.set) == (run, name)]
        lines = [
            _recalibrated(row, ratios.get((name, row.model)))
            for model in models(results)
            for row in own
            if row.model == model
        ]
        if lines:
            key = f"recalibration-{name}"
            blocks.append(Block(set_label(name), "", titles, tuple(lines), key, sortable=False))
    return blocks


def _recalibrated(row: Recalibration, ratio: float | None) -> Line:
    sign = "+" if row.intercept >= 0 else words.MINUS
    slope = "" if row.way != "logistic" else f"{words.number(row.slope, 2)} "
    line = f"{slope}logit {sign} {abs(row.intercept):.2f}"
    cells = (
        Cell(WAYS[row.way]),
        Cell("logit" if row.way == "none" else line),
        # both fits make the two numbers equal
        Cell(words.number(ratio, 2) if row.way == "none" else "1.00"),
        Cell(words.number(row.brier), key="brier"),
        Cell(words.number(row.net_benefit), key="net_benefit"),
    )
    return Line(MODELS[row.model].label, cells, f"{row.model}|{row.way}")


def _figures(row: CalibrationFit) -> tuple[Cell, ...]:
    return (
        _cell(row.oe, row.oe_low, row.oe_high, "oe"),
        _cell(row.large, row.large_low, row.large_high, "large"),
        _cell(row.slope, row.slope_low, row.slope_high, "slope"),
    )


def _cell(value: float | None, low: float | None, high: float | None, key: str) -> Cell:
    if value is None:
        return Cell(words.MISSING, key=key)
    if low is None or high is None:
        return Cell(words.number(value, 2), key=key)
    span = f"{words.number(low, 2)} to {words.number(high, 2)}"
    return Cell(words.number(value, 2), span, key, order=value)


def _where(row: CalibrationFit) -> str:
    return row.site or f"{words.humanise(row.variable)}: {row.level}"


def _reasons(rows: Sequence[CalibrationFit]) -> str:
    """Say of which rows figures are missing, and why."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            whole = not (row.site or row.variable)
            who = MODELS[row.model].label if whole else _where(row)
            names = reasons.setdefault(row.note, [])
            if who not in names:
                names.append(who)
    return " ".join(f"{words.join(who)}: {why}." for why, who in reasons.items())


def _of(results: Results) -> Iterator[CalibrationFit]:
    """Yield the rows of the main run."""
    run = main_run(results)
    return (row for row in results.calibration_fits if row.run == run)


def _whole(results: Results) -> Iterator[CalibrationFit]:
    """Yield the rows of whole sets."""
    return (row for row in _of(results) if not (row.site or row.variable))
