from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.disclosure.rule import stricter
from common.disclosure.training import check_enrolment, check_training_sum, check_weights
from common.study.model import PrivacySettings

USUAL = PrivacySettings()


def rules(found: Any) -> list[tuple[str, float]]:
    return [(refusal.rule, refusal.threshold) for refusal in found]


@pytest.mark.parametrize(
    ("n", "positives", "privacy", "expected"),
    [
        (25, 5, USUAL, []),
        (25, 4, USUAL, [("class", 5)]),
        (25, 21, USUAL, [("class", 5)]),
        (24, 10, USUAL, [("fold", 5)]),
        (9, 5, USUAL, [("rows", 10), ("class", 5), ("fold", 5)]),
        (29, 12, PrivacySettings(min_rows=30), [("rows", 30)]),
        (30, 12, PrivacySettings(min_rows=30), []),
    ],
)
def test_training_sums_need_rows_classes_and_folds(
    rows: Any, n: int, positives: int, privacy: PrivacySettings, expected: Any
) -> None:
    table = rows(np.zeros((n, 1)), positives)
    assert rules(check_training_sum(table, 5, privacy)) == expected


def test_a_refusal_never_tells_the_value_that_fell_short(rows: Any) -> None:
    (refusal,) = check_training_sum(rows(np.zeros((25, 1)), 4), 5, USUAL)
    assert "4" not in repr(vars(refusal))


@pytest.mark.parametrize(
    ("total", "expected"), [(90, []), (41, []), (40, [("weights", 1)]), (39, [("weights", 1)])]
)
def test_weights_enter_with_a_share_below_one(
    rows: Any, study: Any, total: int, expected: Any
) -> None:
    table = rows(np.zeros((50, 1)))
    assert rules(check_weights(table, (2, -1), total, study(), USUAL)) == expected


def test_one_site_that_trains_alone_has_the_whole_share(rows: Any, study: Any) -> None:
    alone = study().model_copy(update={"sites": study().sites[:1]})
    table = rows(np.zeros((50, 1)))
    assert not check_weights(table, (2, -1), 40, alone, USUAL)
    assert rules(check_weights(table, (2, -1), 39, alone, USUAL)) == [("weights", 1)]


def test_weights_need_enough_rows_outside_the_fold_left_out(rows: Any, study: Any) -> None:
    table = rows(np.zeros((50, 1)))
    strict = PrivacySettings(min_rows=41)
    assert rules(check_weights(table, (0, -1), 90, study(), strict)) == [("rows", 41)]
    assert not check_weights(table, (-1, -1), 90, study(), strict)


@pytest.mark.parametrize(
    ("cost", "n", "expected"),
    [(1.0, 60, []), (1.01, 199, [("svm_cost", 200)]), (1.01, 200, [])],
)
def test_weak_penalties_take_many_patients(study: Any, cost: float, n: int, expected: Any) -> None:
    asked = study(svm={"costs": [0.1, cost]})
    assert rules(check_enrolment(asked, USUAL, {"train": (n, n // 2)})) == expected


def test_a_faithful_study_needs_the_sites_word_at_enrolment(study: Any) -> None:
    asked, counts = study(privacy={"mode": "faithful"}), {"train": (60, 20)}
    without = stricter(asked.privacy, None)
    assert rules(check_enrolment(asked, without, counts)) == [("consent", 1)]
    agreed = stricter(asked.privacy, PrivacySettings(mode="faithful"))
    assert not check_enrolment(asked, agreed, counts)


def test_enrolment_counts_training_patients_and_not_test_patients(study: Any) -> None:
    assert not check_enrolment(study(), USUAL, {"train": (30, 10), "spread": (2, 2)})
    found = check_enrolment(study(), USUAL, {"train": (9, 4)})
    assert rules(found) == [("rows", 10), ("class", 5)]


def test_a_study_whose_test_sets_tell_of_few_sites_together_is_refused(study: Any) -> None:
    sites = study().sites
    four = study().model_copy(update={"sites": (*sites, sites[0].model_copy(update={"name": "d"}))})
    wider = four.test_set("spread").model_copy(update={"name": "wider", "sites": tuple("abcd")})
    asked = four.model_copy(update={"test_sets": (*four.test_sets, wider)})
    assert rules(check_enrolment(asked, USUAL, {})) == [("participants", 3)]
    assert not check_enrolment(four, USUAL, {})


@pytest.mark.parametrize(
    ("theirs", "own", "expected"),
    [
        ("off", "required", ["train", "spread", "two"]),
        ("off", "where_possible", ["train", "spread"]),
        ("where_possible", "required", ["two"]),
        ("where_possible", "where_possible", []),
        ("required", "off", []),
        ("off", "off", []),
    ],
)
def test_a_site_takes_no_part_in_sums_that_its_own_file_wants_masked(
    study: Any, theirs: str, own: Any, expected: list[str]
) -> None:
    asked = study(privacy={"masking": theirs})
    privacy = stricter(asked.privacy, PrivacySettings(masking=own))
    counts = {"train": (60, 20), "spread": (20, 8), "two": (20, 8)}
    found = check_enrolment(asked, privacy, counts)
    assert rules(found) == [("masking", 1)] * len(expected)
    assert sorted(refusal.subset for refusal in found) == sorted(expected)
