"""A site deals its folds once: in another run, study or process they are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.data.cohort import Cohort, Patient, assign_folds
from client.store.cohorts import Dealing
from client.store.site_db import Draft
from common.study.model import Study
from tests import builders

SEX = builders.levels("sex", "female", "male")
STUDY = builders.study(clinical=[builders.number("x"), SEX])
TOTALS = np.array([[11.0, 109.0]])
PLAIN = assign_folds


def cohort(study: Study, n: int = 40, females: int = 4) -> Cohort:
    patients = [
        Patient(
            patient_id=f"p{i:03d}",
            origin="a",
            label=i % 2,
            split="train",
            fold=-1,
            clinical={
                "x": float(i),
                "sex": 0.0 if i < females else 1.0,
                "smoker": float(i % 3 > 1),
            },
            image=None,
            masks={},
        )
        for i in range(n)
    ]
    return Cohort("a", PLAIN(patients, study))


def folds(own: Cohort) -> dict[str, int]:
    return {p.patient_id: p.fold for p in own.patients}


def dealing(work: Path, study: Study, own: Cohort, totals: Any = TOTALS) -> Dealing:
    """A dealing by these totals, remembered as with a reply."""
    draft = Draft(work)
    made = Dealing(draft, study, own)
    made.deal(totals)
    draft.remember()
    return made


def test_before_the_totals_are_known_the_outcome_alone_decides(tmp_path: Path) -> None:
    own = cohort(STUDY)
    females = {p.fold for p in own.patients if p.clinical["sex"] == 0}
    assert len(females) > 1
    dealing(tmp_path, STUDY, own)
    assert len({p.fold for p in own.patients if p.clinical["sex"] == 0}) == 1


def test_another_process_has_the_same_folds(tmp_path: Path) -> None:
    own, again = cohort(STUDY), cohort(STUDY)
    dealing(tmp_path, STUDY, own)
    assert folds(again) != folds(own)
    Dealing(Draft(tmp_path), STUDY, again)
    assert folds(again) == folds(own)


def test_a_process_that_began_before_the_dealing_follows_it(tmp_path: Path) -> None:
    own, other = cohort(STUDY), cohort(STUDY)
    late = Dealing(Draft(tmp_path), STUDY, other)
    assert not late.follow()
    dealing(tmp_path, STUDY, own)
    assert folds(other) != folds(own)
    assert late.follow()
    assert folds(other) == folds(own)
    assert not late.follow()


@pytest.mark.parametrize(
    ("changes", "totals"),
    [
        ({}, np.array([[60.0, 60.0]])),
        ({"privacy": {"min_category": 8}}, TOTALS),
        (
            {"clinical": [builders.number("x"), SEX, builders.levels("smoker", "no", "yes")]},
            np.array([[11.0, 109.0], [80.0, 40.0]]),
        ),
        ({"name": "another"}, TOTALS),
    ],
    ids=["other totals", "another threshold", "one more column", "another name"],
)
def test_no_second_dealing_moves_a_few_of_the_same_patients(
    tmp_path: Path, changes: dict[str, Any], totals: Any
) -> None:
    own = cohort(STUDY)
    dealing(tmp_path, STUDY, own)
    later = builders.study(**{"clinical": [builders.number("x"), SEX], **changes})
    again = cohort(later)
    dealing(tmp_path, later, again, totals)
    assert folds(again) == folds(own)


def test_folds_that_anything_was_told_of_are_not_dealt_again(tmp_path: Path) -> None:
    own = cohort(STUDY)
    before = folds(own)
    draft = Draft(tmp_path)
    Dealing(draft, STUDY, own).settle()
    draft.remember()
    dealing(tmp_path, STUDY, own)
    assert folds(own) == before


def test_a_reply_that_did_not_leave_settles_nothing(tmp_path: Path) -> None:
    own, draft = cohort(STUDY), Draft(tmp_path)
    Dealing(draft, STUDY, own).settle()
    draft.drop()
    again = cohort(STUDY)
    dealing(tmp_path, STUDY, again)
    assert len({p.fold for p in again.patients if p.clinical["sex"] == 0}) == 1


def test_another_seed_deals_most_patients_to_another_fold(tmp_path: Path) -> None:
    own = cohort(STUDY)
    dealing(tmp_path, STUDY, own)
    later = STUDY.model_copy(update={"seed": STUDY.seed + 1})
    again = cohort(later)
    dealing(tmp_path, later, again)
    moved = sum(folds(again)[name] != fold for name, fold in folds(own).items())
    assert moved > len(own.patients) // 2


def test_rows_that_came_or_went_are_dealt_anew(tmp_path: Path) -> None:
    dealing(tmp_path, STUDY, cohort(STUDY))
    more = cohort(STUDY, n=60)
    dealing(tmp_path, STUDY, more)
    assert sorted(np.bincount([p.fold for p in more.patients])) == [12] * 5


def test_a_corrected_value_moves_nobody(tmp_path: Path) -> None:
    own = cohort(STUDY)
    dealing(tmp_path, STUDY, own)
    corrected = cohort(STUDY)
    first = replace(corrected.patients[0], clinical={**corrected.patients[0].clinical, "sex": 1.0})
    corrected.patients = PLAIN([first, *corrected.patients[1:]], STUDY)
    dealing(tmp_path, STUDY, corrected)
    assert folds(corrected) == folds(own)
