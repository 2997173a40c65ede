"""cohort.csv is read to its end: one fault does not hide the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.check.cohort_rows import CohortLook, look_at_rows
from client.check.finding import Finding
from common.study import Study, parse_study

STUDY = """
name = "s"
endpoint = "e"
base_models = ["clinical"]
fusion_models = []
sites = [{ name = "a" }]
test_sets = []
[[clinical]]
name = "age"
kind = "continuous"
[[clinical]]
name = "stage"
kind = "ordinal"
levels = ["1", "2"]
"""
HEADER = "patient_id,label,split,age,stage"


@pytest.fixture
def study() -> Study:
    return parse_study(STUDY)


def look(folder: Path, study: Study, rows: list[str], header: str = HEADER) -> CohortLook:
    (folder / "cohort.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return look_at_rows(folder, "a", study)


def faults(look: CohortLook) -> list[tuple[str, str]]:
    """Kind and severity of all that is not fine."""
    return [(f.kind, f.severity) for f in look.findings if f.severity != "ok"]


def by_kind(look: CohortLook, kind: str) -> Finding:
    (found,) = (finding for finding in look.findings if finding.kind == kind)
    return found


def test_all_faults_are_found_at_once_and_the_others_stay(tmp_path: Path, study: Study) -> None:
    rows = ["p1,2,train,60,1", "p2,0,tran,x,3", "p3,0,train,60,1", "p3,0,train,60,1"]
    found = look(
        tmp_path, study, [*rows, "p4,0,train,60,1", "p4,0,internal_test,60,1", ",1,train,,"]
    )
    assert {kind for kind, _ in faults(found)} == {
        *("cohort.label", "cohort.split", "cohort.number", "cohort.level"),
        *("cohort.duplicate", "cohort.two_splits", "cohort.id"),
    }
    assert found.cohort is not None
    assert [p.patient_id for p in found.cohort.patients] == ["p3", "p4"]


def test_rows_are_those_of_the_file_also_after_a_duplicate(tmp_path: Path, study: Study) -> None:
    rows = ["p1,0,train,60,1", "p1,0,train,60,1", "p2,9,train,60,1"]
    found = look(tmp_path, study, rows)
    assert "row 4" in by_kind(found, "cohort.label").where


def test_a_missing_clinical_column_does_not_hide_the_rest(tmp_path: Path, study: Study) -> None:
    found = look(tmp_path, study, ["p1,2,train,60"], header="patient_id,label,split,age")
    assert by_kind(found, "cohort.columns").what == "missing column stage"
    assert by_kind(found, "cohort.label").severity == "problem"
    assert by_kind(found, "cohort.level").severity == "ok"


def test_without_labels_rows_are_not_checked_and_it_says_why(tmp_path: Path, study: Study) -> None:
    found = look(tmp_path, study, ["p1,train,60,1"], header="patient_id,split,age,stage")
    assert found.cohort is None
    assert by_kind(found, "cohort.split").severity == "not checked"
    assert by_kind(found, "cohort.split").what == "no column label"


@pytest.mark.parametrize("content", [None, b"", b"patient_id,label\n", b"\xff\xfe\x00,\n1"])
def test_a_file_that_cannot_be_read_is_one_problem(
    tmp_path: Path, study: Study, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "cohort.csv").write_bytes(content)
    found = look_at_rows(tmp_path, "a", study)
    assert found.frame is None
    assert faults(found)[0] == ("cohort.file", "problem")
    assert {severity for _, severity in faults(found)[1:]} == {"not checked"}


def test_ids_that_may_be_the_same_patient_are_a_warning(tmp_path: Path, study: Study) -> None:
    found = look(tmp_path, study, ["P-07,0,train,60,1", "p7,1,train,60,1"])
    assert by_kind(found, "cohort.duplicate").severity == "warning"
    assert by_kind(found, "cohort.duplicate").where == "P-07, p7"
