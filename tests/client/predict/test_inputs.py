"""Patients to be predicted: each row of the table becomes a case or a refusal, and none is lost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.imaging.preparation import PatientProblem
from client.predict.inputs import case_of, read_cases
from client.predict.predicting import Outcome, check_all_are_there
from client.predict.scoring import Prediction
from client.predict.verify import Opened
from common.errors import InputError, StudyError, UsageError
from tests import builders

STUDY = builders.study(
    clinical=[builders.number("age"), builders.levels("stage", "T1", "T2", kind="ordinal")]
)
HEADER = "patient_id,age,stage"
ROWS = ("p1,60,T1", 'p2,"61",T2', "p3,,T1", "p4,62,", "p5,63.5,T1", "p6,x,T2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cases")


def write(folder: Path, rows: tuple[str, ...], header: str = HEADER) -> Path:
    path = folder / "new.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8", newline="")
    return path


def test_every_row_is_a_case_or_a_refusal_by_row(folder: Path) -> None:
    cases, problems, warnings = read_cases(write(folder, (*ROWS, ",60,T1", "p8,,")), STUDY)
    assert [case.patient_id for case in cases] == ["p1", "p2", "p3", "p4", "p5"]
    assert [(p.patient_id, p.file, p.what) for p in problems] == [
        ("p6", "new.csv row 7 column age", '"x" is not a number'),
        ("(row 8)", "new.csv row 8 column patient_id", "empty"),
        ("p8", "new.csv row 9", "nothing is known of the patient"),
    ]
    assert not warnings


MARKS = st.lists(
    st.tuples(
        st.integers(0, 80), st.sampled_from(['"', '""', ",", "\n", "\r", '",', ' "', "#", "5"])
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(MARKS)
def test_no_patient_of_a_damaged_table_is_lost(folder: Path, marks: list[tuple[int, str]]) -> None:
    text = "\n".join([HEADER, *ROWS]) + "\n"
    for at, mark in marks:
        text = text[:at] + mark + text[at:]
    (folder / "damaged.csv").write_bytes(text.encode())
    records = [
        line
        for line in text.replace("\r", "\n").split("\n")
        if line.replace('""', "").replace(",", "").strip()
    ]
    try:
        cases, problems, _ = read_cases(folder / "damaged.csv", STUDY)
    except InputError as error:
        assert error.remedy
    else:
        names = {case.patient_id for case in cases} | {one.patient_id for one in problems}
        assert len(names) == len(cases) + len(problems) == len(records) - 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ('p1,"60,T1', "p2,61,T2", 'p3,"62,T1'),
            r"lines 2, 4: a quotation mark that is not closed",
        ),
        (("p1,60,5,T1",), r"line 2: rows have more cells .*\(4 cells, 3 columns\)"),
        (("p1,60",), r"line 2: rows have fewer cells .*\(2 cells, 3 columns\)"),
        (("p1,60,T1", "p2,61,T1", "p1,62,T1"), r"duplicate patient p1 \(rows 2, 4\)"),
        (("12,60,T1", "12.0,61,T1"), r"duplicate patient 12 \(rows 2, 3\)"),
        ((), "no patients"),
    ],
)
def test_a_table_that_could_lose_patients_is_refused(
    folder: Path, rows: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_cases(write(folder, rows), STUDY)


def test_a_column_that_is_nearly_the_studys_is_not_taken_as_missing(folder: Path) -> None:
    with pytest.raises(InputError, match=r"the column Stage is not read: .* -> call it stage"):
        read_cases(write(folder, ROWS, "patient_id,age,Stage"), STUDY)


def test_a_decimal_comma_of_an_option_is_not_cut_off() -> None:
    with pytest.raises(UsageError, match='"60,5" is not a number'):
        case_of(STUDY, "p", None, None, ["age=60,5,stage=T1"])
    case = case_of(STUDY, "p", None, None, ["age=60.5,stage\u200b=T1\u00a0"])
    assert case.clinical == {"age": 60.5, "stage": 0.0}
    case = case_of(STUDY, "p", None, None, ["stage=T2"])
    assert case.clinical is not None
    assert math.isnan(case.clinical["age"])


def test_an_outcome_without_one_of_the_patients_is_refused() -> None:
    problems = (PatientProblem("p1", "f", "w", "r"), PatientProblem("p2", "f", "w", "r"))
    predictions = (cast("Prediction", None),)
    outcome = Outcome(cast("Opened", None), predictions, problems, ())
    assert outcome.counts == {"read": 3, "predicted": 1, "refused": 2}
    check_all_are_there(outcome, 3)
    with pytest.raises(StudyError, match="4 patients were read, but 3 predicted or refused"):
        check_all_are_there(outcome, 4)
