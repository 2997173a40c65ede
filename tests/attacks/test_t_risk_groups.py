"""Attack (t), continued: when patients had the event, from the life tables of several models.

The groups of low and high risk of every model hold the same patients. Where periods are joined for
each model by itself, ends of two models give the patients in between, and every end is where the
follow-up of a patient ended.
"""

from __future__ import annotations

import numpy as np
import pytest

from common.evaluation.follow_up import GroupedFollowUp, join_periods
from common.statistics.base import Float, Int, Rows
from common.statistics.follow_up import LifeTable

PATIENTS, PERIODS, MODELS, SETS, FEW = 60, 24, 3, 20, 3


def follow_up(seed: int) -> tuple[Float, Float]:
    """Events and censorings (models, 2, periods) of one hospital's test patients."""
    random = np.random.default_rng(seed)
    risk = random.normal(size=(PATIENTS, MODELS))
    event = random.exponential(20.0 * np.exp(-0.7 * risk[:, 0]))
    ended = np.minimum(event, random.uniform(5.0, PERIODS, PATIENTS))
    rows = Rows(
        values=risk,
        columns=("a", "b", "c"),
        label=(random.random(PATIENTS) < 0.5).astype(float),
        fold=np.full(PATIENTS, -1),
        period=ended.astype(np.int64),
    )
    table = LifeTable(np.median(risk, axis=0)[:, None], PERIODS)
    found = table.finalise(table.from_rows(rows))
    return found.events, found.censored


def one_end_at_a_time(events: Float, censored: Float) -> Int:
    """Return the ends of periods that are joined from the start on, for one model."""
    ends, start, counts = [], 0, np.stack([events, censored])
    for end in range(PERIODS):
        held = counts[:, :, start : end + 1].sum(axis=2)
        if ((held == 0) | (held >= FEW)).all():
            ends.append(end)
            start = end + 1
    return np.array([*ends[:-1], PERIODS - 1])


def small_differences(tables: list[tuple[Int, Float]]) -> int:
    """Count periods between any two known ends in which there are one or two patients.

    Parameters
    ----------
    tables : ends, and events up to each of them, of every model.
    """
    known = {int(end): float(n) for ends, upto in tables for end, n in zip(ends, upto, strict=True)}
    between = np.diff([0.0, *(known[end] for end in sorted(known))])
    return int(((between > 0) & (between < FEW)).sum())


def upto(found: GroupedFollowUp, which: str) -> tuple[Int, Float]:
    return found.last, np.cumsum(getattr(found, which).sum(axis=0))


def test_joins_by_model_give_single_patients_away() -> None:
    found = 0
    for seed in range(SETS):
        events, censored = follow_up(seed)
        ends = [one_end_at_a_time(*own) for own in zip(events, censored, strict=True)]
        for counts in (events, censored):
            whole = np.cumsum(counts[0].sum(axis=0))
            found += small_differences([(own, whole[own]) for own in ends])
    assert found > SETS


@pytest.mark.parametrize("which", ["events", "censored"])
def test_joins_of_all_models_together_give_none(which: str) -> None:
    periods = 0
    for seed in range(SETS):
        found = join_periods(*follow_up(seed), FEW)
        assert small_differences([upto(one, which) for one in found]) == 0
        periods += sum(one.last.size for one in found)
    assert periods > 1.5 * SETS * MODELS  # and there is a curve
