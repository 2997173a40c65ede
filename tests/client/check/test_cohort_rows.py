"""cohort.csv is read to its end: one fault does not hide the next."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from client.check.cohort import CohortLook, check_rows
from client.check.finding import Finding
from common.study.model import Study
from tests import builders

HEADER = "patient_id,label,split,age,stage"


@pytest.fixture
def study() -> Study:
    return builders.study(
        tests={},
        clinical=[builders.number("age"), builders.levels("stage", "1", "2", kind="ordinal")],
    )


def look(folder: Path, study: Study, rows: list[str], header: str = HEADER) -> CohortLook:
    text = "\n".join([header, *rows]) + "\n"
    (folder / "cohort.csv").write_bytes(text.encode())
    return check_rows(folder, "a", study)


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
    found = check_rows(tmp_path, "a", study)
    assert found.frame is None
    assert faults(found)[0] == ("cohort.file", "problem")
    assert {severity for _, severity in faults(found)[1:]} == {"not checked"}


def test_ids_that_may_be_the_same_patient_are_a_warning(tmp_path: Path, study: Study) -> None:
    found = look(tmp_path, study, ["P-07,0,train,60,1", "p7,1,train,60,1"])
    assert by_kind(found, "cohort.duplicate").severity == "warning"
    assert by_kind(found, "cohort.duplicate").where == "P-07, p7"


@pytest.mark.parametrize(
    ("rows", "where", "what"),
    [
        (['p1,0,train,"60,1', "p2,1,train,61,1"], "line 2", "a quotation mark that is not closed"),
        (['p1,0,train,"60', '61",1', "p2,1,train,61,1"], "lines 2, 3", ""),
        (['p1,0,train,"60"5,1'], "line 2", "text between a closing quotation mark"),
        (['p1,0,train,6"0,1'], "line 2", "a quotation mark inside a cell"),
        (["p1,0,train,60,5,1", "p2,1,train,61,1"], "line 2", "rows have more cells"),
        (["p1,0,train,60,1", "p2,1,tr"], "line 3", "rows have fewer cells"),
        (["p1,0,train,60,1", HEADER, "p2,1,train,61,1"], "line 3", "the heading again"),
        (["# p1,0,train,60,1"], "line 2", 'a line that begins with "#"'),
        (["p1,0,train,6\u20280,1"], "line 2", "a control character (U+2028)"),
        (["p1,0,train,6\f0,1"], "line 2", "a control character (U+000C)"),
        (["p1,0,train,6\r0,1"], "line 2", "a carriage return without a line feed"),
        (["p1,0,train,60,1", "\ufeffp2,0,train,60,1"], "line 3", "a byte order mark (U+FEFF)"),
    ],
)
def test_a_row_that_is_not_one_line_of_cells_is_found_by_its_line(
    tmp_path: Path, study: Study, rows: list[str], where: str, what: str
) -> None:
    found = [f for f in look(tmp_path, study, rows).findings if f.severity == "problem"]
    assert any(
        f.kind == "cohort.file"
        and f.where.startswith("cohort.csv line")
        and f.what.startswith(what)
        for f in found
    )
    lines = {number for f in found for number in re.findall("[0-9]+", f.where)}
    assert lines == set(re.findall("[0-9]+", where))
    assert all(f.remedy for f in found)


def test_all_faults_of_a_file_are_found_at_once(tmp_path: Path, study: Study) -> None:
    rows = ['p1,0,train,"60,1', "p2,1,train,61", "p3,1,train,6,1,1", "#p4,0,train,60,1"]
    found = [f for f in look(tmp_path, study, rows).findings if f.severity == "problem"]
    assert {f.where for f in found} == {f"cohort.csv line {number}" for number in (2, 3, 4, 5)}


@pytest.mark.parametrize(
    "header",
    ["patient_id;label;split;age;stage", "patient_id\tlabel\tsplit\tage\tstage", "sep=;"],
)
def test_other_separators_are_found(tmp_path: Path, study: Study, header: str) -> None:
    found = look(tmp_path, study, ["p1,0,train,60,1"], header)
    assert by_kind(found, "cohort.file").what.startswith("cells are separated by")


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ('"60,5"', "write decimals with a point"),
        ("1 234", "write thousands without any separator"),
        ("50%", "percent"),
        ("<5", "a limit is not a value"),
        ("2024-01-05", "a date"),
        ("NA", "under missing in study.toml"),
        ("\uff16\uff10", "write it with the digits 0 to 9"),
        ("6\u200b0", "characters that do not show"),
        ("nan", "under missing in study.toml"),
        ("1_000", "thousands"),
        ("\u22125", "minus sign"),
    ],
)
def test_cells_that_are_no_numbers_are_found_with_their_remedy(
    tmp_path: Path, study: Study, cell: str, remedy: str
) -> None:
    found = by_kind(look(tmp_path, study, [f"p1,0,train,{cell},1"]), "cohort.number")
    assert (found.severity, found.where) == ("problem", "p1: cohort.csv row 2 column age")
    assert remedy in found.remedy


def test_a_heading_that_is_nearly_the_studys_is_found(tmp_path: Path, study: Study) -> None:
    found = look(tmp_path, study, ["p1,0,train,60,1"], HEADER.replace(",age", ",Age"))
    said = [f.what for f in found.findings if f.kind == "cohort.columns"]
    assert said == [
        "missing column age",
        'the column Age is not read: "Age" and "age" differ only in upper and lower case',
    ]


@pytest.mark.parametrize("other", ["p1\u200b", "p1\u00a0", "p\u20601"])
def test_ids_that_look_the_same_are_duplicates(tmp_path: Path, study: Study, other: str) -> None:
    found = look(tmp_path, study, ["p1,0,train,60,1", f"{other},0,train,61,1"])
    assert by_kind(found, "cohort.duplicate").what == "duplicate patient (rows 2, 3)"
    assert found.cohort is not None and len(found.cohort.patients) == 1


@pytest.mark.parametrize("other", ["\u042001", "\uff3001", "P\uff101", "p\u0661\uff11"])
def test_ids_of_another_script_that_look_the_same_are_a_warning(
    tmp_path: Path, study: Study, other: str
) -> None:
    plain = "P11" if "\u0661" in other else "P01"
    found = look(tmp_path, study, [f"{plain},0,train,60,1", f"{other},1,train,61,1"])
    assert by_kind(found, "cohort.duplicate").severity == "warning"
    assert by_kind(found, "cohort.duplicate").what.startswith("ids that")


@pytest.mark.parametrize(
    ("name", "doubtful"),
    [
        ("Mittelwert", True),
        ("Total:", True),
        ("mean", True),
        ("sum-12", False),
        ("meanwell", False),
    ],
)
def test_a_line_of_totals_is_a_warning(
    tmp_path: Path, study: Study, name: str, doubtful: bool
) -> None:
    found = look(tmp_path, study, ["P01,0,train,60,1", f"{name},1,train,61,1"])
    assert (by_kind(found, "cohort.id").severity == "warning") == doubtful


def test_ids_that_a_program_made_decimals_of_are_duplicates_and_doubtful(
    tmp_path: Path, study: Study
) -> None:
    found = look(tmp_path, study, ["12,0,train,60,1", "12.0,0,train,61,1", "1.2E+11,0,train,6,1"])
    assert by_kind(found, "cohort.duplicate").where == "12"
    assert by_kind(found, "cohort.id").severity == "warning"
    assert by_kind(found, "cohort.id").where == "cohort.csv column patient_id, rows 3, 4"


@pytest.mark.parametrize(
    ("ages", "doubtful"),
    [
        (["987", "1.234", "12", "", "2.100"], True),
        (["987", "1.234", "12.5"], False),
        (["1.234", "2.345"], False),
        (["987", "0.125"], False),
        (["987", "1234", "1.234"], False),
    ],
)
def test_points_that_may_separate_thousands_are_a_warning(
    tmp_path: Path, study: Study, ages: list[str], doubtful: bool
) -> None:
    rows = [f"p{number},0,train,{age},1" for number, age in enumerate(ages)]
    severity = by_kind(look(tmp_path, study, rows), "cohort.number").severity
    assert severity == ("warning" if doubtful else "ok")


def test_a_file_that_may_have_been_cut_off_is_a_warning(tmp_path: Path, study: Study) -> None:
    look(tmp_path, study, ["p1,0,train,60,1"])
    path = tmp_path / "cohort.csv"
    path.write_bytes(path.read_bytes().rstrip())
    found = check_rows(tmp_path, "a", study)
    assert by_kind(found, "cohort.file").severity == "warning"
    assert found.cohort is not None and len(found.cohort.patients) == 1


def test_rows_that_the_study_does_not_use_here_are_counted(tmp_path: Path, study: Study) -> None:
    rows = ["p1,0,train,60,1", "p2,1,internal_test,60,1", "p3,1,internal_test,60,1"]
    found = by_kind(look(tmp_path, study, rows), "cohort.split")
    assert (found.severity, found.what) == (
        "warning",
        "2 rows with internal_test, which the study does not use at this site",
    )
