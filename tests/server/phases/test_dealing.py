"""Two rounds before anything is made by fold: levels are counted, and folds are dealt."""

from __future__ import annotations

import numpy as np
import pytest

from common.statistics.base import Rows
from common.statistics.dealt_folds import DealtFolds, LevelTotals
from common.study.model import Study
from server.phases.dealing import deal_folds, dealing_asks
from tests import builders

pytestmark = pytest.mark.usefixtures("server_identity")
LEVELS = builders.levels("sex", "female", "male")


def sites(study: Study) -> dict[str, dict[str, Rows]]:
    codes = np.arange(300)[:, None] % 10 > 0
    return builders.split(
        codes, np.arange(300) // 5 % 2, table="coded", columns=["sex"], shares=(0.4, 0.3, 0.3)
    )


def test_sites_deal_by_the_levels_of_all_of_them() -> None:
    study = builders.study(clinical=[builders.number("x"), LEVELS])
    federation = builders.federation(sites(study), study)
    rows, positives = deal_folds(federation)
    assert (rows.sum(), positives.sum()) == (300, 150)
    (counted,), (dealt,) = federation.rounds
    assert isinstance(counted.statistic, LevelTotals)
    assert isinstance(dealt.statistic, DealtFolds)
    assert dealt.statistic.totals.tolist() == [[30.0, 270.0]]
    asked, rounds = dealing_asks(study)
    assert ([one.what for one in asked], rounds) == (["LevelTotals", "DealtFolds"], 2)


@pytest.mark.parametrize(
    "study",
    [
        builders.study(clinical=[builders.number("x")]),
        builders.study(clinical=[LEVELS], privacy={"min_category": 0}),
    ],
    ids=["numbers", "no rule"],
)
def test_where_no_level_decides_nothing_is_asked(study: Study) -> None:
    federation = builders.federation({}, study)
    assert deal_folds(federation).size == 0
    assert federation.rounds == []
    assert dealing_asks(study) == ((), 0)
