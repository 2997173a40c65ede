from __future__ import annotations

from pathlib import Path

import pytest

from client.store.site_db import SiteDb
from client.store.stand_ins import StandIn, StandIns


def test_what_stood_in_adds_up_and_outlasts_a_restart(tmp_path: Path) -> None:
    StandIns(SiteDb(tmp_path), "r").remember(3, "clinical/lasso/0", 0.25)
    StandIns(SiteDb(tmp_path), "r").remember(5, "clinical/lasso/1", 0.1)
    found = StandIns(SiteDb(tmp_path), "r")
    assert set(found.all()) == {
        StandIn("clinical/lasso/0", 0.25),
        StandIn("clinical/lasso/1", 0.1),
    }
    assert (found.count, found.together) == (2, pytest.approx(0.35))


def test_an_answer_that_is_heard_again_counts_once_and_other_runs_do_not(tmp_path: Path) -> None:
    found = StandIns(SiteDb(tmp_path), "r")
    for _ in range(2):
        found.remember(3, "deep/axes/0", 0.5)
    for other in ("q", "r2", "s", "r-1"):
        StandIns(SiteDb(tmp_path), other).remember(3, "deep/axes/0", 0.5)
    assert (found.count, found.together) == (1, 0.5)
