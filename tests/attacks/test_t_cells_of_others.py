"""Attack (t), continued: outcomes of other hospitals' test patients, read from a question.

To compare scores over hospitals each is shown in which cells of the score the patients of either
outcome lie. A hospital that knows the values of another's patient, and has the model, looks the
score up: where one outcome has none, the patient has the other.
"""

from __future__ import annotations

import numpy as np
import pytest

from common.statistics.base import Float, Rows
from common.statistics.class_histogram import (
    QUANTILES,
    ClassHistogram,
    ClassHistogramResult,
    merge_class,
    score_edges,
)

SETS, FEW = 20, 3


def counted(seed: int, patients: int) -> tuple[Float, Float, ClassHistogramResult]:
    """Scores, outcomes, and the histogram of a set over hospitals."""
    random = np.random.default_rng(seed)
    label = (random.random(patients) < 0.4).astype(float)
    scores = 1.0 / (1.0 + np.exp(0.4 - random.normal(1.2 * label, 1.0)))
    training = 1.0 / (1.0 + np.exp(0.4 - random.normal(0.5, 1.1, 300)))
    statistic = ClassHistogram(edges=score_edges(np.quantile(training, QUANTILES)[None]))
    rows = Rows(scores[:, None], ("model",), label, np.full(patients, -1))
    return scores, label, statistic.finalise(statistic.from_rows(rows))


def halves(histogram: ClassHistogramResult, label: int) -> tuple[Float, Float]:
    cells = merge_class(histogram, label, FEW)
    return cells.edges[0, 1:-1], cells.counts[0]


def from_the_left(histogram: ClassHistogramResult, label: int) -> tuple[Float, Float]:
    """Join cells with their neighbours until they hold enough; empty ones stay."""
    inner, counts, held = [], [], 0.0
    for end, own in zip(histogram.edges[0, 1:], histogram.counts[0, label], strict=True):
        held += own
        if held == 0.0 or held >= FEW:
            inner.append(end)
            counts.append(held)
            held = 0.0
    counts[-1] += held
    return np.array(inner[:-1]), np.array(counts)


def outcomes_read(joins: object, patients: int) -> tuple[int, int]:
    """Count patients whose cell has one outcome alone, and those with that outcome."""
    seen = right = 0
    for seed in range(SETS):
        scores, label, histogram = counted(seed, patients)
        held = []
        for own in (0, 1):
            inner, counts = joins(histogram, own)  # type: ignore[operator]
            held.append(counts[np.searchsorted(inner, scores, side="right")])
        alone = (np.array(held) > 0).sum(axis=0) == 1
        seen += int(alone.sum())
        right += int((np.argmax(held, axis=0) == label)[alone].sum())
    return seen, right


@pytest.mark.parametrize(("patients", "share"), [(40, 0.4), (120, 0.25)])
def test_cells_joined_from_one_end_tell_many_outcomes(patients: int, share: float) -> None:
    seen, right = outcomes_read(from_the_left, patients)
    assert seen == right > share * SETS * patients


@pytest.mark.parametrize(("patients", "share"), [(40, 0.14), (120, 0.07)])
def test_halves_tell_the_few_where_all_around_have_the_same_outcome(
    patients: int, share: float
) -> None:
    seen, _ = outcomes_read(halves, patients)
    assert seen < share * SETS * patients
