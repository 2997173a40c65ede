"""Ids, columns and file names that tell of a person: rows are named, values are not."""

from __future__ import annotations

import pandas as pd
import pytest

from client.check.finding import Finding
from client.check.naming import check_names
from common.study.model import Study
from tests import builders


@pytest.fixture
def study() -> Study:
    return builders.study(sites=["north"], clinical=[builders.levels("address_known", "0", "1")])


def found(study: Study, columns: dict[str, list[str]]) -> list[Finding]:
    rows = check_names(pd.DataFrame(columns), "north", study)
    return [row for row in rows if row.severity != "ok"]


def test_rows_with_a_telling_id_are_listed(study: Study) -> None:
    (row,) = found(study, {"patient_id": ["n1", "19580312", "n3", "19600101"]})
    assert row.where == "cohort.csv column patient_id, rows 3, 5"
    assert row.what == "ids that look like a date"
    assert "1958" not in str(row)


def test_long_lists_are_cut(study: Study) -> None:
    (row,) = found(study, {"patient_id": [f"100000{i}" for i in range(9)]})
    assert row.where.endswith("rows 2, 3, 4, 5, 6 and 4 more")


def test_the_sites_own_name_and_words_of_all_ids_are_nobodys(study: Study) -> None:
    ids = ["north-larynx-cohort-a", "north-larynx-cohort-b"] * 3
    assert not found(study, {"patient_id": ids})


def test_telling_files_and_folders_are_found_but_not_twice_for_an_id(study: Study) -> None:
    rows = found(
        study,
        {
            "patient_id": ["Doe_Jane", "n2", "n3", "n4"],
            "image": ["ct/Doe_Jane.nii.gz", "ct/n2.nii.gz", "2021-03-12/n3.nii", "ct/n4.nii"],
        },
    )
    assert [(row.kind, row.where) for row in rows] == [
        ("identifiers.cohort", "cohort.csv column patient_id, row 2"),
        ("identifiers.files", "cohort.csv column image, row 4"),
    ]


def test_columns_made_for_a_person_are_found_unless_the_study_reads_them(study: Study) -> None:
    rows = found(study, {"patient_id": ["n1"], "birth_date": [""], "address_known": ["1"]})
    assert [row.where for row in rows] == ["cohort.csv column birth_date"]


def test_a_table_without_ids_is_looked_at_all_the_same(study: Study) -> None:
    assert [row.severity for row in check_names(pd.DataFrame({"x": ["1"]}), "a", study)] == [
        "ok",
        "ok",
    ]
