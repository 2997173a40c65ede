"""Columns that decide the folds, and studies that count their levels over the hospitals."""

from __future__ import annotations

import pytest

from common.study.strata import asks_for_levels, dealt_columns
from tests import builders

CLINICAL = [
    builders.number("age"),
    builders.levels("sex", "female", "male"),
    builders.levels("stage", "1", "2", "3"),
    builders.levels("site", "a", "b", "c", kind="categorical"),
]


def test_columns_of_levels_without_an_order_decide() -> None:
    study = builders.study(clinical=CLINICAL)
    assert [column.name for column in dealt_columns(study)] == ["sex", "site"]
    assert asks_for_levels(study)


def test_one_site_knows_its_own_counts() -> None:
    alone = builders.study(
        sites=["a"],
        visitors=["b", "c"],
        tests={"internal": ("internal_test", ["a"])},
        clinical=CLINICAL,
        privacy={"masking": "where_possible", "min_cell": 1},
    )
    assert dealt_columns(alone)
    assert not asks_for_levels(alone)


@pytest.mark.parametrize("privacy", [{"min_category": 0}, {"min_category": 1}])
def test_nothing_is_dealt_where_no_level_can_be_rare(privacy: dict[str, int]) -> None:
    study = builders.study(clinical=CLINICAL, privacy=privacy)
    assert dealt_columns(study) == ()
    assert not asks_for_levels(study)
