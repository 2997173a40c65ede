from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from common.evaluation.stability import stability
from common.models import MODELS
from server.report.results import parse
from server.report.schema import Results
from server.report.stability import counted, frequency_blocks, stability_block
from server.report.tables import write_tables
from server.report.words import EN_DASH, MISSING


def test_the_table_has_the_index_and_how_often_each_feature_was_kept(
    whole: Results, tmp_path: Path
) -> None:
    write_tables(whole, tmp_path)
    with (tmp_path / "tables" / "stability.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "radiomics"]
    folds = whole.selection["federated"]["radiomics"].folds
    assert folds is not None
    found = stability([set(one) for one in folds.kept], folds.candidates)
    assert found is not None
    (index,) = (row for row in rows if row["item"] == "index")
    assert [float(index[key]) for key in ("value", "ci_low", "ci_high")] == [
        found.index,
        found.low,
        found.high,
    ]
    shares = {row["name"]: float(row["value"]) for row in rows if row["item"] == "share of folds"}
    by_hand = {name for one in folds.kept for name in one}
    assert shares == {
        name: sum(name in one for one in folds.kept) / len(folds.kept) for name in by_hand
    }
    assert [int(row["value"]) for row in rows if row["item"] == "kept"] == [21] * 5


def test_the_features_kept_most_often_come_first(whole: Results) -> None:
    found = counted(whole.selection["federated"]["clinical"])
    times = [number for number, _ in found.values()]
    assert times == sorted(times, reverse=True)
    assert [final for _, final in found.values()] == [True] * 5 + [False] * 4


def test_features_of_a_network_for_each_fold_have_no_index(tree: dict[str, Any]) -> None:
    own = tree["selection"]["federated"]["dl2d"]
    own["folds"] = {"candidates": 0, "kept": [[]] * 5, "others": [6, 7, 7, 6, 9]}
    results = parse(tree)
    block = stability_block(results)
    assert block is not None and "a network of its own" in block.note
    (line,) = (one for one in block.lines if one.head == MODELS["dl2d"].label)
    assert [cell.text for cell in line.cells] == [MISSING, f"6{EN_DASH}9", MISSING, "7", MISSING]
    assert MODELS["dl2d"].label not in {one.title for one in frequency_blocks(results)}


def test_results_of_the_first_releases_have_no_table(tree: dict[str, Any]) -> None:
    for model in tree["selection"]["federated"].values():
        del model["folds"]
    assert stability_block(parse(tree)) is None
    assert frequency_blocks(parse(tree)) == []


def test_as_many_lists_as_counts(tree: dict[str, Any]) -> None:
    tree["selection"]["federated"]["clinical"]["folds"]["others"] = [0]
    with pytest.raises(Exception, match="one length"):
        parse(tree)
