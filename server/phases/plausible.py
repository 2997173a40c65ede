"""Check that totals over hospitals can be true, before a later question builds on them.

Under masks one false part makes a false total, and nobody can prove whose it was; but patients and
folds are known from the enrolment, counts and squares are never negative, and the update of a
network does not grow a hundredfold from one round to the next. A lie within these bounds is not
found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import ImplausibleError
from common.messages.exchanges import EnrolReply, Ranges, SumItem, Weights
from common.statistics.base import Float, Sums, describe
from common.statistics.exact import from_digits
from common.study.model import Study
from common.transforms import Select
from common.transforms.views import Table, leaves_rows_out

JUMP = 100.0
"""Factor by which an update may exceed the largest of the rounds before, or the first weights."""
_ROUNDING = 1e-9
REMEDY = (
    "let every hospital run fedlnm-site check, correct what is wrong, and resume the run;"
    " fedlnm-server audit names a hospital that signed another reply than its ledger has"
)


@dataclass(frozen=True)
class Known:
    """Counts of a set of patients that the enrolment gives.

    Parameters
    ----------
    classes : (2,), negatives and positives.
    folds : (folds, 2), the same by fold; None before they were asked for.
    whole : False where a view leaves rows out, so that counts are bounds.
    """

    classes: Float
    folds: Float | None
    whole: bool

    @property
    def rows(self) -> float:
        """Number of patients."""
        return float(self.classes.sum())

    def same(self, found: Float, expected: Float | float) -> bool:
        """Say if a count is the expected one, or at most that where rows are left out."""
        if self.whole:
            return bool(np.all(found == expected))
        return self.within(found, expected)

    def within(self, found: Float, most: Float | float) -> bool:
        """Say if counts are not negative and at most so large."""
        return bool(np.all(found >= 0) and np.all(found <= most))

    def cells(self, found: Float, expected: Float | float) -> bool:
        """Say if cells (..., cells) are not negative and make up the expected counts."""
        return bool(np.all(found >= 0)) and self.same(found.sum(axis=-1), expected)

    def by_fold(self, found: Float, column: int | None) -> bool:
        """Say if counts (folds,) are those of the folds: of positives, or (None) of all rows."""
        if self.folds is None:
            total = self.rows if column is None else self.classes[column]
            return bool(np.all(found >= 0)) and self.same(found.sum(axis=0), float(total))
        own = self.folds.sum(axis=1) if column is None else self.folds[:, column]
        return self.same(found, own)

    def cells_by_fold(self, found: Float) -> bool:
        """Say if cells (folds, columns, cells) make up the rows of each fold in every column."""
        if self.folds is None:
            return self.cells(np.moveaxis(found, 0, -2).reshape(found.shape[1], -1), self.rows)
        return self.cells(found, self.folds.sum(axis=1)[:, np.newaxis])


TALLIES: dict[str, Callable[[Float, Known], bool]] = {
    "rows": lambda part, known: known.same(part, known.rows),
    "rows by class": lambda part, known: known.same(part, known.classes),
    "rows by fold": lambda part, known: known.by_fold(part, None),
    "positives by fold": lambda part, known: known.by_fold(part, 1),
    "cells of rows": lambda part, known: known.cells(part, known.rows),
    "cells of positives": lambda part, known: known.cells(part, known.classes[1]),
    "cells of classes": lambda part, known: known.cells(part, known.classes),
    "cells of folds": lambda part, known: known.cells_by_fold(part),
    "cells": lambda part, known: (
        bool(np.all(part >= 0)) and known.within(part.sum(axis=-1), known.rows)
    ),
    "at most rows": lambda part, known: known.within(part, known.rows),
    "at most positives": lambda part, known: known.within(part, known.classes[1]),
    "at most negatives": lambda part, known: known.within(part, known.classes[0]),
    "not negative": lambda part, _: bool(np.all(part >= 0)),
    "squares": lambda part, _: bool(np.all(from_digits(part) >= 0)),
}
"""Checks of a part of a sum, by the words that a statistic has in its class attribute `tally`."""


@dataclass
class Plausibility:
    """Check of the totals of one study, with those before in mind."""

    study: Study
    members: Mapping[str, EnrolReply]
    _folds: dict[str, Float] = field(default_factory=dict)
    _largest: dict[tuple[str, str], float] = field(default_factory=dict)

    def check_sum(self, item: SumItem, sums: Sums, site: str = "") -> None:
        """Check the parts of a total against the counts of the enrolment.

        Parameters
        ----------
        site : whose own part it is, where it was sent in the clear; empty = the total.

        Raises
        ------
        ImplausibleError : it cannot be true.
        """
        known = self._known(item, (site,) if site else self.study.members(item.subset))
        for part, values in sums.items():
            tally = item.statistic.tally.get(part)
            if not np.isfinite(values).all():
                raise _fault(item, f"{part} is not finite", site)
            if known is not None and tally and not TALLIES[tally](values, known):
                raise _fault(item, f"{part} does not fit the enrolment ({tally})", site)
        if site:
            return
        if item.statistic.kind == "folds" and known is not None and known.whole:
            rows, positives = sums["rows"], sums["positives"]
            self._folds.setdefault(item.subset, np.column_stack([rows - positives, positives]))

    def check_result(self, item: SumItem, result: Any) -> None:
        """Check means and deviations of coded columns, whose range the study declares.

        Raises
        ------
        ImplausibleError : one lies outside, or a deviation exceeds half the range.
        """
        mean, deviation = getattr(result, "mean", None), getattr(result, "deviation", None)
        for position, (low, high) in self._ranges(item):
            if mean is not None and _outside(mean[position], low, high):
                raise _fault(item, "a mean lies outside the range that the study declares")
            if deviation is not None and _outside(deviation[position], 0.0, (high - low) / 2):
                raise _fault(
                    item, "deviation", "is too large for the range that the study declares"
                )

    def check_update(
        self, network: str, variant: str, weights: Weights, change: Weights, running: Ranges
    ) -> None:
        """Compare the norm of a summed update with those of the rounds before.

        Parameters
        ----------
        weights : that the round began with; the first update is compared with them.
        running : ranges of the running statistics, which have no natural bound and are left out.

        Raises
        ------
        ImplausibleError : it is not finite, or over `JUMP` times as large.
        """
        if not change.size:
            return
        norm, key = _norm(change, running), (network, variant)
        before = self._largest.get(key) or _norm(weights, running)
        if not np.isfinite(norm) or (before > 0 and norm > JUMP * before):
            raise ImplausibleError(
                f"the summed update of {network}/{variant} is over {JUMP:g} times as large as any"
                " before it" + _NOBODY,
                remedy=REMEDY,
            )
        self._largest[key] = max(norm, self._largest.get(key, 0.0))

    def _known(self, item: SumItem, sites: Sequence[str]) -> Known | None:
        counts = [
            self.members[site].counts.get(item.subset) for site in sites if site in self.members
        ]
        if not counts or None in counts:
            return None
        rows, positives = np.array(counts, dtype=np.float64).sum(axis=0)
        classes = np.array([rows - positives, positives])
        folds = self._folds.get(item.subset) if len(counts) > 1 else None
        return Known(classes, folds, not leaves_rows_out(item.view))

    def _ranges(self, item: SumItem) -> Iterator[tuple[int, tuple[float, float]]]:
        """Yield the positions of columns as they are in the cohort, and their codes' range."""
        view = item.view
        raw = isinstance(view.source, Table) and view.source.name in ("coded", "clinical")
        if not raw or not all(isinstance(step, Select) for step in view.transforms):
            return
        levels = {one.name: len(one.levels) for one in self.study.clinical if one.levels}
        for position, name in enumerate(view.outputs()):
            if name in levels:
                yield position, (0.0, levels[name] - 1.0)
            elif name.partition("=")[0] in levels:
                yield position, (0.0, 1.0)


_NOBODY = (
    ". At least one hospital sent a part that cannot be true. Sums are masked, so nobody can prove"
    " which one"
)


def _fault(item: SumItem, what: str, site: str = "") -> ImplausibleError:
    name = f"{describe(item.statistic)} of {item.subset}"
    words = (
        f"site {site} sent what cannot be true:"
        if site
        else "a total over hospitals cannot be true:"
    )
    return ImplausibleError(f"{words} {name}: {what}{'' if site else _NOBODY}", remedy=REMEDY)


def _outside(values: Any, low: float, high: float) -> bool:
    """Say if a number lies outside, by more than rounding; a missing one does not."""
    slack = _ROUNDING * max(1.0, high - low)
    return bool(
        np.any(np.asarray(values) < low - slack) or np.any(np.asarray(values) > high + slack)
    )


def _norm(vector: Weights, running: Ranges) -> float:
    """Return the Euclidean norm of a vector without these ranges."""
    starts, stops = [0, *running[:, 1]], [*running[:, 0], vector.size]
    parts = (vector[start:stop] for start, stop in zip(starts, stops, strict=True))
    with np.errstate(over="ignore"):
        return float(np.sqrt(sum(float(np.dot(part, part)) for part in parts)))
