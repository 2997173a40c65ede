"""A site that objects to weights which score its own held-out patients far worse."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from client.site import LOG
from client.training.reply import FACTOR, MARGIN, object_to, objection
from common.masking.update import SUMS, Update
from common.messages.exchanges import RoundPlan, TrainRequest

NOTHING = np.zeros(0, dtype=np.float32)


@pytest.mark.parametrize(
    ("best", "loss", "expected"),
    [
        (0.5, 0.6, ()),
        (0.5, 1.5, ()),
        (0.5, 1.6, (0.5, 1.6)),
        (1.0, 3.0, ()),
        (1.0, 3.014, (1.0, 3.01)),
        (float("inf"), 9.0, ()),
        (0.5, float("inf"), (0.5, 1e6)),
    ],
)
def test_only_a_loss_that_is_far_worse_is_objected_to(
    best: float, loss: float, expected: tuple[float, ...]
) -> None:
    assert (FACTOR, MARGIN) == (3.0, 1.0)
    assert objection(best, loss) == expected


class Site:
    """A site with so many patients in fold 1, which sees these losses."""

    def __init__(self, folder: Path, held_out: int = 12) -> None:
        patients = [SimpleNamespace(fold=1)] * held_out + [SimpleNamespace(fold=0)] * 20
        self.workspace: Any = SimpleNamespace(
            name="a",
            study=None,
            run_tables=SimpleNamespace(folder=folder),
            cohort=SimpleNamespace(subset=lambda study, subset: patients),
            privacy=SimpleNamespace(min_rows=10),
        )

    def sees(self, number: int, loss: float, fold: int = 1, keep: bool = False) -> Any:
        plan = RoundPlan(1, 0.1, 0, 60, keep=keep, validation_fold=fold, round=number)
        ranges = np.zeros((0, 2), dtype=np.int64)
        request = TrainRequest("r", "s", "x", number, "dl3d", "fold0", NOTHING, ranges, plan, ())
        sums = np.zeros(SUMS)
        sums[2:4] = 4 * loss, 4
        return object_to(self.workspace, request, Update(NOTHING, NOTHING, sums))


def test_a_round_is_compared_with_the_best_one_before(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert [site.sees(k, loss) for k, loss in enumerate([0.7, 0.5, 0.9])] == [(), (), ()]
    assert site.sees(3, 5.0) == (0.5, 5.0)
    assert site.sees(3, 5.0) == (0.5, 5.0), "the same round asked for again has the same answer"
    assert site.sees(4, 5.0) == (0.5, 5.0)
    assert site.sees(5, 0.6) == ()


def test_of_few_patients_only_the_screen_hears(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path, held_out=9)
    site.sees(0, 0.5)
    with caplog.at_level(logging.WARNING, LOG.name):
        assert site.sees(1, 5.0) == ()
    assert "site a objects to round 1 of dl3d/fold0" in caplog.text


def test_without_patients_held_out_there_is_nothing_to_object_by(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.sees(0, 0.5, fold=-1) == site.sees(1, 50.0, fold=-1) == ()
    assert site.sees(0, 0.5) == site.sees(1, 50.0, keep=True) == ()
