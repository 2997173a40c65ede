"""Planted canaries: made-up patients added to a copy of a total, and what decoders find of them.

A hospital that derives the questions holds the totals of all hospitals that these follow from, as
the coordinator does. To a copy of each it adds made-up patients, exactly, since a total is a sum.
Nothing of a canary enters the study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from common.evaluation.decoders import (
    Cells,
    Columns,
    Components,
    Decoder,
    Evidence,
    Mask,
    Total,
    difference,
)
from common.messages.limits import Limits, Patients
from common.messages.plain import plain
from common.statistics.base import Rows, Sums
from common.statistics.moments import Means

DECODERS = ("components", "columns", "cells", "differences")
ORDINARY, EXTREME, OUTLYING = range(3)
"""Kinds: like the hospital's own patients; far out in all columns; very far out in one."""
PLANTED = 9
FAR, VERY_FAR = 10.0, 1000.0
"""Deviations from the middle, of all columns, and of the one."""
SEARCHES, SEARCH_STEPS = 3, 60
"""Matrices that are searched by independent component analysis, and steps of a search."""


@plain
class CanaryFigures:
    """Findings of one decoder in the totals that a hospital holds.

    Parameters
    ----------
    searched : totals that it could search.
    planted, found : canaries, and those it found in any of them.
    chance : canaries that it believed to find in totals without them.
    patients : the hospital's own patients in these totals; 0 where fewer than `privacy.min_cell`.
    patients_found : those of them that it found, rounded up to a multiple of `privacy.min_cell`.
    """

    searched: Annotated[int, Limits(low=0, high=10_000)]
    planted: Annotated[int, Limits(low=0, high=PLANTED)]
    found: Annotated[int, Limits(low=0, high=PLANTED)]
    chance: Annotated[int, Limits(low=0, high=PLANTED)]
    patients: Patients
    patients_found: Patients


@plain
class CanaryAudit:
    """Figures of every decoder, see `common.evaluation.decoders`."""

    components: CanaryFigures
    columns: CanaryFigures
    cells: CanaryFigures
    differences: CanaryFigures


@dataclass(frozen=True)
class Answers:
    """Sums that a hospital would answer once more over other patients than before.

    Parameters
    ----------
    joined : over one more than its training patients.
    left : over its training patients without one of them (n,).
    """

    joined: bool
    left: Mask


@dataclass(frozen=True)
class Held:
    """A total, how to read a hospital's rows of it, and how to read canaries of a fold."""

    total: Total
    own: Callable[[], Rows]
    canaries: Callable[[int], Rows]


def audit_totals(held: Sequence[Held], limit: float, least: int, answers: Answers) -> CanaryAudit:
    """Search all totals with every decoder, with and without the canaries.

    A difference of two totals needs both: it counts where the hospital would answer the second.

    Parameters
    ----------
    limit : of the absolute values of columns, infinity for none.
    answers : what the hospital would answer once more.
    least : numbers of own patients found are rounded up to its multiples, and fewer own patients
        are not looked for.
    """
    search = Components(limit, SEARCH_STEPS)
    found = {
        "components": _figures(search, _most_telling(search, held), least),
        "columns": _figures(Columns(), held, least),
        "cells": _figures(Cells(), held, least),
        "differences": _differences(held, least, answers),
    }
    return CanaryAudit(**found)


def _most_telling(decoder: Decoder, held: Iterable[Held]) -> list[Held]:
    """Choose the totals of fewest patients a column: a search takes time."""
    return sorted(held, key=lambda one: decoder.weight(one.total))[:SEARCHES]


def _figures(decoder: Decoder, held: Iterable[Held], least: int) -> CanaryFigures:
    searched, inside = 0, np.zeros(0, dtype=bool)
    found, chance, own_found = Evidence.none(PLANTED), Evidence.none(PLANTED), Evidence.none(0)
    for one in held:
        if not math.isfinite(decoder.weight(one.total)):
            continue
        own, canaries = one.own(), one.canaries(one.total.fold)
        if not searched:
            inside, own_found = np.zeros(own.n, dtype=bool), Evidence.none(own.n)
        try:
            with_ = _planted(decoder, one.total, canaries)
            without, of_own = decoder.evidence(one.total, [canaries, own])
        except (ValueError, np.linalg.LinAlgError):
            continue  # made-up values that the statistic does not take, or no solution
        searched, inside = searched + 1, inside | one.total.within(own)
        found, chance, own_found = found | with_, chance | without, own_found | of_own
    patients, known = int(inside.sum()), int(own_found.recognised.sum())
    if patients < least:
        patients = known = 0
    return CanaryFigures(
        searched=searched,
        planted=PLANTED if searched else 0,
        found=int(found.recognised.sum()),
        chance=int(chance.recognised.sum()),
        patients=patients,
        patients_found=rounded_up(known, patients, least),
    )


def _differences(held: Iterable[Held], least: int, answers: Answers) -> CanaryFigures:
    """Subtract each total from the one with a canary: a second question, if it were answered."""
    searched, inside = 0, np.zeros(0, dtype=bool)
    found, chance = np.zeros(PLANTED, dtype=bool), np.zeros(PLANTED, dtype=bool)
    for one in held:
        if not isinstance(one.total.statistic, Means):
            continue
        before, canaries = one.total.sums, one.canaries(one.total.fold)
        for i in range(PLANTED):
            single = canaries.at(np.array([i]))
            found[i] |= answers.joined and _is(single, one.total.plus(single).sums, before)
            chance[i] |= _is(single, before, before)
        searched, inside = searched + 1, np.full(answers.left.size, True)
    patients = int(inside.sum()) if inside.sum() >= least else 0
    known = int(answers.left.sum()) if patients else 0
    return CanaryFigures(
        searched=searched,
        planted=PLANTED if searched else 0,
        found=int(found.sum()),
        chance=int(chance.sum()),
        patients=patients,
        patients_found=rounded_up(known, patients, least),
    )


def _is(single: Rows, first: Sums, second: Sums) -> bool:
    """Tell whether a patient's values are the difference of two sums."""
    read = difference(first, second)
    return read is not None and np.allclose(read, single.values[0], equal_nan=True)


def _planted(decoder: Decoder, total: Total, canaries: Rows) -> Evidence:
    """Return what a decoder says of canaries that are in the total, one by one or all together."""
    groups = [[i] for i in range(PLANTED)] if decoder.singly else [list(range(PLANTED))]
    evidence = Evidence.none(PLANTED)
    for group in groups:
        few = canaries.at(np.array(group))
        (own,) = decoder.evidence(total.plus(few), [few])
        evidence.found[group], evidence.ruled_out[group] = own.found, own.ruled_out
    return evidence


def rounded_up(found: int, patients: int, least: int) -> int:
    """Return a number of patients as a multiple of `least`, or all of them.

    >>> [rounded_up(found, 10, 3) for found in (0, 1, 3, 4, 10)]
    [0, 3, 3, 6, 10]
    """
    step = max(least, 1)
    return min(-(-found // step) * step, patients)


def canaries_of(rows: Rows, seed: Sequence[int], fold: int) -> Rows:
    """Make up `PLANTED` patients of the columns of a table, a third of each kind.

    Each value is that of one of the rows, drawn by column; far out ones are moved away from the
    middle.

    Parameters
    ----------
    rows : of the table; at least one.
    seed : of the draws.
    fold : that they are in; -1 = the first.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(rows.n, size=(PLANTED, rows.p))
    values = np.take_along_axis(rows.values, drawn, axis=0).astype(np.float64)
    third = PLANTED // 3
    centre = _known(np.nanmedian, rows)
    deviation = _known(np.nanstd, rows)
    deviation = np.where(deviation > 0, deviation, 1.0)
    far = slice(third * EXTREME, third * (EXTREME + 1))
    values[far] = centre + FAR * (values[far] - centre)
    at = rng.integers(max(rows.p, 1), size=third)
    for row, column in zip(range(third * OUTLYING, PLANTED), at, strict=True):
        values[row, column] = (centre + VERY_FAR * deviation)[column]
    return Rows(
        values=values,
        columns=rows.columns,
        label=rng.integers(2, size=PLANTED).astype(np.float64),
        fold=np.full(PLANTED, max(fold, 0), dtype=np.int64),
    )


def _known(summary: Callable[..., Any], rows: Rows) -> Any:
    """Return a summary of every column (p,), 0 where no value is known."""
    filled = np.where(np.isfinite(rows.values).any(axis=0), rows.values, 0.0)
    return summary(filled, axis=0)
