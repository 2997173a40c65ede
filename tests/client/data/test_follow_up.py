"""The column of times in cohort.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client.check.cohort import check_rows
from client.data.cohort import known_columns, read_cohort
from common.errors import InputError
from tests import builders

GRID = {"column": "months", "ends": [6.0, 12.0, 24.0], "horizons": [12.0]}
HEADER = "patient_id,label,split,x,months"


@pytest.fixture
def study() -> Any:
    return builders.study(follow_up=GRID)


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    (folder / "cohort.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder


def test_times_become_periods_and_nobody_has_the_event_after_the_last(
    tmp_path: Path, study: Any
) -> None:
    rows = ("p1,1,train,1,6", "p2,0,train,1,6.5", "p3,1,train,1,24.5", "p4,1,train,1,0")
    cohort = read_cohort(write(tmp_path, *rows), "a", study)
    assert [(p.period, p.label) for p in cohort.patients] == [(0, 1), (1, 0), (2, 0), (0, 1)]


@pytest.mark.parametrize("cell", ["", "-1", "soon", "6,5"])
def test_a_cell_that_is_no_time_names_its_row(tmp_path: Path, study: Any, cell: str) -> None:
    quoted = f'"{cell}"' if "," in cell else cell
    cohort = read_cohort(write(tmp_path, f"p1,1,train,1,{quoted}"), "a", study)
    (problem,) = cohort.problems
    assert problem.where == "cohort.csv row 2 column months"
    assert "months from the start to the endpoint" in problem.remedy
    assert cohort.patients == []
    found = [one for one in check_rows(tmp_path, "a", study).findings if one.severity == "problem"]
    assert "column months" in str(found)


def test_times_in_another_unit_are_pointed_out(tmp_path: Path, study: Any) -> None:
    days = [f"p{i},{i % 2},train,{i},{300 + 90 * i}" for i in range(10)]
    found = [f for f in check_rows(write(tmp_path, *days), "a", study).findings if f.remedy]
    assert [(f.kind, f.severity) for f in found] == [("cohort.number", "warning")]
    assert "10 of 10 times are beyond 24 months" in found[0].what
    months = [f"p{i},{i % 2},train,{i},{3 + 3 * i}" for i in range(10)]
    fine = check_rows(write(tmp_path, *months), "a", study).findings
    assert not [f for f in fine if f.severity == "warning"]


def test_a_missing_column_is_named(tmp_path: Path, study: Any) -> None:
    folder = write(tmp_path, "p1,1,train,1", header="patient_id,label,split,x")
    with pytest.raises(InputError, match="missing column months"):
        read_cohort(folder, "a", study)
    assert "months" in known_columns(study)


def test_a_study_without_times_does_not_look_at_the_column(tmp_path: Path) -> None:
    cohort = read_cohort(write(tmp_path, "p1,1,train,1,soon"), "a", builders.study())
    assert cohort.patients[0].period is None
