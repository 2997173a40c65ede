"""A hospital that lies or errs: a total that cannot be true stops the run before the next question.

One hospital of the in-process engine lies in one number; its other answers are honest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from client import handlers
from common.errors import ImplausibleError
from common.masking.layout import end_to_end, to_rings
from common.masking.update import SUMS, Update, to_update_rings
from common.messages.exchanges import (
    EnrolReply,
    RoundPlan,
    SumItem,
    SumReply,
    SumRequest,
    TrainReply,
    TrainRequest,
)
from common.statistics.base import Rows, Sums, statistic_classes
from common.statistics.counts import FoldCounts, LevelCounts
from common.statistics.fold_histogram import FoldHistogram
from common.statistics.histogram import Histogram
from common.statistics.moments import CentredSquares, Means, Missingness
from common.statistics.scores import BrierSums, Confusion, DecisionCounts
from common.study.model import Study
from common.transforms import Select
from common.transforms.views import materialise, table
from server.phases.plausible import JUMP, TALLIES, Plausibility
from tests import builders
from tests.common.statistics.test_contract import CASES

N, FOLDS = 60, 5
RANDOM = np.random.default_rng(3)
VALUES = np.column_stack([RANDOM.random(N), RANDOM.integers(0, 3, N)])
LABEL = (np.arange(N) % 3 == 0).astype(np.float64)
EDGES = np.tile(np.array([0.0, 0.5, 1.0, 2.0]), (2, 1))
Change = Callable[[Sums], Sums]


@pytest.fixture
def study() -> Study:
    columns = [builders.number("p"), builders.levels("stage", "1", "2", "3")]
    return builders.open_study(clinical=columns, privacy={"masking": "required"})


def sites() -> Any:
    return builders.split(VALUES, LABEL, table="coded", columns=("p", "stage"))


def lying(change: Change, name: str = "") -> builders.Answers:
    """Hospital b changes its part of the sums of one statistic, or of all, before they leave."""

    def answer(workspace: Any, request: SumRequest) -> Any:
        if workspace.name != "b":
            return handlers.answer_sums(workspace, request)
        parts = []
        for item in request.items:
            rows = materialise(item.view, workspace.tables, item.subset)
            sums = item.statistic.from_rows(rows)
            if name in ("", type(item.statistic).__name__):
                sums = change({part: np.array(values) for part, values in sums.items()})
            parts.append(to_rings(item.statistic, sums, rows.p, 3))
        whole = end_to_end(parts)
        return SumReply(site="b", **request.echo, ring64=whole.ring64, ring32=whole.ring32)

    return {"query.sum": answer}


def adding(part: str, number: float) -> Change:
    """Add a number to the first entry of a part."""

    def change(sums: Sums) -> Sums:
        sums[part].reshape(-1)[0] += number
        return sums

    return change


def between_folds(sums: Sums) -> Sums:
    """Move a patient of every column from fold 1 to fold 0, so that all other sums stay."""
    for column, cells in enumerate(sums["counts"][1]):
        cell = int(np.argmax(cells))
        sums["counts"][:2, column, cell] += np.array([1.0, -1.0])
    return sums


def negated(part: str) -> Change:
    """Turn the sign of a part."""
    return lambda sums: {**sums, part: -1000 * sums[part]}


PAIR, P = ("p", "stage"), ("p",)
LIES: list[tuple[str, Any, tuple[str, ...], Change]] = [
    ("one more in a fold", FoldCounts(FOLDS), PAIR, adding("rows", 1)),
    ("one positive less", FoldCounts(FOLDS), PAIR, adding("positives", -1)),
    ("a negative number of values", Means(), PAIR, adding("count", -100)),
    ("more values than patients", Means(), PAIR, adding("count", 100)),
    ("another number of rows", Missingness(), PAIR, adding("rows", 3)),
    ("a negative cell", Histogram(EDGES), PAIR, adding("counts", -40)),
    ("more in cells than patients", Histogram(EDGES), PAIR, adding("counts", 40)),
    ("a cell of a fold too many", FoldHistogram(FOLDS, EDGES), PAIR, adding("counts", 1)),
    ("more levels than patients", LevelCounts(3), ("stage",), adding("counts", 61)),
    ("a negative square", CentredSquares(np.zeros(2)), PAIR, negated("squares")),
    ("more hits than positives", Confusion(np.array([0.5])), P, adding("tp", 30)),
    ("rows of a curve", DecisionCounts(), P, adding("rows", 1)),
    ("rows of a score", BrierSums(), P, adding("n", 1)),
]


@pytest.mark.parametrize(("what", "statistic", "columns", "change"), LIES)
def test_a_hospital_that_lies_about_its_counts_stops_the_run_with_phase_and_number(
    what: str, statistic: Any, columns: tuple[str, ...], change: Change, study: Study
) -> None:
    federation = builders.federation(sites(), study, lying(change))
    federation.transfers.phase = "table1"
    federation.number = 7
    view = table("coded").then(Select(columns=columns))
    with pytest.raises(ImplausibleError, match="nobody can prove which one") as caught:
        federation.sum(statistic, view)
    assert caught.value.where == "phase table1, question 7"
    assert type(statistic).__name__ in caught.value.what


@pytest.mark.parametrize(("what", "statistic", "columns", "change"), LIES)
def test_without_the_check_the_same_lie_reaches_the_result(
    what: str,
    statistic: Any,
    columns: tuple[str, ...],
    change: Change,
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Plausibility, "check_sum", lambda *_: None)
    monkeypatch.setattr(Plausibility, "check_result", lambda *_: None)
    view = table("coded").then(Select(columns=columns))
    builders.federation(sites(), study, lying(change)).sum(statistic, view)


@pytest.mark.parametrize(("what", "statistic", "columns", "change"), LIES)
def test_the_honest_answers_to_the_same_questions_pass(
    what: str, statistic: Any, columns: tuple[str, ...], change: Change, study: Study
) -> None:
    view = table("coded").then(Select(columns=columns))
    federation = builders.federation(sites(), study)
    federation.sum(FoldCounts(FOLDS), view)
    federation.sum(statistic, view)


def test_folds_that_change_from_one_question_to_the_next_are_found(study: Study) -> None:
    """The lie keeps the number of patients: only the folds counted before contradict it."""
    view = table("coded").then(Select(columns=PAIR))
    federation = builders.federation(sites(), study, lying(between_folds, "FoldHistogram"))
    federation.sum(FoldHistogram(FOLDS, EDGES), view)
    federation.sum(FoldCounts(FOLDS), view)
    with pytest.raises(ImplausibleError, match="cells of folds"):
        federation.sum(FoldHistogram(FOLDS, EDGES), view)


@pytest.mark.parametrize("number", [5000.0, -5000.0])
def test_a_mean_beyond_the_range_that_the_study_declares_is_found(
    number: float, study: Study
) -> None:
    def change(sums: Sums) -> Sums:
        sums["total"] = 1e6 * np.sign(number) * np.abs(sums["total"])
        return sums

    view = table("coded").then(Select(columns=("stage",)))
    with pytest.raises(ImplausibleError, match="outside the range"):
        builders.federation(sites(), study, lying(change)).sum(Means(), view)


def test_a_deviation_beyond_half_the_range_is_found(study: Study) -> None:
    def change(sums: Sums) -> Sums:
        sums["squares"] = 1e3 * sums["squares"]
        return sums

    view = table("coded").then(Select(columns=("stage",)))
    federation = builders.federation(sites(), study, lying(change))
    with pytest.raises(ImplausibleError, match="too large for the range"):
        federation.sum(CentredSquares(np.array([1.0])), view)


def test_in_the_clear_the_hospital_that_lies_is_named(study: Study) -> None:
    privacy = study.privacy.model_copy(update={"masking": "off"})
    clear = study.model_copy(update={"privacy": privacy})
    view = table("coded").then(Select(columns=PAIR))
    for change in (adding("rows", 1), adding("positives", -1)):
        with pytest.raises(ImplausibleError, match="site b sent") as caught:
            builders.federation(sites(), clear, lying(change)).sum(FoldCounts(FOLDS), view)
        assert "nobody" not in caught.value.what
    builders.federation(sites(), clear).sum(FoldCounts(FOLDS), view)


def test_a_lie_within_the_bounds_is_not_found(study: Study) -> None:
    """The documentation says so: a plausible lie looks like the truth."""

    def change(sums: Sums) -> Sums:
        sums["total"] = sums["total"] * 1.1
        return sums

    view = table("coded").then(Select(columns=P))
    builders.federation(sites(), study, lying(change)).sum(Means(), view)


# -- every statistic ------------------------------------------------------------------------------


def test_every_statistic_says_what_the_enrolment_knows_of_its_parts() -> None:
    for cls in statistic_classes().values():
        assert set(cls.tally) <= set(cls.step)
        assert set(cls.tally.values()) <= set(TALLIES)


@pytest.mark.parametrize(("statistic", "rows"), CASES, ids=lambda one: type(one).__name__)
def test_honest_sums_of_every_statistic_are_plausible(
    statistic: Any, rows: Rows, study: Study
) -> None:
    rows = replace(rows, fold=np.arange(rows.n, dtype=np.int64) % 5)
    counts = {"train": (rows.n, int(rows.label.sum()))}
    nobody = {"train": (0, 0)}
    members = {
        name: EnrolReply(name, "", {}, counts if name == "a" else nobody, {}, (), 0)
        for name in study.site_names
    }
    checks = Plausibility(study, members)
    view = table("scores").then(Select(columns=rows.columns))
    folds = FoldCounts(5)
    for one in (statistic, folds, statistic):
        item = SumItem(one, view, "train")
        sums = one.from_rows(rows)
        checks.check_sum(item, sums)
        checks.check_result(item, one.finalise(sums))


# -- updates --------------------------------------------------------------------------------------

WEIGHTS = np.full(100, 0.01, dtype=np.float32)
NO_RANGES = np.zeros((0, 2), dtype=np.int64)


def training(factors: dict[int, float]) -> builders.Answers:
    """Hospital b multiplies its update in these rounds."""

    def answer(workspace: Any, request: TrainRequest) -> Any:
        change = np.full(100, 0.001, dtype=np.float32)
        if workspace.name == "b":
            change *= np.float32(factors.get(request.plan.round, 1.0))
        update = Update(change, np.zeros(0, dtype=np.float32), np.ones(SUMS))
        rings = to_update_rings(update, request.running, 3, 0.0)
        return TrainReply(
            workspace.name,
            **request.echo,
            parameters=rings.parameters,
            statistics=rings.statistics,
        )

    return {"train.network": answer}


def rounds(study: Study, factors: dict[int, float], number: int = 3) -> None:
    federation = builders.federation(sites(), study, training(factors))
    federation.transfers.phase = "dl3d"
    for k in range(number):
        plan = RoundPlan(1, 0.1, -1, N, keep=False, round=k)
        federation.train("dl3d", "final", WEIGHTS, NO_RANGES, plan)


def test_an_update_that_jumps_stops_the_run_and_one_that_grows_does_not(study: Study) -> None:
    rounds(study, {})
    rounds(study, {1: JUMP})
    with pytest.raises(ImplausibleError, match="100 times as large") as caught:
        rounds(study, {1: 10 * JUMP})
    assert caught.value.where == "phase dl3d, question 1"
    assert "nobody can prove" in caught.value.what


def test_a_first_update_is_compared_with_the_weights(study: Study) -> None:
    rounds(study, {0: JUMP})
    with pytest.raises(ImplausibleError, match="question 0"):
        rounds(study, {0: 1e4})


def test_running_statistics_may_jump(study: Study) -> None:
    checks = Plausibility(study, {})
    change = np.full(100, 0.001, dtype=np.float32)
    ranges = np.array([[10, 20]])
    for factor in (1.0, 1e9):
        change[10:20] = factor
        checks.check_update("dl3d", "final", WEIGHTS, change, ranges)
    change[9] = 1e9
    with pytest.raises(ImplausibleError):
        checks.check_update("dl3d", "final", WEIGHTS, change, ranges)


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_an_update_that_is_not_finite_is_found(number: float, study: Study) -> None:
    change = np.full(100, 0.001, dtype=np.float32)
    change[3] = number
    with pytest.raises(ImplausibleError):
        Plausibility(study, {}).check_update("dl3d", "final", WEIGHTS, change, NO_RANGES)
