"""Totals of levels by which folds are dealt: a site refuses what its own patients contradict."""

from __future__ import annotations

import numpy as np

from common.disclosure.sums import check_sum
from common.statistics.base import Rows
from common.statistics.dealt_folds import DealtFolds
from common.transforms import Select
from common.transforms.views import table
from tests import builders

STUDY = builders.study(clinical=[builders.levels("sex", "female", "male")])
VIEW = table("coded").then(Select(columns=("sex",)))


def asked(females: float) -> list[str]:
    code, label = np.repeat([0.0, 1.0], 50)[:, None], np.tile([0.0, 1.0], 50)
    rows = Rows(code, ("sex",), label, np.arange(100) // 2 % 5)
    dealt = DealtFolds(folds=5, totals=np.array([[females, 250.0]]))
    return [one.rule for one in check_sum(dealt, rows, "train", STUDY, STUDY.privacy, VIEW)]


def test_totals_that_hold_the_sites_own_patients_are_answered() -> None:
    assert asked(50.0) == []


def test_totals_with_fewer_patients_of_a_level_than_the_site_has_are_refused() -> None:
    assert asked(49.0) == ["dealing"]
