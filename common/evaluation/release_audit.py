"""Audit of all releases of a hospital: patients whose own numbers follow from totals over sets.

Each total over a set of patients is an equation in their numbers. A patient whose indicator lies in
the row space of the sets' indicators is determined: some combination of totals is that patient's
own (Chin and Ozsoyoglu 1982, IEEE TSE 8:574-582).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from common.messages.limits import Limits, Patients
from common.messages.plain import plain

# rounding of a projection on at most hundreds of sets
TOLERANCE = 1e-9


@plain
class ReleaseAudit:
    """Figures of one hospital, as if it alone knew nothing and all others revealed all they sent.

    Parameters
    ----------
    smallest : fewest of its patients in any set that something was asked about.
    determined : its patients whose own numbers follow from totals over these sets.
    epsilon : privacy loss of its training patients, over all private trainings of all runs and
        studies, to two decimals; 0 where none was; None = no bound.
    stand_ins : solutions of the coordinator's in this run that it went on with, though its own
        differ in the last digits; None = it derives no question.
    """

    smallest: Patients
    determined: Patients
    epsilon: Annotated[float, Limits(low=0, decimals=2)] | None
    stand_ins: Annotated[int, Limits(low=0, high=10_000)] | None = None


def determined_patients(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """Return the patients whose own numbers follow from totals over the sets, by linear algebra.

    Examples
    --------
    >>> sorted(determined_patients([frozenset("abc"), frozenset("bc"), frozenset("cd")]))
    ['a']
    """
    asked = list(dict.fromkeys(sets))
    groups: dict[tuple[bool, ...], list[str]] = {}
    for patient in sorted(frozenset().union(*asked)):
        groups.setdefault(tuple(patient in one for one in asked), []).append(patient)
    # patients who are always asked about together cannot be told apart
    alone = [len(group) == 1 for group in groups.values()]
    if not any(alone):
        return frozenset()
    indicators: NDArray[np.float64] = np.array(list(groups), dtype=np.float64).T
    projection = np.linalg.pinv(indicators) @ indicators
    known = np.diag(projection) > 1.0 - TOLERANCE
    return frozenset(
        group[0]
        for group, single, own in zip(groups.values(), alone, known, strict=True)
        if single and own
    )


def smallest_set(sets: Iterable[frozenset[str]]) -> int:
    """Return the size of the smallest set that is not empty, 0 where there is none.

    >>> smallest_set([frozenset("ab"), frozenset(), frozenset("abc")])
    2
    """
    return min((len(one) for one in sets if one), default=0)
