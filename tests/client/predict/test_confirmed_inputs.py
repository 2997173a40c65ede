"""The word on a contour's frame of reference reaches the patients that are to be predicted."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.predict.inputs import case_of, read_cases
from common.errors import InputError
from tests import builders

STUDY = builders.study(base_models=["dl3d"])
WORD = frozenset({"frame_of_reference"})


def test_the_column_of_a_cohort_is_read_and_unknown_words_refuse_the_patient(
    tmp_path: Path,
) -> None:
    for name in ("ct.nii", "rt.dcm"):
        (tmp_path / name).touch()
    rows = ["p1,ct.nii,rt.dcm,frame_of_reference", "p2,ct.nii,rt.dcm,", "p3,ct.nii,rt.dcm,yes"]
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join(["patient_id,image,mask,confirmed", *rows]) + "\n", encoding="utf-8")
    cases, problems, _ = read_cases(path, STUDY)
    assert [case.confirmed for case in cases] == [WORD, frozenset()]
    assert [(p.patient_id, p.file, p.what) for p in problems] == [
        ("p3", "cohort.csv row 4 column confirmed", 'unknown word "yes"')
    ]


def test_a_single_patient_is_confirmed_by_option(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.touch()
    assert case_of(STUDY, "p", path, path, [], WORD).confirmed == WORD
    assert case_of(STUDY, "p", path, path, []).confirmed == frozenset()


def test_an_unknown_word_of_the_option_is_refused() -> None:
    from client.data.cohort_file import confirmed_words

    with pytest.raises(InputError, match="--confirmed: unknown word"):
        confirmed_words("yes", "--confirmed")
