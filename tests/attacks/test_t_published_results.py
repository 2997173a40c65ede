"""Attack (t): whoever has the published results, and knows a patient's values, reads the outcome.

The bundle, or the model on paper, tells the score of any known patient. The decision curve of a set
over many hospitals has 99 thresholds, and each net benefit is two whole numbers: how many patients
with and without the endpoint are called. So the results say who is between two thresholds.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.statistics.base import Float, Rows
from common.statistics.class_histogram import QUANTILES, score_edges
from common.statistics.placements import DeLongResult
from common.statistics.scores import THRESHOLDS
from common.transforms import Select
from common.transforms.views import table
from server.phases.over_sites import evaluate_over_sites
from server.phases.set_findings import EvaluationFindings
from server.report.rows import evaluation_rows, participant_rows
from tests import builders

PATIENTS = 120
pytestmark = pytest.mark.usefixtures("server_identity")


def set_over_four_hospitals(min_cell: int, seed: int = 8) -> tuple[Float, Float, dict[str, Any]]:
    """Scores, outcomes, and the published rows by table."""
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
    return scores[:, 0], label, rows


def counts_of(rows: dict[str, Any], patients: int, positives: int) -> Float:
    """Solve each net benefit for its two whole numbers; return patients (2, 100) by outcome."""
    (row,), called = rows["decision_curve"], np.zeros((2, THRESHOLDS.size))
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


def outcomes_read(scores: Float, label: Float, rows: dict[str, Any]) -> tuple[Any, Any]:
    """Find the patients who seem to be between thresholds with one outcome, and their outcomes."""
    counts = counts_of(rows, label.size, int(label.sum()))
    cell = np.searchsorted(THRESHOLDS, scores, side="right")
    return (counts[:, cell] > 0).sum(axis=0) == 1, np.argmax(counts[:, cell], axis=0)


def test_a_curve_of_all_counts_tells_the_outcome_of_most_patients() -> None:
    scores, label, rows = set_over_four_hospitals(min_cell=1)
    alone, claimed = outcomes_read(scores, label, rows)
    assert alone.sum() > PATIENTS / 2
    assert (claimed == label)[alone].all()


def test_a_curve_of_joined_counts_tells_little_beside_the_bins_of_the_calibration() -> None:
    seen = right = bet = 0
    for seed in range(4):
        scores, label, rows = set_over_four_hospitals(3, seed)
        alone, claimed = outcomes_read(scores, label, rows)
        bins = np.floor(10.0 * scores).astype(int)
        share = np.array([label[bins == own].mean() for own in bins])
        seen += int(alone.sum())
        right += int((claimed == label)[alone].sum())
        bet += int(((share > 0.5) == (label > 0.5))[alone].sum())
    assert right - bet < 0.02 * seen


def test_the_curve_is_nearly_that_of_all_counts() -> None:
    (_, _, exact), (_, _, joined) = (set_over_four_hospitals(n) for n in (1, 3))
    curves = [np.array(rows["decision_curve"][0]["net_benefit"]) for rows in (joined, exact)]
    apart = curves[0] - curves[1]
    # at bins and the cut-off as it is, in between two patients or so apart
    assert np.abs(apart[[9, 19, 29, 39, 44, 49]]).max() < 1e-12
    assert np.abs(apart[:50]).max() < 0.05


def possible_outcomes(scores: Float, brier: float, within: float) -> int:
    """Count the sets of outcomes with this Brier score, from the sums of both halves."""
    total = scores.size * brier - float((scores**2).sum())  # of those with the endpoint, 1 - 2 p
    halves = []
    for part in np.array_split(1.0 - 2.0 * scores, 2):
        chosen = np.arange(2**part.size)[:, None] >> np.arange(part.size) & 1
        halves.append(np.sort(chosen @ part))
    apart = within * scores.size
    low = np.searchsorted(halves[1], total - apart - halves[0])
    return int((np.searchsorted(halves[1], total + apart - halves[0]) - low).sum())


def test_all_digits_of_a_brier_score_are_the_outcomes_of_patients_whose_scores_are_known() -> None:
    scores, label, rows = set_over_four_hospitals(min_cell=3)
    (row,), (fit,) = rows["calibration"], rows["calibration_fits"]
    some, their = scores[:24], label[:24]
    exact = float(((some - their) ** 2).mean())
    assert possible_outcomes(some, exact, 1e-12) == 1
    assert possible_outcomes(some, round(exact, 3), 5e-4) > 10_000
    assert row["brier"] == round(float(((scores - label) ** 2).mean()), 3)
    assert all(fit[name] == round(fit[name], 3) for name in ("slope", "intercept", "large"))


def test_counts_that_participants_withhold_follow_from_those_beside_the_areas() -> None:
    counts = {"a": (20, 8), "b": (25, 10), "c": (15, 2)}
    study = builders.open_study(
        sites="abc", tests={"one": ("internal_test", "abc")}, privacy={"min_cell": 3}
    )
    members: Any = {
        name: SimpleNamespace(counts={"train": (30, 10), "one": own}, excluded=0)
        for name, own in counts.items()
    }
    withheld = [
        row["site"]
        for row in participant_rows(study, members)
        if row["sets"]["one"]["positives"] is None
    ]
    assert "c" in withheld
    nothing = np.array([0.7]), np.array([[0.01]])
    areas = {"one": {name: DeLongResult(*counts[name], *nothing) for name in "ab"}}
    found = EvaluationFindings({"clinical": 0.5}, (), areas, (), {})
    shown = evaluation_rows(found, 3)["site_performance"]
    assert 20 - sum(row["positives"] for row in shown) == counts["c"][1]
