"""A question about some rows is answered in one form only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.disclosure.sums import check_sum
from common.statistics.base import Rows
from common.statistics.class_histogram import ClassHistogram
from common.statistics.moments import Means
from common.study.model import Study
from common.study.strata import level_view
from common.transforms import InLevel, Select
from common.transforms.views import Joined, View, leaves_rows_out, table
from tests import builders

HISTOGRAM = ClassHistogram(edges=np.array([[-np.inf, 0.5, np.inf]]))
ALLOWED = level_view(("m",), "sex", 1)


def rows(n: int = 40) -> Rows:
    values, label = np.full((n, 1), 0.3), (np.arange(n) % 2).astype(float)
    return Rows(values=values, columns=("m",), label=label, fold=np.arange(n) % 5)


@pytest.fixture(scope="module")
def study() -> Study:
    return builders.study(
        strata=["sex"],
        tests={"t": ("external_test", "abc")},
        clinical=[builders.levels("sex", "female", "male"), builders.number("age")],
    )


def refused(study: Study, view: View, statistic: Any = HISTOGRAM, subset: str = "t") -> list[str]:
    found = check_sum(statistic, rows(), subset, study, study.privacy, view)
    return [refusal.rule for refusal in found]


def test_scores_of_a_declared_stratum_of_test_patients_may_be_counted(study: Study) -> None:
    assert refused(study, ALLOWED) == []


@pytest.mark.parametrize(
    "view",
    [
        level_view(("m",), "age", 0),
        ALLOWED.then(Select(columns=("m",))),
        ALLOWED.then(InLevel(column="m", level=1, columns=("m",))),
        View(source=Joined(parts=(ALLOWED, table("scores").then(Select(columns=("m",)))))),
        table("coded").then(InLevel(column="sex", level=1, columns=("sex",))),
    ],
    ids=["not a stratum", "a step behind", "two levels", "within another view", "another table"],
)
def test_any_other_choice_of_rows_is_refused(study: Study, view: View) -> None:
    assert leaves_rows_out(view)
    assert refused(study, view) == ["levels"]


def test_no_other_statistic_and_no_training_patients(study: Study) -> None:
    assert refused(study, ALLOWED, Means()) == ["levels"]
    assert refused(study, ALLOWED, subset="train") == ["levels"]
