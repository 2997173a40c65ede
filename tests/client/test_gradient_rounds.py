"""Different gradients on the same columns are counted over all processes of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from client.gradient_rounds import FILE, GradientRounds
from common.exchanges import SumItem
from common.statistics.moments import CentredSquares
from common.transforms import Select
from common.views import table


def item(centre: float, column: str = "x", subset: str = "train") -> SumItem:
    view = table("clinical").then(Select(columns=(column,)))
    return SumItem(CentredSquares(np.array([centre])), view, subset)


def test_only_other_questions_on_the_same_columns_count(tmp_path: Path) -> None:
    rounds = GradientRounds(tmp_path)
    assert [rounds.with_this(item(c)) for c in (0.0, 1.0, 2.0)] == [1, 2, 3]
    assert rounds.with_this(item(0.0, column="y")) == 1
    assert rounds.with_this(item(0.0, subset="t")) == 1


def test_a_step_that_a_restarted_coordinator_asks_again_counts_once(tmp_path: Path) -> None:
    before = GradientRounds(tmp_path)
    assert [before.with_this(item(c)) for c in (0.0, 1.0)] == [1, 2]
    again = GradientRounds(tmp_path)
    assert [again.with_this(item(c)) for c in (0.0, 1.0, 2.0)] == [2, 2, 3]


def test_a_step_whose_line_was_torn_by_a_crash_counts_once(tmp_path: Path) -> None:
    GradientRounds(tmp_path).with_this(item(0.0))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-30])
    again = GradientRounds(tmp_path)
    assert [again.with_this(item(c)) for c in (0.0, 1.0)] == [1, 2]
    assert GradientRounds(tmp_path).with_this(item(1.0)) == 2
