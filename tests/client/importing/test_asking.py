"""Questions about a table: the likely answer is offered, and every answer is asked for once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from client.importing.asking import completed
from client.importing.mapping import ImportMapping
from client.importing.survey import Survey, survey_export
from common.study.model import Study
from tests import builders
from tests.fixtures.archive import Scan, body, ellipses, person


@pytest.fixture
def found(tmp_path: Path) -> Survey:
    for number in (1, 2):
        Scan(person(number), body(number)).write(tmp_path / str(number))
    return survey_export(tmp_path)


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [["x", person(n).accession, "1", f"{60 + n}", "m"] for n in (1, 2)]
    return pd.DataFrame(rows, columns=["note", "exam", "label", "Age", "sex"], dtype=object)


def study() -> Study:
    return builders.study(
        clinical=[builders.number("age"), builders.levels("sex", "male", "female")]
    )


class Person:
    """Somebody who takes what is offered, and else the first answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, question: str, answers: Sequence[str], likely: str) -> str:
        self.asked.append((question, likely))
        return likely or answers[0]


def test_the_column_of_ids_and_what_it_matches_are_found_in_the_images(
    found: Survey, frame: pd.DataFrame
) -> None:
    made = completed(ImportMapping(constants={"split": "train"}), frame, found, study(), Person())
    assert (made.id, made.match) == ("exam", "AccessionNumber")
    assert made.columns == {"label": "label", "age": "Age", "sex": "sex"}


def test_only_codes_that_the_study_does_not_know_are_asked_about(
    found: Survey, frame: pd.DataFrame
) -> None:
    given, who = ImportMapping(constants={"split": "train"}), Person()
    made = completed(given, frame, found, study(), who)
    assert [question for question, _ in who.asked if "means" in question] == [
        '"m" in the column sex means for sex (- = missing)'
    ]
    assert made.codes == {"sex": {"m": "male"}}


def test_a_complete_mapping_is_not_asked_about(found: Survey, frame: pd.DataFrame) -> None:
    made = completed(ImportMapping(constants={"split": "train"}), frame, found, study(), Person())

    def never(question: str, answers: Sequence[str], likely: str) -> str:
        raise AssertionError(question)

    assert completed(made, frame, found, study(), never) == made


@pytest.mark.parametrize(
    ("code", "levels"),
    [
        ("ano", ("no", "yes")),
        ("-1", ("0", "1")),
        ("1", ("no", "1")),
        ("inactive", ("active", "dormant")),
        ("HPV\u2212", ("HPV+", "HPV-")),
    ],
)
def test_no_meaning_is_offered_that_a_person_would_have_to_correct(
    found: Survey, code: str, levels: tuple[str, str]
) -> None:
    frame = pd.DataFrame([["x", code], ["y", "7"]], columns=["id", "state"], dtype=object)
    given = ImportMapping(id="id", columns={"state": "state"}, constants={"split": "train"})
    given = given.model_copy(update={"constants": {"split": "train", "label": "1"}})
    who = Person()
    wanted = builders.study(clinical=[builders.levels("state", *levels)])
    completed(given, frame, found, wanted, who)
    offered = [likely for question, likely in who.asked if question.startswith(f'"{code}"')]
    assert offered == [""]


def test_a_level_that_is_spelt_otherwise_is_offered(found: Survey) -> None:
    frame = pd.DataFrame([["x", "Male "], ["y", "FEMALE"]], columns=["id", "sex"], dtype=object)
    constants = {"split": "train", "label": "1", "age": "1"}
    given = ImportMapping(id="id", columns={"sex": "sex"}, constants=constants)
    who = Person()
    assert completed(given, frame, found, study(), who).codes == {
        "sex": {"Male ": "male", "FEMALE": "female"}
    }


@pytest.mark.parametrize(("images", "asked"), [(True, True), (False, False)])
def test_the_roi_is_asked_for_once_where_a_file_holds_several(
    frame: pd.DataFrame, tmp_path: Path, *, images: bool, asked: bool
) -> None:
    """Twenty patients with a spinal cord each would be twenty choices."""
    for number, names in ((3, ("GTV", "cord")), (4, ("cord", "GTV")), (5, ("GTV",))):
        scan = Scan(person(number), body(number))
        scan.write(tmp_path / str(number))
        polygons = ellipses((26, 22), 6, range(8, 13))
        scan.rtstruct(tmp_path / f"rt{number}", dict.fromkeys(names, polygons))
    models = {"base_models": ["clinical", "radiomics"]} if images else {}
    features = {"radiomics": {"settings": "radiomics-original", "expected_features": 105}}
    wanted = builders.study(
        clinical=[builders.number("age")], **models, **(features if images else {})
    )
    who = Person()
    constants = {"split": "train", "label": "1", "age": "1"}
    given = ImportMapping(id="exam", constants=constants)
    made = completed(given, frame, survey_export(tmp_path), wanted, who)
    assert (made.roi == ("GTV",)) is asked, "the most frequent name is the first answer"
    assert any("name of the ROI" in question for question, _ in who.asked) is asked
