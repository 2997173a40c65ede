"""Bytes of the study's own plan, and the time that a line takes for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.check.finding import Load, Speed
from client.check.network import check_transfer, in_words, load_of
from common.study.model import Study, load_study
from server.phases.program import declared_phases


@pytest.fixture
def study(imaging_master: Path) -> Study:
    return load_study(imaging_master / "study.toml")


def test_loads_are_those_of_the_studys_plan(study: Study) -> None:
    loads = {load.phase: load for load in load_of(study, "north", 20)}
    phases = {phase.name: phase for phase in declared_phases(study)}
    assert loads["radiomics"].total == phases["radiomics"].bytes_up(study, "north")
    assert loads["radiomics"].rounds == phases["radiomics"].rounds
    largest = max(one.size for one in phases["dl3d"].asked)
    assert loads["dl3d"].largest == largest


def test_rows_weigh_by_the_number_of_patients(study: Study) -> None:
    few, many = (
        next(load for load in load_of(study, "north", n) if load.phase == "fusion_decision")
        for n in (20, 2000)
    )
    models = len(study.base_models) + len(study.fusion_models) - 1
    # about as many patients at each of the hospitals that train
    a_patient = len(study.training_sites) * 4 * (models + 2)
    assert many.total - few.total == 1980 * a_patient
    assert many.largest == 2000 * a_patient


def test_a_site_that_only_tests_moves_little(study: Study) -> None:
    phases = [load.phase for load in load_of(study, "harbour", 0)]
    assert "dl3d" not in phases
    assert "evaluation" in phases
    assert load_of(study, "nowhere", 0) == ()


@pytest.mark.parametrize("measured", [True, False])
def test_time_is_stated_with_the_speed_and_where_it_comes_from(measured: bool) -> None:
    loads = (Load("dl3d", 100, 10_000_000, 1_000_000_000), Load("table1", 2, 1000, 2000))
    payload, time = check_transfer(loads, Speed(80.0, measured))
    assert "at most 1.0 GB each way in 102 rounds" in payload.what
    assert "largest answer is 10 MB (dl3d)" in payload.what
    assert f"at 80 Mbit/s ({'measured' if measured else 'assumed'})" in time.what
    # 10 MB there and back are 160 Mbit
    assert "the largest round takes 2 s on the line, all rounds at most 3 min" in time.what
    assert time.severity == "ok"


def test_a_line_that_takes_days_is_a_warning() -> None:
    loads = (Load("dl3d", 1800, 185_000_000, 333_000_000_000),)
    assert [row.severity for row in check_transfer(loads, Speed(10.0, False))][1] == "warning"


def test_without_a_speed_no_time_is_made_up() -> None:
    rows = list(check_transfer((Load("table1", 1, 1, 1),), None))
    assert [row.severity for row in rows] == ["ok", "not checked"]
    assert "no speed: it is measured while the coordinator runs a study" in rows[1].what
    assert "--bandwidth" in rows[1].what


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.123, "0.12 s"), (59, "59 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_times_have_their_usual_unit(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
