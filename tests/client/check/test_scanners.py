from __future__ import annotations

from pathlib import Path

import pytest

from client.check.scanners import check_scanners
from client.data.cohort import Cohort, Patient
from client.data.tables import SiteTables
from client.store.run_files import RunTables
from common.study.harmonisation import HarmonisationSettings
from common.study.model import Study
from tests import builders

COLUMNS = [column.name for column in builders.study().clinical]


def study_with(batch: str = "scanner") -> Study:
    settings = {"tables": ("radiomics",), "batch": batch, "min_batch": 3}
    own = HarmonisationSettings.model_validate(settings)
    return builders.study().model_copy(update={"harmonisation": own})


def elsewhere() -> Study:
    """The same study, trained at other hospitals."""
    study = study_with()
    sites = [one.model_copy(update={"trains": one.name != "a"}) for one in study.sites]
    return study.model_copy(update={"sites": tuple(sites)})


def cohort(*scanners: str, tested: tuple[str, ...] = ()) -> Cohort:
    splits = [("train", name) for name in scanners]
    splits += [("internal_test", name) for name in tested]
    patients = [
        Patient(str(i), "a", i % 2, split, 0, dict.fromkeys(COLUMNS, 60.0), None, {}, scanner=name)
        for i, (split, name) in enumerate(splits)
    ]
    return Cohort(site="a", patients=patients)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (cohort("x", "x", "x", "y", "y", "y"), ["2 scanner(s), each with 3"]),
        (cohort("", "", ""), ["names no scanner"]),
        (cohort("x", "x", "x", "y"), ["1 scanner(s) with fewer than 3 training patients"]),
        (cohort("x", "x", "x", tested=("z", "x")), ["1 scanner(s) of test patients"]),
    ],
)
def test_scanners_without_a_batch_are_named_by_their_number(
    found: Cohort, words: list[str]
) -> None:
    lines = list(check_scanners(found, study_with()))
    assert [word for word, line in zip(words, lines, strict=True) if word in line.what] == words
    assert {line.severity for line in lines} == {"ok" if "each with" in words[0] else "warning"}


def test_a_study_of_hospitals_asks_for_no_scanner() -> None:
    (line,) = check_scanners(cohort("", ""), study_with("hospital"))
    assert line.severity == "ok" and "no scanners" in line.what


def test_rows_of_every_set_have_the_code_of_their_scanner(tmp_path: Path) -> None:
    found = cohort("x", "y", "x", tested=("z", "y"))
    tables = SiteTables(found, study_with(), RunTables(tmp_path, "run"), None)
    assert tables.scanners == ("x", "y", "z")
    codes = {subset: tables.read("coded", subset).batch for subset in ("train", "internal")}
    train, test = codes["train"], codes["internal"]
    assert train is not None and train.tolist() == [0, 1, 0]
    assert test is not None and test.tolist() == [2, 1]
    alone = SiteTables(cohort("x", "x"), study_with(), RunTables(tmp_path, "run"), None)
    assert alone.read("coded", "train").batch is None
    assert (
        alone.trains and not SiteTables(found, elsewhere(), RunTables(tmp_path, "run"), None).trains
    )
