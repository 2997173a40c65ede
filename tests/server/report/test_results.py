from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from server.report.results import parse, read, to_json, write
from server.report.schema import Results
from tests.fixtures import synthetic_results


def _with_auc(auc: Any) -> dict[str, Any]:
    row = {"run": "federated", "model": "clinical", "set": "train", "n": 10, "auc": auc}
    study = {"name": "s", "endpoint": "e", "digest": "d", "seed": 1, "sites": [{"name": "a"}]}
    return {
        "schema": 1,
        "study": study,
        "run": {"engine": "inprocess", "started": "now"},
        "performance": [row],
    }


def test_what_is_written_reads_back_equal(whole: Results, tmp_path: Path) -> None:
    write(whole, tmp_path / "deep" / "results.json")
    assert read(tmp_path / "deep" / "results.json") == whole
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["results.json"]


def test_keys_stand_in_the_order_of_the_schema_whatever_order_they_came_in(
    tree: dict[str, Any],
) -> None:
    turned = dict(reversed(tree.items()))
    assert to_json(parse(turned)) == to_json(parse(tree))
    first = ["schema", "study", "run", "settings", "warnings"]
    assert list(json.loads(to_json(parse(tree))))[:5] == first


@settings(max_examples=50)
@given(st.floats(0, 1))
def test_floats_keep_every_digit(value: float) -> None:
    text = to_json(parse(_with_auc(value)))
    assert json.loads(text)["performance"][0]["auc"] == value


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float64("nan"), None])
def test_a_number_that_is_none_is_written_as_null(value: Any) -> None:
    text = to_json(parse(_with_auc(value)))
    assert "NaN" not in text
    assert json.loads(text)["performance"][0]["auc"] is None


def test_numpy_numbers_are_accepted() -> None:
    tree = _with_auc(np.float64(0.75))
    tree["performance"][0]["n"] = np.int64(12)
    row = json.loads(to_json(parse(tree)))["performance"][0]
    assert (row["auc"], row["n"]) == (0.75, 12)


def test_another_schema_number_is_refused(tree: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="schema 2, but this release reads schema 1"):
        parse({**tree, "schema": 2})


def test_an_unknown_key_is_refused_so_that_nothing_else_rides_along(tree: dict[str, Any]) -> None:
    tree["performance"][0]["patient_id"] = "P001"
    with pytest.raises(InputError, match=r'unknown key "performance\.0\.patient_id"'):
        parse(tree)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auc": 1.2}, "less than or equal to 1"),
        ({"positives": 400}, "more positives than patients"),
        ({"tp": 125}, "tp = 125 is more than the 124 patients there are"),
        ({"correct": 1}, "correct is not tp"),
        ({"model": "oracle"}, 'unknown model "oracle"; the models are clinical'),
        ({"run": "elsewhere"}, "String should match pattern"),
    ],
)
def test_a_row_that_cannot_be_is_refused(
    tree: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    tree["performance"][0].update(change)
    with pytest.raises(InputError, match=message):
        parse(tree)


def test_curves_need_lists_of_one_length(tree: dict[str, Any]) -> None:
    tree["roc"][0]["fpr"].append(1.0)
    with pytest.raises(InputError, match="lists must have one length"):
        parse(tree)


def test_a_missing_file_and_text_that_is_not_json_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "results.json")
    (tmp_path / "results.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="not valid JSON"):
        read(tmp_path / "results.json")


def test_every_key_of_the_schema_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "results.md").read_text(encoding="utf-8")
    missing = [
        field.alias or name
        for name, field in Results.model_fields.items()
        if f"`{field.alias or name}`" not in text
    ]
    assert missing == []


def test_a_file_that_is_wrong_in_every_row_is_refused_in_a_few_lines() -> None:
    tree = synthetic_results.build()
    for row in tree["performance"]:
        row["ci_method"] = "another release's"
    with pytest.raises(InputError) as found:
        parse(tree)
    assert found.value.what.endswith(f"and {len(tree['performance']) - 20} more")
    assert found.value.what.count("ci_method") == 20
