"""Harmonise hospitals or scanners (ComBat): the step is everybody's, its effects each hospital's.

See `common.learning.combat`. The step carries what the batches share, which is the same everywhere.
Effects of a batch follow from the training rows of its hospital, which computes them wherever it
uses the step: they are in no message and in no bundle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from common.learning.combat import BatchEffects, Common, effects_of, join_small
from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows
from common.transforms.base import Columns, Surroundings, Transform, expect, positions, replace
from common.transforms.views import ByFold, Joined, View

REFERENCE, OWN = "reference", "own"
SMALLEST_BATCH = 3
"""Rows without which a batch has no deviation worth the name."""


@plain
class Harmonise(Transform):
    """Take the location and scale of a batch off its rows, as ComBat does.

    Parameters
    ----------
    columns : the p columns it was fitted on; the priors of a batch need all of them.
    kept : those of them that come out.
    common : what the batches share.
    covariates : view of the q columns whose influence stays, None where there are none.
    fewest : rows that a batch needs, see `join_small`.
    unseen : of rows of a batch without training rows: "reference" leaves them as they are, "own"
        estimates the effects from these rows themselves, where they are enough.

    Examples
    --------
    >>> shared = Common(np.zeros(2), np.ones(2), np.zeros((0, 2)), np.zeros(0))
    >>> step = Harmonise(("a", "b"), ("a", "b"), shared, None, fewest=3, unseen="own")
    >>> values = np.array([[4.0, 5.0], [5.0, 7.0], [6.0, 9.0]])
    >>> step.apply(Rows(values, ("a", "b"), np.zeros(3), np.zeros(3, int))).values.round(2)
    array([[-0.91, -1.05],
           [-0.17,  0.19],
           [ 0.57,  1.43]])
    """

    columns: Columns
    kept: Columns
    common: Common
    covariates: View | None
    fewest: int
    unseen: str

    place: ClassVar[float] = 1.5

    def apply(self, rows: Rows) -> Rows:
        """Return rows of batches that nobody has seen, as `unseen` says; without covariates."""
        if self.covariates is not None:
            raise ValueError("Harmonise: covariates take the tables of a hospital")
        return self._moved(rows, self.residuals(rows, None), self._none())

    def apply_at_site(self, rows: Rows, site: Surroundings) -> Rows:
        """Return rows without the effects of their batches, by the site's own training rows."""
        view = self.covariates
        effects = site.kept or self.effects_at(site) or self._none()
        covariates = None if view is None else site.rows(view).values
        return self._moved(rows, self.residuals(rows, covariates), effects)

    def effects_at(self, site: Surroundings) -> BatchEffects | None:
        """Return the effects of the site's batches; None of a site without training rows."""
        rows = site.training_rows(site.before)
        if rows is None:
            return None
        view = self.covariates
        beside = None if view is None else site.training_rows(view)
        return self.effects(rows, None if beside is None else beside.values)

    def effects(self, rows: Rows, covariates: Float | None) -> BatchEffects:
        """Return the effects of the batches among these rows."""
        return self._effects(rows, self.residuals(rows, covariates))

    def residuals(self, rows: Rows, covariates: Float | None) -> Float:
        """Return what rows differ from the expected (n, p), in deviations within the batches."""
        expect(rows, self.columns, "Harmonise")
        return (rows.values - self._expected(rows, covariates)) / self.common.scale

    def outputs(self) -> Columns:
        """Return the columns that come out."""
        return self.kept

    def restrict(self, wanted: Columns) -> tuple[Harmonise, Columns]:
        """Return the step with fewer columns as its output; it still reads all of them."""
        return dataclasses.replace(self, kept=wanted), self.columns

    def views(self) -> tuple[View, ...]:
        """Return the view of the covariates."""
        return () if self.covariates is None else (self.covariates,)

    def fits(self, clip: float) -> bool:
        """Accept scales that a deviation can give, and batches that are no single patients."""
        usual = self.fewest >= SMALLEST_BATCH and self.unseen in (REFERENCE, OWN)
        return usual and bool((self.common.scale > 0).all())

    def _expected(self, rows: Rows, covariates: Float | None) -> Float:
        beside = np.zeros((rows.n, 0)) if covariates is None else covariates
        return self.common.expected(beside)

    def _effects(self, rows: Rows, residuals: Float) -> BatchEffects:
        codes = batch_of(rows)
        hospitals = np.zeros(rows.n, dtype=np.int64) if rows.origin is None else rows.origin
        return effects_of(residuals, codes, join_small(codes, hospitals, self.fewest))

    def _none(self) -> BatchEffects:
        nothing = np.zeros((0, len(self.columns)))
        return BatchEffects(joined=np.zeros(0, dtype=np.int64), shift=nothing, factor=nothing)

    def _moved(self, rows: Rows, residuals: Float, effects: BatchEffects) -> Rows:
        """Return rows with other residuals, of the columns kept.

        x - e = scale r becomes scale (r - shift) / factor, so x changes by the difference of both.
        """
        codes = batch_of(rows)
        shift, factor = effects.of(codes)
        unseen = ~effects.seen(codes)
        if self.unseen == OWN and unseen.any():
            there = np.flatnonzero(unseen)
            own = self._effects(rows.at(there), residuals[there])
            shift[there], factor[there] = own.of(codes[there])
        moved = rows.values + self.common.scale * ((residuals - shift) / factor - residuals)
        return replace(rows, moved[:, positions(self.columns, self.kept)], self.kept)


def harmonising_steps(view: View) -> Iterator[tuple[View, Harmonise]]:
    """Yield every harmonising step of a view, or of a view within it, after what leads to it."""
    if isinstance(view.source, Joined | ByFold):
        for part in view.source.parts:
            yield from harmonising_steps(part)
    for place, step in enumerate(view.transforms):
        if isinstance(step, Harmonise):
            yield View(source=view.source, transforms=view.transforms[:place]), step


def batch_of(rows: Rows) -> Int:
    """Return the code of the batch of each row (n,)."""
    return np.zeros(rows.n, dtype=np.int64) if rows.batch is None else rows.batch
