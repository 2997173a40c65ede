from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.disclosure.pooled_rows import (
    MOST_ROWS,
    check_fitting,
    check_out_of_fold_rows,
    check_places,
    check_pooling,
    check_unique_rows,
)
from common.study.model import PrivacySettings
from tests import builders

USUAL = PrivacySettings()


def rules(refusals: Any) -> list[tuple[str, float]]:
    return [(one.rule, one.threshold) for one in refusals]


@pytest.mark.parametrize(
    ("n", "positives", "expected"),
    [(20, 5, []), (19, 9, [("out_of_fold_rows", 20)]), (20, 4, [("class", 5)])],
)
def test_rows_leave_only_among_enough(rows: Any, n: int, positives: int, expected: Any) -> None:
    assert rules(check_out_of_fold_rows(rows(np.zeros((n, 1)), positives), USUAL)) == expected


@pytest.mark.parametrize(
    ("sites", "pooling", "refused"),
    [("abc", "rows", False), ("ab", "rows", True), ("abc", "bins", True), ("a", "rows", False)],
)
def test_rows_are_not_pooled_of_two_training_hospitals_or_where_a_study_shares_none(
    sites: str, pooling: str, refused: bool
) -> None:
    """One that trains alone hides its rows among nobody's, and nobody else's are there."""
    study = builders.study(sites=sites, visitors="v", fusion={"pooling": pooling})
    assert bool(check_pooling(study, USUAL)) == refused
    assert all(one == ("pooled_rows", 3.0) for one in rules(check_pooling(study, USUAL)))


@pytest.mark.parametrize(
    ("counts", "refused"),
    [
        ({"a": 30, "b": 20, "c": 25}, False),
        ({"a": 31, "b": 20, "c": 25}, True),
        ({"a": 30, "b": 45}, True),
        ({"a": 30, "b": 20, "c": 25, "v": 5}, True),
        ({"a": 30, "b": 45, "c": 0}, True),
        ({"a": 30, "b": 50, "c": -5}, True),
        ({"a": 30, "b": MOST_ROWS, "c": 25}, True),
        ({}, True),
    ],
)
def test_every_training_hospital_has_places_for_its_patients(
    counts: dict[str, int], refused: bool
) -> None:
    study = builders.study(sites="abc", visitors="v")
    found = check_places("a", 30, counts, study, USUAL)
    assert rules(found) == ([("pooled_rows", 3.0)] if refused else [])
    assert all("30" not in one.subset for one in found)


def test_a_hospital_that_does_not_train_has_no_places() -> None:
    study = builders.study(sites="abc", visitors="v")
    assert rules(check_places("v", 5, {"a": 30, "b": 20, "c": 25}, study, USUAL))


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (lambda counts: counts, False),
        (lambda counts: counts - np.eye(1, 101, 7), True),  # fewer than the site has itself
        (lambda counts: counts + np.eye(1, 101, 8), True),  # more than all rows
        (lambda counts: counts[:, :-1], True),
        (lambda counts: np.zeros((0, 101)), True),
        (lambda counts: np.full_like(counts, np.nan), True),
    ],
)
def test_counts_of_all_rows_must_be_able_to_hold_the_own(change: Any, refused: bool) -> None:
    study = builders.study(sites="abc")
    own = np.full((30, 1), 7)
    counts = 30.0 * np.eye(1, 101, 7) + 45.0 * np.eye(1, 101, 50)
    places = {"a": 30, "b": 20, "c": 25}
    found = check_fitting(own, change(counts), places, study, USUAL)
    assert rules(found) == ([("pooled_rows", 3.0)] if refused else [])


@pytest.mark.parametrize(("unique", "refused"), [(0, False), (15, False), (16, True), (30, True)])
def test_a_site_refuses_when_too_many_of_its_patients_have_one_fitting_row(
    unique: int, refused: bool
) -> None:
    privacy = PrivacySettings(max_unique_rows=0.5)
    found = check_unique_rows(unique, 30, privacy)
    assert rules(found) == ([("unique_rows", 0.5)] if refused else [])
    assert all("16" not in one.subset for one in found)
    assert check_unique_rows(30, 30, PrivacySettings(max_unique_rows=1.0)) == ()
