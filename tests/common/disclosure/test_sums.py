from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from common.disclosure.rule import RULES, Rule, declare, describes, forget, rules_of
from common.disclosure.sums import check_sum
from common.statistics.base import statistic_classes
from common.statistics.moments import Means
from common.study.model import PrivacySettings
from common.transforms.views import table


@pytest.mark.parametrize("cls", statistic_classes().values(), ids=lambda cls: cls.__name__)
def test_every_statistic_has_a_rule(cls: Any) -> None:
    assert rules_of(cls.kind)


def test_every_kind_that_a_rule_is_for_is_some_statistics() -> None:
    kinds = {kind for rule in RULES.values() for kind in rule.sums}
    assert kinds == {cls.kind for cls in statistic_classes().values()}


def test_what_fits_a_model_is_never_summed_over_test_patients() -> None:
    kinds = {cls.kind for cls in statistic_classes().values()}
    assert {kind for kind in kinds if describes(kind)} == {
        "rows",
        "cells",
        "rank_histogram",
        "quartiles",
        "score_histogram",
        "scores",
        "placements",
        "calibration",
        "ranked_pairs",
        "follow_up",
    }
    assert all(("subset" in [r.name for r in rules_of(k)]) != describes(k) for k in kinds)


def test_rules_of_every_kind_are_these() -> None:
    found = {
        cls.kind: " ".join(r.name for r in rules_of(cls.kind))
        for cls in statistic_classes().values()
    }
    assert found == {
        "rows": "rows",
        "paired": "paired subset",
        "dealing": "dealing subset",
        "folds": "subset",
        "cells": "rows cells",
        "rank_histogram": "rows cells",
        "quartiles": "rows cells form",
        "support": "cells subset",
        "rank_gram": "rank_cells rank_others support ranks subset",
        "gram": "support bounded scored subset",
        "fold_gram": "fold_class support bounded scored subset",
        "within": "support bounded subset",
        "gradient": "bounded svm_rounds periods subset",
        "platt": "subset",
        "bin_counts": "bin_counts subset",
        "score_histogram": "rows test_class one_site_scores",
        "scores": "rows test_class one_site_scores",
        "calibration": "rows test_class one_site_scores",
        "placements": "rows test_class one_site_scores placements",
        "ranked_pairs": "rows test_class one_site_scores periods",
        "follow_up": "rows test_class one_site_scores periods",
    }


def test_a_declared_rule_is_asked_comes_last_and_can_be_taken_out(rows: Any, asked: Any) -> None:
    usual = rows(np.zeros((50, 1)))
    never = Rule("never", "patients", "No.", sums=("rows",), check=lambda _: "never")
    declare(never)
    try:
        assert list(RULES)[-1] == "never"
        assert asked(Means(), usual) == [("never", 0)]
        with pytest.raises(TypeError, match="two disclosure rules are called never"):
            declare(never)
    finally:
        forget("never")
    assert asked(Means(), usual) == []


def test_a_rule_that_nobody_wrote_is_an_error(rows: Any, study: Any) -> None:
    class Unruly:
        kind: ClassVar[str] = "anything goes"

    usual = rows(np.zeros((50, 1)))
    with pytest.raises(ValueError, match="no disclosure rule is for sums of kind 'anything goes'"):
        check_sum(Unruly(), usual, "train", study(), PrivacySettings(), table("clinical"))


def test_a_test_set_that_the_study_does_not_have_is_an_error(rows: Any, study: Any) -> None:
    with pytest.raises(KeyError):
        check_sum(
            Means(), rows(np.zeros((50, 1))), "other", study(), PrivacySettings(), table("clinical")
        )


def test_training_rows_are_counted_whatever_the_statistic(rows: Any, asked: Any) -> None:
    few = rows(np.zeros((20, 1)))
    assert asked(Means(), few) == [("fold", 5)]
    assert asked(Means(), few, privacy=PrivacySettings(min_rows_per_fold=4)) == []


def test_descriptions_name_settings_that_exist_or_a_fixed_threshold() -> None:
    for name, description in RULES.items():
        assert description.protects and description.text.endswith("."), name
        if description.setting:
            assert description.setting in PrivacySettings.model_fields, name
            assert description.fixed == 0, name


def test_every_threshold_of_the_study_is_described() -> None:
    described = {description.setting for description in RULES.values()}
    assert set(PrivacySettings.model_fields) - described == {"mode", "masking", "mask_neighbours"}
