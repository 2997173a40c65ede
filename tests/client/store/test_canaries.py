"""Canaries in the totals of a whole study, at hospitals that derive its questions or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.store.audited_totals import AuditedTotals
from client.store.audits import PlantedTables, answered_again, audit_canaries
from common.evaluation.canaries import PLANTED
from common.masking.layout import end_to_end, to_rings
from common.messages.exchanges import EvaluateReply, SumItem, Totals
from common.statistics.base import zeros
from common.statistics.counts import FoldCounts
from common.statistics.gram import FoldGram
from common.transforms import Select
from common.transforms.views import materialise, table
from sim.engines.inprocess import SERVER_NODE, task_identity
from tests.attacks import coordinator
from tests.attacks.coordinator import Rehearsal

VERIFYING = ("a", "b")


@pytest.fixture(scope="module")
def studied(tabular_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A study after its run, and the replies to the bundle."""
    import shutil

    folder = tmp_path_factory.mktemp("canaries") / "hospitals"
    shutil.copytree(tabular_master, folder)
    trial = coordinator.rehearse(folder, verifying=VERIFYING)
    with task_identity(SERVER_NODE):
        grid = trial.run(folder / "out")
    replies = {one.site: one.reply for one in grid.heard if isinstance(one.reply, EvaluateReply)}
    return trial, replies


def test_a_hospital_that_derives_measures_and_another_says_so(studied: Any) -> None:
    _, replies = studied
    assert replies["c"].canaries is None
    for site in VERIFYING:
        found = replies[site].canaries
        assert found.cells.searched >= 2 and found.cells.planted == PLANTED
        # the clinical model has too few columns to search a matrix of
        assert found.components.searched == found.columns.searched == 0
        # the rule for changed cohorts refuses a sum with one more, or one fewer
        assert found.differences.searched >= 1 and found.differences.found == 0
        assert found.differences.patients > 0 and found.differences.patients_found == 0


def test_what_was_told_once_is_told_again_and_the_totals_are_gone(studied: Any) -> None:
    trial, replies = studied
    workspace = trial.workspace("a")
    assert not list(AuditedTotals(workspace.run_tables.folder).all())
    again = audit_canaries(workspace)
    assert again is not None and vars(again.cells) == vars(replies["a"].canaries.cells)
    assert audit_canaries(trial.workspace("c")) is None


def test_without_the_rule_for_changed_cohorts_the_canary_is_the_difference(
    studied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = studied[0].workspace("a")
    answers = answered_again(workspace)
    assert not answers.joined and not answers.left.any()
    monkeypatch.setattr("client.store.audits.changed_by_few", lambda previous, now: False)
    answers = answered_again(workspace)
    assert answers.joined and answers.left.all()


def test_a_run_without_any_total_is_not_measured(tabular: Path) -> None:
    trial = coordinator.rehearse(tabular, verifying=VERIFYING)
    with task_identity(SERVER_NODE):
        trial.federation().enrol()
    assert audit_canaries(trial.workspace("a")) is None


def test_canaries_go_through_the_fitted_steps_and_leave_the_hospitals_tables_alone(
    studied: Any,
) -> None:
    trial: Rehearsal = studied[0]
    tables = trial.workspace("a").tables
    view = table("clinical").then(Select(columns=("marker",)))
    before = materialise(view, tables, "train").values.copy()
    planted = materialise(view, PlantedTables(tables, 1, 4), "train")
    assert planted.columns == ("marker",) and planted.n == PLANTED
    assert set(planted.fold.tolist()) == {4}
    assert np.array_equal(before, materialise(view, tables, "train").values)


def test_only_sums_over_training_patients_that_a_decoder_reads_are_kept(tmp_path: Path) -> None:
    view = table("clinical").then(Select(columns=("x", "y")))
    gram, counts = FoldGram(folds=2), FoldCounts(folds=2)
    items = [
        SumItem(counts, view, "train"),
        SumItem(gram, view, "test"),
        SumItem(gram, view, "train"),
    ]
    ordered = [items[1], items[0], items[2]]  # by subset, as they go back
    rings = end_to_end(
        to_rings(one.statistic, zeros(one.statistic.shapes(2)) | {"n": np.array([3.0, 5.0])}, 2, 3)
        if one is items[2]
        else to_rings(one.statistic, zeros(one.statistic.shapes(2)), 2, 3)
        for one in ordered
    )
    nothing = np.zeros(0, dtype=np.uint16), np.zeros(0, dtype=np.uint64)
    kept = AuditedTotals(tmp_path)
    kept.keep(items, Totals("s", 4, rings.ring64, rings.ring32, *nothing))
    (found,) = kept.all()
    assert found.item.digest == items[2].digest
    assert found.total.sums["n"].tolist() == [3.0, 5.0] and found.total.fold == 0
    kept.forget()
    assert not list(kept.all())
