from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from common.errors import InputError
from common.models import MODELS
from common.study.follow_up import FollowUp
from tests import builders

GRID = {"ends": [6.0, 12.0, 24.0], "horizons": [12.0]}


def study(**blocks: Any) -> Any:
    return builders.study(follow_up={**GRID, **blocks.pop("grid", {})}, **blocks)


def test_a_time_at_an_end_belongs_to_the_period_that_ends_there() -> None:
    grid = study().time_grid
    placed = [grid.place(time, True) for time in (0.0, 6.0, 6.1, 12.0, 24.0)]
    assert placed == [(0, True), (0, True), (1, True), (1, True), (2, True)]
    assert grid.last_periods == (1,)


def test_who_had_no_event_at_the_end_of_the_grid_was_last_seen_then() -> None:
    assert study().time_grid.place(24.1, True) == (2, False)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"ends": [6.0, 6.0, 24.0]}, "ends must increase"),
        ({"horizons": [12.0, 6.0]}, "horizons must increase"),
        ({"horizons": [7.0]}, "horizon 7 is not one of ends"),
        ({"horizons": [24.0]}, "horizon 24 is not one of ends, before the last"),
        ({"column": "x"}, "x is also a clinical column"),
    ],
)
def test_a_grid_that_is_none_is_refused(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        study(grid=grid)


def test_a_network_has_an_output_for_each_period() -> None:
    everything = study(**builders.ALL_MODELS)
    assert everything.fits_machine("fusion_decision") and not everything.fits_machine("dl2d")
    assert (everything.network_outputs, everything.network_answer) == (3, "hazard")
    plain = builders.study()
    assert (plain.network_outputs, plain.network_answer) == (1, "probability")


def test_models_of_yes_and_no_and_strata_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    only = dataclasses.replace(MODELS["clinical"], times=False)
    with monkeypatch.context() as patch, pytest.raises(InputError) as refused:
        patch.setitem(MODELS, "clinical", only)
        study()
    assert "clinical cannot be fitted to a time to event; models that can are" in str(refused.value)
    column = builders.levels("sex", "f", "m")
    with pytest.raises(InputError, match="strata are not measured"):
        study(clinical=[column], strata=["sex"])


def test_a_study_without_times_is_written_as_before() -> None:
    plain = builders.study()
    assert "follow_up" not in plain.canonical()
    assert "follow_up" in study().canonical()
    with pytest.raises(ValueError, match="has no time"):
        _ = plain.time_grid


def test_the_outcome_of_a_prediction_names_the_horizon() -> None:
    assert study().outcome == "event within 12 months"
    assert builders.study().outcome == "event"


def test_costs_are_those_of_cox_models() -> None:
    assert study(grid={"costs": [1.0, 0.5]}).cost_grid == (0.5, 1.0)
    assert builders.study().cost_grid == builders.study().svm.cost_grid
    assert FollowUp(**GRID).periods == 3
