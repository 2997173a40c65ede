"""Different gradients on the same tables are counted over all processes and runs of a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from client.store.gradient_rounds import FILE, GradientRounds

from common.messages.exchanges import SumItem
from common.statistics.moments import CentredSquares
from common.transforms import Clip, Select
from common.transforms.views import Joined, View, table

STUDY = "a" * 64


def item(centre: float, base: str = "clinical", subset: str = "train") -> SumItem:
    view = table(base).then(Select(columns=("x",)))
    return SumItem(CentredSquares(np.array([centre])), view, subset)


def counts(rounds: GradientRounds, *centres: float, base: str = "clinical") -> list[int]:
    return [rounds.with_this(item(centre, base))[base] for centre in centres]


def test_only_other_questions_on_the_same_table_count(tmp_path: Path) -> None:
    rounds = GradientRounds(tmp_path, STUDY)
    assert counts(rounds, 0.0, 1.0, 2.0) == [1, 2, 3]
    assert counts(rounds, 0.0, base="radiomics") == [1]
    assert rounds.with_this(item(0.0, subset="t")) == {"clinical": 1}


def test_a_step_that_changes_nothing_makes_no_other_columns(tmp_path: Path) -> None:
    rounds, asked = GradientRounds(tmp_path, STUDY), item(0.0)
    idle = SumItem(asked.statistic, asked.view.then(Clip(limit=9.0)), "train")
    joined = View(source=Joined(parts=(asked.view, table("radiomics"))))
    assert rounds.with_this(asked) == {"clinical": 1}
    assert rounds.with_this(idle) == {"clinical": 2}
    both = SumItem(asked.statistic, joined, "train")
    assert rounds.with_this(both) == {"clinical": 3, "radiomics": 1}


def test_another_study_is_counted_by_itself(tmp_path: Path) -> None:
    assert counts(GradientRounds(tmp_path, STUDY), 0.0, 1.0) == [1, 2]
    assert counts(GradientRounds(tmp_path, "b" * 64), 2.0) == [1]


def test_a_step_that_is_asked_again_by_another_process_or_run_counts_once(tmp_path: Path) -> None:
    assert counts(GradientRounds(tmp_path, STUDY), 0.0, 1.0) == [1, 2]
    assert counts(GradientRounds(tmp_path, STUDY), 0.0, 1.0, 2.0) == [2, 2, 3]


def test_a_step_whose_line_was_torn_by_a_crash_counts_once(tmp_path: Path) -> None:
    GradientRounds(tmp_path, STUDY).with_this(item(0.0))
    (path,) = tmp_path.rglob(FILE)
    path.write_bytes(path.read_bytes()[:-30])
    assert counts(GradientRounds(tmp_path, STUDY), 0.0, 1.0) == [1, 2]
    assert counts(GradientRounds(tmp_path, STUDY), 1.0) == [2]
