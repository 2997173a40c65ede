from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from common.disclosure import DESCRIPTIONS, check_sum
from common.disclosure.sums import DESCRIBES, RULES
from common.statistics.moments import Means
from common.statistics.registry import statistic_classes
from common.study.model import PrivacySettings
from common.transforms.views import table


@pytest.mark.parametrize("cls", statistic_classes().values(), ids=lambda cls: cls.__name__)
def test_every_statistic_has_a_rule(cls: Any) -> None:
    assert cls.rule in RULES


def test_every_rule_is_some_statistics() -> None:
    assert set(RULES) == {cls.rule for cls in statistic_classes().values()}
    assert set(RULES) > DESCRIBES


def test_a_rule_that_nobody_wrote_is_an_error(rows: Any, study: Any) -> None:
    class Unruly:
        rule: ClassVar[str] = "anything goes"

    usual = rows(np.zeros((50, 1)))
    with pytest.raises(ValueError, match="no disclosure rule is called 'anything goes'"):
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
    for name, description in DESCRIPTIONS.items():
        assert description.protects and description.text.endswith("."), name
        if description.setting:
            assert description.setting in PrivacySettings.model_fields, name
            assert description.fixed == 0, name


def test_every_threshold_of_the_study_is_described() -> None:
    described = {description.setting for description in DESCRIPTIONS.values()}
    assert set(PrivacySettings.model_fields) - described == {"mode", "masking"}
