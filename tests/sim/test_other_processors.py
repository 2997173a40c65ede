"""Hospitals on another processor than the coordinator derive the questions of a real study."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.kernels import run_on
from client.store.derived_files import MOST_APART
from common.study.model import load_study
from sim.equality.run import HEART, HEART_STUDY


@pytest.mark.skipif(not HEART.is_dir(), reason=f"no heart data in {HEART}")
def test_no_hospital_on_an_old_processor_stops_the_heart_study(tmp_path: Path) -> None:
    study = load_study(HEART_STUDY)
    data = {name: HEART / name for name in study.site_names}
    found = run_on("prescott", study, data, tmp_path / "run", tmp_path / "cache")
    assert found.alarm == ""
    # its solvers round otherwise: there was something to agree on
    assert found.values > 0
    assert found.apart[1] < MOST_APART / 20
