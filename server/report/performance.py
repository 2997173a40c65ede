"""Performance of the models: a table a set, and how its numbers came about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from common.html.pages import Block, Cell, Line
from common.models import MODELS
from server.report import words
from server.report.performance_records import LeaveOneOut, Performance, SitePerformance, Stratum
from server.report.reading import (
    MatrixRow,
    comparison,
    local_runs,
    main_run,
    models,
    performance_matrix,
    primary,
    set_label,
)
from server.report.schema import Results

SIGNIFICANT = 0.05
# patients with the endpoint below which an AUC comes with a warning
FEW = 20
# patients below which cells of scores make a P of DeLong's test differ much from that of the scores
COMPARED = 100


@dataclass(frozen=True)
class Column:
    """A column of the performance table."""

    title: str
    make: Callable[[MatrixRow], Cell] = field(repr=False)


def performance_blocks(results: Results) -> list[Block]:
    """Return the paper's Table 2, a block a set, references beside the federated AUC."""
    columns = _performance_columns(results)
    blocks = []
    for name, group in groupby(performance_matrix(results), key=lambda row: row.set):
        rows = list(group)
        lines = tuple(
            Line(
                MODELS[row.model].label,
                tuple(column.make(row) for column in columns),
                row.model,
            )
            for row in rows
        )
        titles = ("Model", *(column.title for column in columns))
        blocks.append(Block(set_label(name), _set_note(results, rows), titles, lines, name))
    return blocks


def apparent_block(results: Results) -> Block | None:
    """Return each model's AUC out of fold and on the patients it was fitted on, in the main run."""
    run = main_run(results)
    rows = [row for row in results.performance if (row.run, row.set) == (run, "train")]
    known = [row for row in rows if row.auc is not None and row.apparent_auc is not None]
    if not known:
        return None
    lines = tuple(
        Line(MODELS[row.model].label, tuple(_apparent(row.auc, row.apparent_auc)), row.model)
        for row in sorted(known, key=lambda row: models(results).index(row.model))
    )
    columns = ("Model", "AUC out of fold", "AUC on its own patients", "Difference")
    return Block("", "", columns, lines, "apparent")


def _apparent(auc: float | None, apparent: float | None) -> Iterator[Cell]:
    yield Cell(words.auc(auc))
    yield Cell(words.auc(apparent))
    gain = None if auc is None or apparent is None else apparent - auc
    yield Cell(words.number(gain))


def _performance_columns(results: Results) -> list[Column]:
    run = main_run(results)
    matrix = performance_matrix(results)
    columns = [
        Column(f"{words.run_label(run)} AUC (95%\N{NO-BREAK SPACE}CI)", lambda row: _auc(row, run))
    ]
    if any(found.auc_within is not None for row in matrix if (found := primary(row, run))):
        title = "Within hospitals (95%\N{NO-BREAK SPACE}CI)"
        columns.append(Column(title, lambda row: _of(row, run, _within)))
    if run != "pooled" and any(row.pooled for row in matrix):
        columns.append(Column("Pooled AUC (95%\N{NO-BREAK SPACE}CI)", _pooled))
    if any(row.local for row in matrix):
        columns.append(Column("Local-only AUC, mean (range)", _local))
    columns += [
        Column("Cut-off", lambda row: _of(row, run, _cutoff)),
        Column("Accuracy, %", lambda row: _of(row, run, _accuracy)),
        Column("Sensitivity, %", lambda row: _of(row, run, _sensitivity)),
        Column("Specificity, %", lambda row: _of(row, run, _specificity)),
    ]
    for reference in _references(results):
        title = f"P against {MODELS[reference].label.lower()}"
        columns.append(Column(title, partial(_against, results, run, reference)))
    return columns


def _references(results: Results) -> list[str]:
    """Return the models to compare with: the fusions, else the first of any comparison."""
    run = main_run(results)
    pairs = [(row.model_a, row.model_b) for row in results.delong if row.run == run]
    compared = [m for m in models(results) if any(m in pair for pair in pairs)]
    fusion = [model for model in compared if model.startswith("fusion")]
    return fusion[::-1] or compared[-1:]


def _of(row: MatrixRow, run: str, make: Callable[[Performance], Cell]) -> Cell:
    found = primary(row, run)
    return Cell(words.MISSING) if found is None else make(found)


def _auc(row: MatrixRow, run: str) -> Cell:
    return _of(row, run, lambda found: _auc_cell(found, "auc"))


def _within(found: Performance) -> Cell:
    interval = words.interval(found.within_low, found.within_high)
    return Cell(words.auc(found.auc_within), interval, "auc_within")


def _pooled(row: MatrixRow) -> Cell:
    return Cell(words.MISSING) if row.pooled is None else _auc_cell(row.pooled, "pooled_auc")


def _auc_cell(found: Performance, key: str) -> Cell:
    return Cell(words.auc(found.auc), words.interval(found.ci_low, found.ci_high), key)


def _local(row: MatrixRow) -> Cell:
    if row.local is None:
        return Cell(words.MISSING)
    span = words.interval(row.local.low, row.local.high)
    return Cell(words.auc(row.local.mean), span, "local_auc")


def _cutoff(found: Performance) -> Cell:
    return Cell(words.number(found.cutoff), key="cutoff")


def _accuracy(found: Performance) -> Cell:
    return _share(found.correct, found.n, "accuracy")


def _sensitivity(found: Performance) -> Cell:
    return _share(found.tp, found.positives, "sensitivity")


def _specificity(found: Performance) -> Cell:
    return _share(found.tn, found.negatives, "specificity")


def _share(part: int | None, whole: int | None, key: str) -> Cell:
    if part is None or not whole:
        return Cell(words.MISSING, key=key)
    return Cell(f"{100 * part / whole:.0f}", f"{part}/{whole}", key)


def _against(results: Results, run: str, reference: str, row: MatrixRow) -> Cell:
    if row.model == reference:
        return Cell("Reference")
    found = comparison(results, run, row.set, row.model, reference)
    if found is None:
        return Cell(words.p_value(None), key=f"p_{reference}")
    corrected = f"Holm {words.p_value(found.p_holm)}"
    if found.role == "primary":
        corrected = "primary"
    # only the primary comparison and corrected values may be called significant
    judged = found.p if found.role == "primary" else found.p_holm
    strong = judged is not None and judged < SIGNIFICANT
    return Cell(words.p_value(found.p), corrected, f"p_{reference}", strong, found.p)


def _set_note(results: Results, rows: list[MatrixRow]) -> str:
    run = main_run(results)
    known = next((found for row in rows if (found := primary(row, run))), rows[0].any_row)
    if known is None:
        return ""
    parts = [words.patients(known.n)]
    if known.positives is not None and known.n:
        share = 100 * known.positives / known.n
        parts.append(f"{known.positives} ({share:.0f} %) with {results.study.endpoint}")
    note = ", ".join(parts) + "."
    if known.set == "train":
        note += (
            " Out-of-fold: each patient was judged by a model that had not seen that patient. AUCs"
            " compare patients of the same fold; accuracy, sensitivity and specificity of a fold"
            " are those at the cut-off that is best on the other folds, not at the one shown."
        )
        if any(row.local for row in rows):
            note += " Local-only: each hospital on its own training patients."
    for test in results.study.test_sets:
        if test.name == known.set:
            note += f" From {words.join(list(test.sites))}."
    if known.auc_within is not None:
        note += (
            " Within hospitals: AUC of pairs of patients of the same hospital, which a model that"
            " knows how frequent the endpoint is at each hospital does not win."
        )
    joined = re.search("cells|groups", known.method)
    if results.delong and joined and known.n is not None and known.n < COMPARED:
        note += (
            " Models are compared on scores in cells or groups of patients: with so few, a P may be"
            " off by 0.1 or more."
        )
    own = [(MODELS[row.model].label, found) for row in rows if (found := primary(row, run))]
    return " ".join([note, *interval_warnings(own)])


def interval_warnings(
    rows: Sequence[tuple[str, Performance | SitePerformance | Stratum | LeaveOneOut]],
) -> list[str]:
    """Name the confidence intervals to read with care, as they are of few patients.

    Parameters
    ----------
    rows : what each row is about, and the row.
    """
    given = [(label, row) for label, row in rows if row.auc is not None]
    few = [label for label, row in given if row.positives is not None and row.positives < FEW]
    warnings = []
    if few:
        who = "" if len(few) == len(given) else f" ({words.join(list(dict.fromkeys(few)))})"
        warnings.append(
            f"Warning: fewer than {FEW} patients with the endpoint{who}; AUCs and intervals are"
            " uncertain."
        )
    return warnings


_CELLS = re.compile(r" \((\d+) and (\d+) cells\)")


def methods(results: Results) -> list[str]:
    """Say how the AUCs of the main run were computed, per set, where a method is given.

    Models of a set that differ in the number of cells alone share a sentence.
    """
    run = main_run(results)
    by_method: dict[str, dict[str, list[int]]] = {}
    for row in results.performance:
        if row.run == run and row.method:
            method = _CELLS.sub("", row.method).rstrip(".")
            cells = by_method.setdefault(method, {}).setdefault(set_label(row.set), [])
            cells += [int(n) for found in _CELLS.findall(row.method) for n in found]
    return [
        f"{words.join([_with_cells(*one) for one in by_set.items()])}: {method}."
        for method, by_set in by_method.items()
    ]


def _with_cells(name: str, cells: list[int]) -> str:
    if not cells:
        return name
    fewest, most = min(cells), max(cells)
    return f"{name} ({fewest if fewest == most else f'{fewest} to {most}'} cells)"


def local_block(results: Results) -> Block | None:
    """Return the AUC of every hospital that trained alone, by set and model, if any did."""
    runs = local_runs(results)
    if not runs:
        return None
    lines = []
    for row in performance_matrix(results):
        by_run = {found.run: found for found in row.local_rows}
        cells = tuple(
            Cell(words.auc(by_run[run].auc if run in by_run else None), key=run) for run in runs
        )
        lines.append(Line(f"{set_label(row.set)}: {MODELS[row.model].label}", cells))
    titles = ("Set and model", *(words.run_label(run) for run in runs))
    return Block("", "", titles, tuple(lines))
