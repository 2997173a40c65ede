"""Flow of patients as STARD 2015 asks for it, down to the cut-off's two-by-two table.

Bossuyt PM et al. STARD 2015: an updated list of essential items for reporting diagnostic accuracy
studies. BMJ 2015;351:h5527.
"""

from __future__ import annotations

from common.html.pages import Block, Cell, Line
from common.models import MODELS
from server.report import words
from server.report.patients import set_total
from server.report.performance_records import Performance
from server.report.reading import headline_model, main_run, set_label, sets
from server.report.schema import Results

COLUMNS = (
    *("set", "model", "patients", "with_outcome", "without_outcome", "cutoff"),
    *("true_positive", "false_negative", "false_positive", "true_negative", "no_result"),
)
Row = list[str | int | float | None]


def rows(results: Results) -> list[Row]:
    """Return a line for each set and model of the main run, headings first; empty = withheld."""
    run = main_run(results)
    body = [_row(results, one) for one in results.performance if one.run == run]
    return [list(COLUMNS), *body]


def _row(results: Results, one: Performance) -> Row:
    total = set_total(results, one.set)
    positives, negatives = one.positives, one.negatives
    missed = None if positives is None or one.tp is None else positives - one.tp
    alarms = None if negatives is None or one.tn is None else negatives - one.tn
    unread = None if total.n is None or one.n is None else total.n - one.n
    counts = (one.n, positives, negatives, one.cutoff)
    return [one.set, one.model, *counts, one.tp, missed, alarms, one.tn, unread]


def block(results: Results) -> Block:
    """Return the flow of the headline model as a table."""
    model = headline_model(results)
    chosen = [line for line in rows(results)[1:] if line[1] == model]
    order = {name: place for place, name in enumerate(sets(results))}
    lines = tuple(
        Line(set_label(str(line[0])), tuple(Cell(_text(value)) for value in line[2:]))
        for line in sorted(chosen, key=lambda line: order.get(str(line[0]), 0))
    )
    excluded = sum(one.excluded for one in results.participants)
    label = words.lowered(MODELS[model].label) if model in MODELS else "no"
    note = (
        f"Patients of the {label} model by outcome and by its result at the cut-off. Left out"
        f" beforehand, as their data cannot be used: {excluded}. What hospitals did before they"
        " listed their patients is not known here. Training patients: out-of-fold."
    )
    heads = tuple(words.humanise(name) for name in COLUMNS[2:])
    return Block(
        "Flow of patients (STARD 2015, items 19 and 23)",
        note,
        ("Set", *heads),
        lines,
        sortable=False,
    )


def _text(value: str | int | float | None) -> str:
    if value is None:
        return "withheld"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
