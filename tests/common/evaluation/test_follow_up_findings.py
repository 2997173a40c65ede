"""A hospital's own measures of a time to event: exact for itself, from joined ranks for others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lifelines.statistics import logrank_test
from sksurv.metrics import (
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
)
from sksurv.util import Surv

from common.evaluation.follow_up_findings import FollowUpFindings, measure_locally
from common.statistics.base import Rows
from tests.fixtures.survival import PERIODS, follow_up, with_scores

LAST = np.array([3, 6])


@pytest.fixture(scope="module")
def rows() -> Rows:
    found = follow_up(240, 4, seed=4, events=0.5)
    risk = 1 / (1 + np.exp(-found.values @ [0.5, -0.3, 0.1, 0.4]))
    # only few scores are different in the second model
    return with_scores(found, risk, np.round(risk, 1))


def measured(rows: Rows, minimum: int) -> FollowUpFindings:
    edges = np.tile(np.linspace(0, 1, 41), (2, 1))
    cuts = np.median(rows.values, axis=0)
    return measure_locally(rows, "own", cuts, edges, LAST, PERIODS, minimum)


def test_exact_measures_are_those_of_other_programs(rows: Rows) -> None:
    found, happened, time = measured(rows, 1), rows.label > 0.5, rows.period + 1.0
    outcome = Surv.from_arrays(happened, time - 0.25 * happened)
    for place, risk in enumerate(rows.values.T):
        harrell = concordance_index_censored(happened, time, risk, tied_tol=0)[0]
        uno = concordance_index_ipcw(outcome, outcome, risk, tied_tol=0)[0]
        areas, _ = cumulative_dynamic_auc(outcome, outcome, risk, LAST + 1.0, tied_tol=0)
        assert found.harrell[place, 0] == pytest.approx(harrell, abs=1e-9)
        assert found.uno[place, 0] == pytest.approx(uno, abs=1e-9)
        np.testing.assert_allclose(found.areas[place, :, 0], areas, atol=1e-9)
        high = risk >= np.median(risk)
        test = logrank_test(time[high], time[~high], happened[high], happened[~high])
        assert found.tests[place, 0] == pytest.approx(test.test_statistic, rel=1e-9)


def test_what_is_sent_follows_from_groups_of_several_patients(rows: Rows) -> None:
    told, exact = measured(rows, 3), measured(rows, 1)
    np.testing.assert_allclose(told.harrell[:, 0], exact.harrell[:, 0], atol=0.02)
    for one in told.groups:
        counts = np.concatenate([one.events, one.censored])
        assert not ((counts > 0) & (counts < 3)).any()
    for value in (told.harrell, told.uno, told.areas, told.calibration[0].predicted):
        np.testing.assert_array_equal(value, np.round(value, 3))
    # which of three neighbours in rank had the event changes nothing but the counts by period
    order = np.argsort(rows.values[:, 0], kind="stable")
    swapped = np.arange(rows.n)
    swapped[order[[0, 2]]] = order[[2, 0]]
    values: Any = rows.values[swapped]
    other = measured(Rows(**{**vars(rows), "values": values}), 3)
    np.testing.assert_array_equal(other.harrell[0], told.harrell[0])


def test_of_too_few_events_nothing_is_measured(rows: Rows) -> None:
    few = rows.at(np.flatnonzero(rows.label < 0.5)[:40])
    assert not measured(few, 3).shown
