"""Summary of a model's AUC over hospitals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from common.evaluation.delong import auc_interval, logit_estimate
from common.evaluation.random_effects import random_effects
from server.report.heterogeneity import heterogeneity_rows, summary_lines, summary_of
from server.report.performance_records import SitePerformance
from server.report.schema import Results

SITES = ("a", "b", "c", "d")


def row(site: str, auc: float | None, error: float = 0.05, **changes: Any) -> SitePerformance:
    """A hospital of 30 patients with and 40 without the finding."""
    facts: dict[str, Any] = {"run": "federated", "set": "external_1", "site": site}
    facts |= {"model": "clinical", "n": 70, "positives": 30, "auc": auc}
    if auc is not None:
        found = auc_interval(auc, error**2, 40, 30)
        facts |= {
            "se": error,
            "ci_low": found.low,
            "ci_high": found.high,
            "ci_method": found.method,
        }
    return SitePerformance(**{**facts, **changes})


def test_the_summary_is_that_of_the_logits_with_steady_variances() -> None:
    areas, errors = np.array([0.7, 0.82, 0.9, 0.75]), np.array([0.05, 0.04, 0.03, 0.06])
    rows = [row(s, a, e) for s, a, e in zip(SITES, areas, errors, strict=True)]
    found = summary_of(rows)
    assert found is not None
    pairs = [logit_estimate(a, e**2, 40, 30) for a, e in zip(areas, errors, strict=True)]
    wanted = random_effects(*np.array(pairs).T)
    assert found[0] == 4
    assert vars(found[1]) == pytest.approx(vars(wanted), rel=1e-6)


def test_a_hospital_without_an_area_does_not_count_and_two_are_too_few() -> None:
    assert summary_of([row("a", 0.8), row("b", 0.7), row("c", None)]) is None
    found = summary_of([row("a", 0.8), row("b", 0.7), row("c", None), row("d", 0.75)])
    assert found is not None and found[0] == 3


def test_a_hospital_whose_patients_are_separated_wholly_counts_with_its_uncertainty() -> None:
    rows = [row("a", 0.6, 0.03), row("b", 0.62, 0.03), row("c", 1.0, 0.0)]
    found = summary_of(rows)
    assert found is not None
    assert 0.6 < expit(found[1].mean) < 1.0
    many = row("c", 1.0, 0.0, n=700, positives=300)
    surer = summary_of([*rows[:2], many])
    assert surer is not None and surer[1].tau > found[1].tau


def test_the_report_shows_mean_and_new_hospital_below_the_hospitals() -> None:
    rows = [row(s, a) for s, a in zip(SITES, (0.7, 0.82, 0.9, 0.75), strict=True)]
    mean, expected = summary_lines(rows, ["clinical", "radiomics"])
    assert (mean.pinned, expected.pinned) == (True, True)
    assert 0.7 < float(mean.cells[1].text) < 0.9
    assert "tau" in expected.cells[1].small and "%" in expected.cells[1].small
    assert mean.cells[2].text == expected.cells[2].text
    assert list(summary_lines(rows[:2], ["clinical"])) == []


def test_the_table_has_a_row_for_each_run_set_and_model(whole: Results) -> None:
    rows = [row(s, a) for s, a in zip(SITES, (0.7, 0.82, 0.9, 0.75), strict=True)]
    rows += [one.model_copy(update={"model": "radiomics"}) for one in rows]
    results = whole.model_copy(update={"site_performance": tuple(rows)})
    found = list(heterogeneity_rows(results))
    assert [line[:4] for line in found] == [
        ["federated", "external_1", model, 4] for model in ("clinical", "radiomics")
    ]
    _, _, _, _, auc, low, high, _, i2, least, most, _ = found[0]
    assert least < low < auc < high < most
    assert 0.0 <= i2 < 1.0
