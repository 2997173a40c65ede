"""Attack (t): whoever has the published results, and knows a patient's values, reads the outcome.

The bundle, or the model on paper, tells the score of any known patient. The decision curve of a set
over many hospitals has 99 thresholds, and each net benefit is two whole numbers: how many patients
with and without the endpoint are called. So the results say who is between two thresholds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.statistics.base import Float, Rows
from common.statistics.class_histogram import QUANTILES, score_edges
from common.statistics.scores import THRESHOLDS
from common.transforms import Select
from common.transforms.views import table
from server.phases.over_sites import evaluate_over_sites
from server.phases.set_findings import EvaluationFindings
from server.report.rows import evaluation_rows
from tests import builders

PATIENTS = 120
pytestmark = pytest.mark.usefixtures("server_identity")


def set_over_four_hospitals(min_cell: int, seed: int = 8) -> tuple[Float, Float, dict[str, Any]]:
    """Scores, outcomes, and the published row of the decision curve."""
    random = np.random.default_rng(seed)
    label = (random.random(PATIENTS) < 0.4).astype(float)
    scores = 1.0 / (1.0 + np.exp(0.4 - random.normal(1.2 * label, 1.0)))[:, None]
    hospital = np.arange(PATIENTS) % 4
    study = builders.open_study(
        sites="abcd", tests={"one": ("internal_test", "abcd")}, privacy={"min_cell": min_cell}
    )
    sites = {
        name: {
            "scores@one": Rows(
                scores[hospital == site],
                ("clinical",),
                label[hospital == site],
                np.full(int((hospital == site).sum()), -1),
            )
        }
        for site, name in enumerate("abcd")
    }
    federation = builders.federation(sites, study)
    view = table("scores").then(Select(columns=("clinical",)))
    edges = score_edges(np.quantile(scores, QUANTILES, axis=0).T)
    cutoffs = {"clinical": 0.45}
    found = evaluate_over_sites(federation, ["one"], ("clinical",), view, cutoffs, edges)
    rows = evaluation_rows(EvaluationFindings(cutoffs, tuple(found), {}, (), {}), min_cell)
    return scores[:, 0], label, rows["decision_curve"][0]


def counts_of(row: dict[str, Any], patients: int, positives: int) -> Float:
    """Solve each net benefit for its two whole numbers; return patients (2, 100) by outcome."""
    called = np.zeros((2, THRESHOLDS.size))
    negatives = np.arange(patients - positives + 1)
    for place, odds in enumerate(THRESHOLDS / (1.0 - THRESHOLDS)):
        true = row["net_benefit"][place] * patients + negatives * odds
        spread = ((row["net_benefit"][place] - row["low"][place]) / 1.959963984540054) ** 2
        square = (spread * patients + row["net_benefit"][place] ** 2) * patients
        apart = np.abs(np.rint(true) + negatives * odds**2 - square) + np.abs(true - np.rint(true))
        best = int(np.argmin(np.where((true > -0.5) & (true < positives + 0.5), apart, np.inf)))
        assert apart[best] < 1e-6
        called[:, place] = negatives[best], round(true[best])
    whole = np.array([[patients - positives], [positives]])
    return -np.diff(np.hstack([whole, called, np.zeros((2, 1))]), axis=1)


def outcomes_read(scores: Float, label: Float, row: dict[str, Any]) -> tuple[Any, Any]:
    """Find the patients who seem to be between thresholds with one outcome, and their outcomes."""
    counts = counts_of(row, label.size, int(label.sum()))
    cell = np.searchsorted(THRESHOLDS, scores, side="right")
    return (counts[:, cell] > 0).sum(axis=0) == 1, np.argmax(counts[:, cell], axis=0)


def test_a_curve_of_all_counts_tells_the_outcome_of_most_patients() -> None:
    scores, label, row = set_over_four_hospitals(min_cell=1)
    alone, claimed = outcomes_read(scores, label, row)
    assert alone.sum() > PATIENTS / 2
    assert (claimed == label)[alone].all()


def test_a_curve_of_joined_counts_tells_little_beside_the_bins_of_the_calibration() -> None:
    seen = right = bet = 0
    for seed in range(4):
        scores, label, row = set_over_four_hospitals(3, seed)
        alone, claimed = outcomes_read(scores, label, row)
        bins = np.floor(10.0 * scores).astype(int)
        share = np.array([label[bins == own].mean() for own in bins])
        seen += int(alone.sum())
        right += int((claimed == label)[alone].sum())
        bet += int(((share > 0.5) == (label > 0.5))[alone].sum())
    assert right - bet < 0.02 * seen


def test_the_curve_is_nearly_that_of_all_counts() -> None:
    (_, _, exact), (_, _, joined) = (set_over_four_hospitals(n) for n in (1, 3))
    apart = np.array(joined["net_benefit"]) - exact["net_benefit"]
    # at bins and the cut-off as it is, in between two patients or so apart
    assert np.abs(apart[[9, 19, 29, 39, 44, 49]]).max() < 1e-12
    assert np.abs(apart[:50]).max() < 0.05
