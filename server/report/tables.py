"""CSV tables in full precision, and the closing table on screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from common.models import MODELS
from common.utils.csv_file import write_csv
from server.report import words
from server.report.heterogeneity import HETEROGENEITY_COLUMNS, heterogeneity_rows
from server.report.leave_one_out import LEAVE_ONE_OUT_COLUMNS, SUMMARY_COLUMNS, summary_rows
from server.report.measures import MEASURE_COLUMNS, measure_rows
from server.report.performance_records import Performance
from server.report.reading import (
    LocalSummary,
    MatrixRow,
    p_values,
    performance_matrix,
    set_label,
    test_sets,
)
from server.report.schema import Results
from server.report.selection_records import Selection
from server.report.stability import STABILITY_COLUMNS, stability_rows

Cell = str | int | float | None
Rows = list[list[Cell]]
Lines = Callable[[Selection], Iterator[list[Cell]]]
PERFORMANCE_COLUMNS = (
    *("run", "model", "set", "n", "positives", "auc", "ci_low", "ci_high", "cutoff"),
    *("correct", "tp", "tn", "accuracy", "sensitivity", "specificity", "method", "ci_method"),
    *("wald_low", "wald_high", "average_precision", "ap_low", "ap_high", "apparent_auc"),
)
SITE_COLUMNS = (
    *("run", "set", "site", "model", "n", "positives", "auc", "ci_low", "ci_high", "method"),
    *("ci_method", "horizon"),
)
STRATA_COLUMNS = (
    *("run", "set", "model", "variable", "level"),
    *("n", "positives", "auc", "ci_low", "ci_high", "note"),
    "ci_method",
)
STRATA_TEST_COLUMNS = (
    *("run", "set", "model", "variable", "levels", "statistic", "p", "note", "p_holm"),
)
DELONG_COLUMNS = (
    *("run", "set", "model_a", "model_b", "z", "p"),
    *("difference", "difference_low", "difference_high", "role", "p_holm"),
)
FIT_COLUMNS = (
    *("run", "set", "site", "variable", "level", "model", "n", "positives", "expected"),
    *("oe", "oe_low", "oe_high", "large", "large_low", "large_high"),
    *("intercept", "intercept_low", "intercept_high", "slope", "slope_low", "slope_high", "note"),
)
RECALIBRATION_COLUMNS = (
    *("run", "set", "model", "way", "intercept", "slope", "brier", "net_benefit"),
)
LEDGER_COLUMNS = ("run", "site", "exchange", "released", "refused", "stopped", "bytes")


def write_tables(results: Results, run_folder: Path) -> list[Path]:
    """Write `tables/*.csv`; empty cell = not available. A table without rows keeps its header."""
    folder = run_folder / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, rows in csv_tables(results).items():
        path = folder / f"{name}.csv"
        write_csv(path, rows)
        written.append(path)
    return written


def csv_tables(results: Results) -> dict[str, Rows]:
    """Return all tables by file name without ending, headings first."""
    return {
        "performance": _records(PERFORMANCE_COLUMNS, results.performance),
        "delong": _records(DELONG_COLUMNS, results.delong),
        "measures": [list(MEASURE_COLUMNS), *measure_rows(results)],
        "table1": _table1(results),
        "table1_pairs": _table1_pairs(results),
        "selection": _selection(results),
        "stability": [list(STABILITY_COLUMNS), *stability_rows(results)],
        "site_performance": _records(SITE_COLUMNS, results.site_performance),
        "leave_one_out": _records(LEAVE_ONE_OUT_COLUMNS, results.leave_one_out),
        "leave_one_out_summary": [list(SUMMARY_COLUMNS), *summary_rows(results)],
        "heterogeneity": [list(HETEROGENEITY_COLUMNS), *heterogeneity_rows(results)],
        "strata": _records(STRATA_COLUMNS, results.strata),
        "strata_tests": _records(STRATA_TEST_COLUMNS, results.strata_tests),
        "calibration": _records(FIT_COLUMNS, results.calibration_fits),
        "recalibration": _records(RECALIBRATION_COLUMNS, results.recalibration),
        "ledger": _records(LEDGER_COLUMNS, results.ledger),
        "participants": _participants(results),
        "slices": _records(("set", "slices"), results.slices),
        "lasso_cv": _by_model(results, ["alpha", "error", "spread"], _errors),
        "lasso_path": _by_model(results, ["feature", "alpha", "coefficient"], _path),
        "correlation": _by_model(results, ["feature_a", "feature_b", "correlation", "p"], _pairs),
        "training": _training(results),
    }


def _records(columns: tuple[str, ...], records: Iterable[object]) -> Rows:
    body = [[getattr(record, column) for column in columns] for record in records]
    return [list(columns), *body]


def _table1(results: Results) -> Rows:
    names = list(dict.fromkeys(name for row in results.table1 for name in row.sets))
    parts = ("n", "percent", "mean", "sd", "median", "q1", "q3")
    head: list[Cell] = ["variable", "level", "kind"]
    head += [f"{name}_{part}" for name in names for part in (*parts, "missing")]
    rows: Rows = [[*head, "test", "p", "p_low", "p_high", "note"]]
    for row in results.table1:
        line: list[Cell] = [row.variable, row.level, row.kind]
        for name in names:
            cell = row.sets.get(name)
            line += [getattr(cell, part) if cell else None for part in parts]
            line.append(row.missing.get(name))
        notes = [f"{name}: {cell.note}" for name, cell in row.sets.items() if cell.note]
        note = "; ".join([*notes, *([row.note] if row.note else [])])
        rows.append([*line, row.test, row.p, *(row.p_band or (None, None)), note])
    return rows


def _table1_pairs(results: Results) -> Rows:
    rows: Rows = [["variable", "set", "test", "p", "p_low", "p_high", "note"]]
    for variable, group in groupby(results.table1, key=lambda row: row.variable):
        for name, pair in next(group).pairs.items():
            band = pair.p_band or (None, None)
            rows.append([variable, name, pair.test, pair.p, *band, pair.note])
    return rows


def _selection(results: Results) -> Rows:
    rows: Rows = [["run", "model", "item", "name", "value"]]
    for run, models in results.selection.items():
        for model, chosen in models.items():
            rows += [[run, model, *item] for item in _selection_items(chosen)]
    return rows


def _selection_items(chosen: Selection) -> list[tuple[str, str, Cell]]:
    items: list[tuple[str, str, Cell]] = [("step", s.step, s.size) for s in chosen.steps]
    items.append(("lasso", "alpha", chosen.alpha))
    items += [("coefficient", name, value) for name, value in chosen.coefficients.items()]
    if chosen.svm is not None:
        parts = ("cost", "intercept", "decision_mean", "decision_sd")
        items += [("svm", part, getattr(chosen.svm, part)) for part in parts]
        items += [("weight", name, value) for name, value in chosen.svm.weights.items()]
    if chosen.cox is not None:
        items += [("cox", part, getattr(chosen.cox, part)) for part in ("cost", "baseline")]
        ratios = chosen.cox.log_hazard_ratios
        items += [("log_hazard_ratio", name, value) for name, value in ratios.items()]
    return items + [("note", note, None) for note in chosen.notes]


def terminal_table(results: Results) -> Table:
    """Return the AUC of every model on every test set for the screen, 100 columns wide.

    Columns of references that were not run are left out. The training set (out-of-fold) is shown
    only when the study has no test set.
    """
    shown = test_sets(results) or ["train"]
    matrix = [row for row in performance_matrix(results) if row.set in shown]
    optional = {
        "Pooled": any(row.pooled for row in matrix),
        "Local mean (range)": any(row.local for row in matrix),
        "Ceiling": bool(results.ceiling),
    }
    table = Table(title="Area under the ROC curve (AUC)", title_justify="left", box=box.SIMPLE)
    table.add_column("Model", no_wrap=True)
    for header in ("Federated (95% CI)", *(name for name, wanted in optional.items() if wanted)):
        table.add_column(header, justify="right", no_wrap=True)
    for name, group in groupby(matrix, key=lambda row: row.set):
        rows = list(group)
        ceiling = words.auc((results.ceiling or {}).get(name))
        head = {"Pooled": "", "Local mean (range)": "", "Ceiling": ceiling}
        table.add_row(_set_cell(rows[0]), "", *_wanted(head, optional), style="bold")
        for row in rows:
            cells = {
                "Pooled": words.auc(row.pooled.auc if row.pooled else None),
                "Local mean (range)": _local_cell(row.local),
                "Ceiling": "",
            }
            label = f"  {MODELS[row.model].label}"
            federated = _with_interval(row.federated)
            table.add_row(label, federated, *_wanted(cells, optional), end_section=row is rows[-1])
    return table


def _wanted(cells: dict[str, str], optional: dict[str, bool]) -> list[str]:
    return [cells[name] for name, wanted in optional.items() if wanted]


def _set_cell(row: MatrixRow) -> str:
    known = row.any_row
    label = set_label(row.set)
    if known is None:
        return label
    return f"{label} (n={'withheld' if known.n is None else known.n})"


def _with_interval(row: Performance | None) -> str:
    if row is None or row.auc is None:
        return words.MISSING
    return f"{words.auc(row.auc)} ({words.interval(row.ci_low, row.ci_high)})"


def _local_cell(local: LocalSummary | None) -> str:
    if local is None:
        return words.MISSING
    return f"{words.auc(local.mean)} ({words.interval(local.low, local.high)})"


def _participants(results: Results) -> Rows:
    rows: Rows = [["site", "trains", "excluded", "set", "n", "positives"]]
    for one in results.participants:
        for name, count in one.sets.items():
            head: list[Cell] = [one.site, int(one.trains), one.excluded]
            rows.append([*head, name, count.n, count.positives])
    return rows


def _by_model(results: Results, columns: list[Cell], lines: Lines) -> Rows:
    rows: Rows = [["run", "model", *columns]]
    for run, models in results.selection.items():
        for model, chosen in models.items():
            rows += [[run, model, *line] for line in lines(chosen)]
    return rows


def _errors(chosen: Selection) -> Iterator[list[Cell]]:
    if chosen.cv is not None:
        spreads = chosen.cv.spreads or (None,) * len(chosen.cv.alphas)
        for alpha, error, spread in zip(chosen.cv.alphas, chosen.cv.errors, spreads, strict=True):
            yield [alpha, error, spread]


def _path(chosen: Selection) -> Iterator[list[Cell]]:
    if chosen.path is not None:
        for name, values in chosen.path.coefficients.items():
            for alpha, value in zip(chosen.path.alphas, values, strict=True):
                yield [name, alpha, value]


def _pairs(chosen: Selection) -> Iterator[list[Cell]]:
    """Return every pair once."""
    if chosen.correlation is not None:
        names, p = chosen.correlation.names, p_values(chosen.correlation)
        for i, row in enumerate(chosen.correlation.values):
            for j in range(i):
                p_value = None if np.isnan(p[i, j]) else float(p[i, j])
                yield [names[i], names[j], row[j], p_value]


def _training(results: Results) -> Rows:
    rows: Rows = [["run", "network", "variant", "series", "round", "value"]]
    for run, networks in results.training.items():
        for network, variants in networks.items():
            for variant, series in variants.items():
                for name, values in series.items():
                    where: list[Cell] = [run, network, variant, name]
                    rows += [[*where, i, value] for i, value in enumerate(values, 1)]
    return rows
