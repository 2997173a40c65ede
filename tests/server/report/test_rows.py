"""Rows of the measures: small counts are not shown, and every row fits the schema."""

from __future__ import annotations

import numpy as np
import pytest

from common.statistics.placements import DeLongResult
from server.phases.set_findings import EvaluationFindings
from server.report.performance_records import SitePerformance
from server.report.rows import evaluation_rows, shown_counts


@pytest.mark.parametrize(
    ("n", "positives", "shown"),
    [
        (30, 12, (30, 12)),
        (30, 0, (30, 0)),
        (30, 1, (30, None)),
        (30, 29, (30, None)),
        (1, 1, (None, None)),
        (1, 0, (None, None)),
        (2, 1, (None, None)),
        (0, 0, (0, 0)),
    ],
)
def test_one_or_two_patients_are_not_told_of(
    n: int, positives: int, shown: tuple[int | None, int | None]
) -> None:
    assert tuple(shown_counts(n, positives, 3).values()) == shown


def test_a_minimum_of_nothing_withholds_nothing() -> None:
    assert shown_counts(1, 1, 0) == {"n": 1, "positives": 1}


def test_the_areas_of_a_sites_own_patients_fit_the_schema() -> None:
    own = DeLongResult(20, 8, np.array([0.7]), np.array([[0.01]]))
    found = EvaluationFindings({"clinical": 0.5}, (), {"internal": {"north": own}}, (), {})
    (row,) = evaluation_rows(found, 3)["site_performance"]
    read = SitePerformance.model_validate({"run": "federated", **row})
    assert (read.n, read.auc) == (20, 0.7)
