from __future__ import annotations

import csv
import io
import statistics
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from server.report.measures import measure_blocks, measure_rows
from server.report.reading import performance_matrix, set_label
from server.report.results import parse
from server.report.schema import Results
from server.report.tables import terminal_table, write_tables


def _read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _screen(results: Results) -> str:
    text = io.StringIO()
    Console(width=100, file=text).print(terminal_table(results))
    return text.getvalue()


def test_performance_csv_holds_full_precision_and_the_derived_shares(
    whole: Results, tmp_path: Path
) -> None:
    write_tables(whole, tmp_path)
    for row, known in zip(_read(tmp_path, "performance"), whole.performance, strict=True):
        assert float(row["auc"]) == known.auc
        assert float(row["ci_low"]) == known.ci_low
        assert known.tp is not None and known.positives is not None
        assert known.tn is not None and known.correct is not None
        assert float(row["sensitivity"]) == known.tp / known.positives
        assert float(row["specificity"]) == known.tn / (known.n - known.positives)
        assert float(row["accuracy"]) == known.correct / known.n


def test_delong_csv_holds_every_pair(whole: Results, tmp_path: Path) -> None:
    write_tables(whole, tmp_path)
    found = [(r["model_a"], r["model_b"], float(r["p"])) for r in _read(tmp_path, "delong")]
    assert found == [(r.model_a, r.model_b, r.p) for r in whole.delong]


def test_table1_csv_leaves_withheld_cells_empty(whole: Results, tmp_path: Path) -> None:
    write_tables(whole, tmp_path)
    rows = {(r["variable"], r["level"]): r for r in _read(tmp_path, "table1")}
    assert rows["sex", "female"]["external_1_n"] == ""
    assert rows["sex", "female"]["train_n"] == "11"
    assert rows["age", ""]["internal_mean"] == "61.8"


def test_table1_pairs_csv_has_each_variable_once_against_each_test_set(
    whole: Results, tmp_path: Path
) -> None:
    write_tables(whole, tmp_path)
    rows = {(r["variable"], r["set"]): r for r in _read(tmp_path, "table1_pairs")}
    assert len(rows) == 3 * 3
    assert rows["age", "internal"]["test"] == "t"
    assert float(rows["age", "internal"]["p"]) == 0.82
    assert (rows["sex", "external_1"]["p_low"], rows["sex", "external_1"]["p"]) == ("0.1", "")
    assert rows["sex", "external_2"]["note"] == "P withheld: small counts"


def test_selection_csv_holds_steps_penalty_and_weights(whole: Results, tmp_path: Path) -> None:
    write_tables(whole, tmp_path)
    rows = [r for r in _read(tmp_path, "selection") if r["model"] == "radiomics"]
    chosen = whole.selection["federated"]["radiomics"]
    assert chosen.svm is not None
    steps = {r["name"]: int(r["value"]) for r in rows if r["item"] == "step"}
    assert (steps["columns"], steps["lasso"]) == (1834, 21)
    weights = {r["name"]: float(r["value"]) for r in rows if r["item"] == "weight"}
    assert weights == chosen.svm.weights
    assert [float(r["value"]) for r in rows if r["name"] == "alpha"] == [chosen.alpha]


def test_matrix_puts_the_runs_side_by_side(whole: Results) -> None:
    rows = performance_matrix(whole)
    assert len(rows) == 6 * 4
    for row in rows:
        same = [r for r in whole.performance if (r.model, r.set) == (row.model, row.set)]
        alone = [r.auc for r in same if r.run.startswith("local:") and r.auc is not None]
        assert row.local is not None and row.federated is not None
        assert row.local.mean == pytest.approx(statistics.fmean(alone), rel=1e-15)
        assert (row.local.low, row.local.high) == (min(alone), max(alone))
        assert row.federated.auc == next(r.auc for r in same if r.run == "federated")


def test_terminal_table_fits_100_columns_and_shows_every_test_set(whole: Results) -> None:
    text = _screen(whole)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "…" not in text
    for row in performance_matrix(whole):
        assert row.federated is not None and row.pooled is not None
        shown = f"{row.federated.auc:.3f} ({row.federated.ci_low:.3f}–{row.federated.ci_high:.3f})"  # noqa: RUF001
        if row.set != "train":
            assert shown in text
            assert f"{set_label(row.set)} (n={row.federated.n})" in text


def test_terminal_table_leaves_out_references_that_were_not_run(tabular: Results) -> None:
    text = _screen(tabular)
    assert "Pooled" not in text and "Local" not in text and "Ceiling" not in text
    assert "Clinical" in text


def test_terminal_table_falls_back_to_the_training_set(tree: dict[str, Any]) -> None:
    tree["performance"] = [r for r in tree["performance"] if r["set"] == "train"]
    assert "Training set (n=300)" in _screen(parse(tree))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("train", "Training set"),
        ("internal_test", "Internal test set"),
        ("external_test_1", "External test set 1"),
        ("external2", "External test set 2"),
        ("qfs", "Qfs test set"),
    ],
)
def test_sets_are_named_in_words(name: str, label: str) -> None:
    assert set_label(name) == label


def test_measures_csv_has_every_measure_of_every_row_whose_counts_are_known(
    whole: Results, tmp_path: Path
) -> None:
    write_tables(whole, tmp_path)
    rows = _read(tmp_path, "measures")
    known = [row for row in whole.performance if row.tp is not None and row.tn is not None]
    assert len(rows) == 7 * len(known) > 0
    shares = [row for row in rows if row["measure"] == "sensitivity"]
    assert [float(row["value"]) for row in shares] == [row.sensitivity for row in known]
    for row in rows:
        assert row["method"] == ("log" if row["measure"].startswith("lr") else "wilson")
        if row["low"] and row["high"]:
            assert float(row["low"]) <= float(row["value"]) <= float(row["high"])


def test_a_row_whose_counts_are_withheld_has_no_measures(whole: Results) -> None:
    hidden = whole.performance[0].model_copy(update={"tp": None})
    few = whole.model_copy(update={"performance": (hidden,)})
    assert list(measure_rows(few)) == []
    assert measure_blocks(few) == []
