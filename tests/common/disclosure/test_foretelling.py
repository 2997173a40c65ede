"""Enrolment refuses exactly what the run would refuse because of this site's patients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.disclosure.foretelling import foretell
from common.disclosure.pooled_rows import check_out_of_fold_rows
from common.disclosure.rule import once, refusal, stricter
from common.disclosure.scores import check_test_set
from common.disclosure.sums import check_sum
from common.disclosure.training import check_weights
from common.statistics.base import Rows
from common.statistics.gram import FoldGram
from common.statistics.moments import Means
from common.study.model import PrivacySettings, Study
from common.transforms import Clip, Select
from common.transforms.views import table
from tests import builders


def study_of(*models: str, **blocks: Any) -> Study:
    return builders.study(
        base_models=list(models),
        sites="abcd",
        tests={
            "alone": ("external_test", "a"),
            "spread": ("internal_test", "abc"),
            "two": ("internal_test", "ad"),
        },
        clinical=[builders.number("x"), builders.levels("y", "no", "yes")],
        privacy={"masking": "where_possible"},
        **blocks,
    )


def rows_of(labels: list[int], *, trains: bool = True, missing: int = 0) -> Rows:
    """Dealt into five folds in the order of the labels, as a site deals its patients."""
    n = len(labels)
    values = np.zeros((n, 2))
    values[:missing, 0] = np.nan
    fold = np.arange(n) % 5 if trains else np.full(n, -1)
    return Rows(values, ("x", "y"), np.array(sorted(labels), float), fold.astype(np.int64))


def outcomes(n: int, positives: int) -> list[int]:
    return [1] * positives + [0] * (n - positives)


def asked_in_the_run(study: Study, privacy: PrivacySettings, rows: Rows) -> set[str]:
    """Rules that the questions of a clinical model run into, one after the other."""
    view = table("clinical").then(Select(columns=("x",)))
    own = replace(rows, values=rows.values[:, :1], columns=("x",))
    found = [
        *check_sum(Means(), own, "train", study, privacy, view),
        *check_sum(FoldGram(folds=5), own, "train", study, privacy, view.then(Clip(limit=3.0))),
        *check_out_of_fold_rows(rows, privacy),
    ]
    return {one.rule for one in found} - {"support"}  # which is of all sites


@given(
    positives=st.integers(0, 40),
    negatives=st.integers(0, 40),
    own=st.fixed_dictionaries(
        {},
        optional={
            "min_rows": st.integers(1, 60),
            "min_rows_per_fold": st.integers(1, 15),
            "min_per_class": st.integers(1, 30),
            "min_class_per_fold": st.integers(0, 8),
            "min_oof_rows": st.integers(1, 60),
        },
    ),
)
def test_training_rules_are_those_that_the_questions_of_the_run_would_meet(
    positives: int, negatives: int, own: dict[str, int]
) -> None:
    study = study_of("clinical")
    privacy = stricter(study.privacy, PrivacySettings(**own))
    rows = rows_of(outcomes(positives + negatives, positives))
    reported = foretell(study, privacy, {"train": rows}, {})
    assert {one.rule for one in reported.stops} == asked_in_the_run(study, privacy, rows)
    assert not reported.withheld


@pytest.mark.parametrize("train", [(50, 20), (9, 4), (24, 12), (19, 9)])
def test_rules_of_models_that_the_study_does_not_have_are_not_asked(train: tuple[int, int]) -> None:
    rows = {"train": rows_of(outcomes(*train))}
    network = study_of("dl2d", fusion={"pooling": "bins"}, svm={"costs": [10.0]})
    found = {one.rule for one in foretell(network, network.privacy, rows, {"r1 and r2": 1}).stops}
    assert not found & {"fold_class", "paired", "svm_cost", "out_of_fold_rows"}
    clinical = study_of("clinical", svm={"costs": [10.0]})
    found = {one.rule for one in foretell(clinical, clinical.privacy, rows, {"r1 and r2": 1}).stops}
    assert "svm_cost" in found
    assert "paired" not in found


def test_networks_need_rows_outside_every_fold_that_is_left_out() -> None:
    study, rows = study_of("dl2d"), rows_of(outcomes(60, 24))
    strict = stricter(study.privacy, PrivacySettings(min_rows=50))
    reported = foretell(study, strict, {"train": rows}, {})
    assert [(one.rule, one.subset) for one in reported.stops] == [("rows", "train")]
    assert check_weights(rows, (0, 1), 61, study, strict)
    assert not foretell(study_of("clinical"), strict, {"train": rows}, {}).stops


@pytest.mark.parametrize(("count", "refused"), [(0, False), (1, True), (4, True), (5, False)])
def test_repeat_readings_come_from_nobody_or_from_enough(count: int, refused: bool) -> None:
    study = study_of("radiomics")
    rows = {"train": rows_of(outcomes(50, 20))}
    reported = foretell(study, study.privacy, rows, {"r1 and r2": 9, "r1 and r1_repeat": count})
    assert [one.rule for one in reported.stops] == ["paired"] * refused


@given(n=st.integers(0, 40), positives=st.integers(0, 20), missing=st.integers(0, 12))
def test_small_test_sets_are_left_out_and_stop_nothing(
    n: int, positives: int, missing: int
) -> None:
    study = study_of("clinical")
    rows = rows_of(outcomes(n, min(n, positives)), trains=False, missing=min(n, missing))
    sets = ("alone", "spread", "two")
    reported = foretell(study, study.privacy, dict.fromkeys(sets, rows), {})
    assert not reported.stops
    expected = once(one for name in sets for one in check_test_set(rows, name, study.privacy))
    assert [vars(one) for one in reported.withheld] == [vars(one) for one in expected]
    assert {one.subset for one in reported.withheld} <= set(sets)


@pytest.mark.parametrize(
    ("setting", "subset", "stop"),
    [
        ({"min_cell": 4}, "alone", "cells"),
        ({"min_cell": 4}, "two", None),
        ({"min_rows": 31}, "alone", "rows"),
        ({"min_rows": 31}, "two", "rows"),  # of two sites sums are not masked
        ({"min_rows": 31}, "spread", None),
        ({"min_rows": 30}, "two", None),
    ],
)
def test_a_table_that_only_the_sites_own_threshold_forbids_stops_the_study(
    setting: dict[str, int], subset: str, stop: str | None
) -> None:
    study = study_of("clinical")
    strict = stricter(study.privacy, PrivacySettings(**setting))
    rows = rows_of(outcomes(30, 12), trains=False)
    reported = foretell(study, strict, {subset: rows}, {})
    assert [one.rule for one in reported.stops] == ([stop] if stop else [])
    assert all(one.subset == subset for one in reported.stops)


@pytest.mark.parametrize(
    ("own", "subset", "stop"), [(31, "alone", True), (30, "alone", False), (31, "two", True)]
)
def test_so_does_the_number_of_axial_slices(own: int, subset: str, stop: bool) -> None:
    study = builders.study(
        base_models=["dl2d"],
        sites="abcd",
        tests={"alone": ("external_test", "a"), "two": ("internal_test", "ad")},
        privacy={"masking": "where_possible"},
    )
    strict = stricter(study.privacy, PrivacySettings(min_rows=own))
    label = np.array(sorted(outcomes(30, 12)), float)
    rows = Rows(np.zeros((30, 0)), (), label, np.full(30, -1))
    reported = foretell(study, strict, {subset: rows}, {})
    assert [one.rule for one in reported.stops] == (["rows"] if stop else [])


@given(
    n=st.integers(0, 60),
    share=st.floats(0, 1),
    test=st.integers(0, 40),
    twice=st.integers(0, 9),
    limit=st.integers(1, 70),
)
def test_no_refusal_tells_a_count(n: int, share: float, test: int, twice: int, limit: int) -> None:
    study = study_of("clinical", "radiomics", "dl2d")
    own = PrivacySettings(min_rows=limit, min_cell=limit, min_oof_rows=limit)
    privacy = stricter(study.privacy, own)
    rows = {"train": rows_of(outcomes(n, round(share * n)))}
    rows |= dict.fromkeys(("alone", "two"), rows_of(outcomes(test, test // 3), trains=False))
    reported = foretell(study, privacy, rows, {"r1 and r2": twice})
    for found in (reported.stops, reported.withheld):
        again = once(refusal(one.rule, privacy, one.subset) for one in found)
        assert [vars(one) for one in found] == [vars(one) for one in again]
    assert {one.subset for one in reported.stops} <= {"", "train", "alone", "two"}
