"""Levels stay as they were first made, in a study and for the same patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from client.store.fixed_levels import FixedLevels

STUDY, OTHER = "a" * 64, "b" * 64
PATIENTS = ("p1", "p2", "p3")
CODES = np.array([[0.0], [1.0], [np.nan]])
CHANGED = np.array([[0.0], [0.0], [np.nan]])


def test_the_same_levels_are_admitted_again_and_others_are_not(tmp_path: Path) -> None:
    assert FixedLevels(tmp_path).admit(STUDY, PATIENTS, CODES)
    assert FixedLevels(tmp_path).admit(STUDY, PATIENTS, CODES)
    assert not FixedLevels(tmp_path).admit(STUDY, PATIENTS, CHANGED)
    assert not FixedLevels(tmp_path).admit(STUDY, PATIENTS, np.zeros((3, 1)))
    assert FixedLevels(tmp_path).admit(STUDY, PATIENTS, CODES)


def test_what_was_refused_does_not_become_what_is_known(tmp_path: Path) -> None:
    FixedLevels(tmp_path).admit(STUDY, PATIENTS, CODES)
    for _ in range(2):
        assert not FixedLevels(tmp_path).admit(STUDY, PATIENTS, CHANGED)


def test_the_order_of_the_patients_does_not_matter(tmp_path: Path) -> None:
    FixedLevels(tmp_path).admit(STUDY, PATIENTS, CODES)
    assert FixedLevels(tmp_path).admit(STUDY, PATIENTS[::-1], CODES[::-1])
    assert not FixedLevels(tmp_path).admit(STUDY, PATIENTS[::-1], CODES)


def test_other_patients_and_another_study_have_levels_of_their_own(tmp_path: Path) -> None:
    FixedLevels(tmp_path).admit(STUDY, PATIENTS, CODES)
    assert FixedLevels(tmp_path).admit(STUDY, PATIENTS[:2], CHANGED[:2])
    assert FixedLevels(tmp_path).admit(OTHER, PATIENTS, CHANGED)
