"""Attack (t), continued: values of a hospital's own test patients, read from its joined cells.

Cells of a rank test are as narrow as the values of all other patients lie, down to one recorded
value. Where cells with few patients are joined with their neighbours, a join is counted in the cell
of its middle patient: that cell is this patient's value.
"""

from __future__ import annotations

import numpy as np

from common.statistics.base import Float, Rows
from common.statistics.histogram import Histogram
from common.statistics.table1 import JoinedHistogram

PATIENTS = 44
EDGES: Float = np.concatenate([[-np.inf], np.arange(0, 1001) / 10.0 - 0.05, [np.inf]])


def marker(seed: int) -> Float:
    """Return values of a blood marker with one decimal."""
    return np.round(np.random.default_rng(seed).lognormal(2.2, 0.8, PATIENTS), 1)


def left_to_right(counts: Float, minimum: int) -> Float:
    """Join neighbouring cells until each holds enough, and count a join where its middle is."""
    joined, ends, done = np.zeros(counts.size), np.cumsum(counts), 0.0
    while done < ends[-1]:
        end = ends[np.searchsorted(ends, min(done + minimum, ends[-1]))]
        end = ends[-1] if ends[-1] - end < minimum else end
        joined[np.searchsorted(ends, (done + end) / 2.0)] += end - done
        done = end
    return joined


def claimed(counts: Float) -> Float:
    """Return the values that the coordinator takes for those of patients."""
    return (np.flatnonzero(counts) - 1) / 10.0


def rows_of(values: Float) -> Rows:
    return Rows(values[:, None], ("crp",), np.zeros(values.size), np.zeros(values.size, int))


def right(claims: Float, values: Float) -> int:
    return int(np.isclose(claims[:, None], values).any(axis=1).sum())


def test_the_middle_of_a_join_is_a_patients_value() -> None:
    values = marker(1)
    counts = Histogram(edges=EDGES[None]).from_rows(rows_of(values))["counts"][0]
    found = claimed(left_to_right(counts, 3))
    assert found.size >= PATIENTS // 4
    assert right(found, values) == found.size


def test_means_of_groups_are_a_patients_value_by_chance_alone() -> None:
    claims = hits = chance = 0
    for seed in range(20):
        values = marker(seed)
        counts = JoinedHistogram(edges=EDGES[None], minimum=3).from_rows(rows_of(values))["counts"]
        found = claimed(counts[0])
        claims, hits = claims + found.size, hits + right(found, values)
        chance += right(found, marker(seed + 100))
    assert claims >= 20 * PATIENTS // 5
    assert hits < 1.5 * chance < 0.5 * claims


def test_finer_cells_asked_for_later_tell_no_further_patient() -> None:
    values = rows_of(marker(1))
    fine, coarse = EDGES, EDGES[[0, *range(3, 1002, 7), -1]]
    found = [
        JoinedHistogram(edges=e[None], minimum=3).from_rows(values)["counts"][0]
        for e in (fine, coarse)
    ]
    below = [
        dict(zip(e[1:-1].tolist(), np.cumsum(own), strict=False))
        for e, own in zip((fine, coarse), found, strict=True)
    ]
    assert all(below[0][edge] == number for edge, number in below[1].items())
