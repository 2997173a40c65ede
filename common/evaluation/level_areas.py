"""Areas within the levels of a stratum, and their suppression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

import numpy as np
import scipy

from common.evaluation.calibration_fit import CalibrationFit, fit_grouped, fit_unknown
from common.evaluation.delong import logit_estimate
from common.evaluation.joined_scores import joined_areas
from common.evaluation.suppression import Mask, suppress
from common.messages.limits import patients, shares
from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.statistics.placements import DeLongResult, delong_unknown


@plain
class LevelAreas:
    """Published results for the levels of one stratum in one set.

    Parameters
    ----------
    counts : (levels, 2), negatives and positives; 0 where withheld.
    hidden : (levels,), 1.0 = counts and areas are withheld, else 0.0.
    areas : one per level; without patients where they are withheld or the level is too small.
    fits : calibration, one per level likewise.
    """

    counts: Annotated[Float, patients("levels", 2)]
    hidden: Annotated[Float, shares("levels", decimals=0)]
    areas: tuple[DeLongResult, ...]
    fits: tuple[CalibrationFit, ...]


def hidden_levels(counts: Float, missing: Float, minimum: int) -> Mask:
    """Return the levels whose counts must not be published.

    Few patients of one outcome are a small cell. The set's own numbers are known, so a single gap
    could be filled by subtraction: each outcome is treated as a row of Table 1.

    Parameters
    ----------
    counts : (levels, 2). missing : (2,), patients without a level.

    Examples
    --------
    >>> hidden_levels(np.array([[20.0, 2.0], [30.0, 9.0], [25.0, 8.0]]), np.zeros(2), 5)
    array([ True, False,  True])
    """
    rows = np.vstack([counts, missing[None, :]])
    return suppress(rows[:, 0], minimum)[:-1] | suppress(rows[:, 1], minimum)[:-1]


class Thresholds(Protocol):
    """Thresholds that decide which levels are published, a part of a study's privacy settings."""

    @property
    def min_rows(self) -> int:
        """Fewest patients of a level."""

    @property
    def min_per_class(self) -> int:
        """Fewest patients of a level in either class."""

    @property
    def min_cell(self) -> int:
        """Smallest count that may be published."""


def publishable_levels(counts: Float, hidden: Mask, privacy: Thresholds) -> Mask:
    """Return the levels with enough patients of both outcomes for an area."""
    enough = (counts.sum(axis=1) >= privacy.min_rows) & (
        counts.min(axis=1) >= max(privacy.min_per_class, 1)
    )
    publishable: Mask = enough & ~hidden
    return publishable


def areas_by_level(
    rows: Rows, codes: Float, levels: int, privacy: Thresholds, edges: Float
) -> LevelAreas:
    """Return areas and calibration of groups of the rows at hand, small levels withheld.

    Parameters
    ----------
    rows : probabilities (n, k), one column per model, and labels.
    codes : (n,), level 0 ... levels-1 of each row, NaN = none.
    edges : (k, cells + 1), see `group_scores`.
    """
    counts = np.array([_classes(rows.label[codes == level]) for level in range(levels)])
    counts = counts.reshape(levels, 2)
    hidden = hidden_levels(counts, _classes(rows.label[~np.isfinite(codes)]), privacy.min_cell)
    publishable = publishable_levels(counts, hidden, privacy)
    areas, fits = [delong_unknown(0, 0, rows.p)] * levels, [fit_unknown(rows.p)] * levels
    for level in np.flatnonzero(publishable).tolist():
        own = rows.at(np.flatnonzero(codes == level))
        areas[level] = joined_areas(own.values, own.label, privacy.min_cell)
        fits[level] = fit_grouped(own, edges, privacy.min_cell)
    return LevelAreas(
        counts=np.where(hidden[:, None], 0.0, counts),
        hidden=hidden.astype(np.float64),
        areas=tuple(areas),
        fits=tuple(fits),
    )


def _classes(label: Float) -> Float:
    positives = float(np.count_nonzero(label > 0.5))
    return np.array([label.size - positives, positives])


def difference_test(
    areas: Sequence[float], variances: Sequence[float], counts: Float
) -> tuple[float, int, float]:
    """Test whether areas of different patients differ: statistic, degrees of freedom, two-sided p.

    Cochran's Q on the logits of the areas: squared distances from the mean weighted by precision.
    Of two areas it is the square of z. On the logit, with the steady variances of `logit_estimate`,
    it does not pass its level near an area of 1 either: it falls short of it there, as few
    misplaced patients say little. NaN with fewer than two areas.

    Parameters
    ----------
    counts : (levels, 2), negatives and positives.

    Examples
    --------
    >>> counts = np.full((2, 2), 40.0)
    >>> statistic, degrees, p = difference_test([0.9, 0.7], [0.0025, 0.0075], counts)
    >>> round(statistic, 2), degrees, round(p, 3)
    (3.99, 1, 0.046)
    """
    found = [
        logit_estimate(area, variance, *own)
        for area, variance, own in zip(areas, variances, counts.tolist(), strict=True)
    ]
    value, variance = np.array(found).reshape(-1, 2).T
    known = np.isfinite(value)
    if known.sum() < 2:
        return float("nan"), 0, float("nan")
    value, weight = value[known], 1.0 / variance[known]
    mean = float((weight * value).sum() / weight.sum())
    statistic = float((weight * (value - mean) ** 2).sum())
    freedom = int(known.sum()) - 1
    return statistic, freedom, float(scipy.stats.chi2.sf(statistic, freedom))
