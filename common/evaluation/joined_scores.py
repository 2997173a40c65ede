"""Scores of one hospital's test patients in cells of several patients, as its measures show them.

All measures that leave for patients of one hospital alone are computed from these scores, so that
they are functions of cells of at least `minimum` patients, whatever the model: one made up to
number the patients tells no more of one of them than an honest one.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import scipy

from common.evaluation.delong import exact
from common.statistics.base import Float, Int, Rows
from common.statistics.calibration import expit, logit
from common.statistics.class_histogram import FIXED, ClassHistogramResult
from common.statistics.exact import complete
from common.statistics.placements import DeLongResult
from common.statistics.scores import (
    BINS,
    THRESHOLDS,
    BinnedCalibrationResult,
    ConfusionResult,
    DecisionCountResult,
)
from common.utils.halving import halved

AREA_DECIMALS, CORRELATION_DECIMALS = 3, 2
# with fewer quantiles of a model than these, the thresholds are its edges
FEWEST_EDGES = 4


def joined_areas(scores: Float, labels: Float, minimum: int) -> DeLongResult:
    """Return areas and their covariance where patients of neighbouring ranks count as tied.

    From the lowest score up, each group holds at least `minimum` patients and equal scores stay
    together; nothing says which scores a group has. Areas and standard errors have three decimals,
    correlations two.

    Parameters
    ----------
    scores : (n, k), finite. labels : (n,).
    minimum : up to 1 gives the exact areas.

    Raises
    ------
    ValueError : scores that are not finite.

    Examples
    --------
    >>> scores, labels = np.array([[0.1], [0.6], [0.4], [0.9]]), np.array([0.0, 0.0, 1.0, 1.0])
    >>> joined_areas(scores, labels, 1).auc, joined_areas(scores, labels, 3).auc
    (array([0.75]), array([0.5]))
    """
    if minimum <= 1:
        return exact(scores, labels)
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    found = exact(joined_ranks(scores, minimum), labels)
    error = np.sqrt(np.clip(np.diag(found.covariance), 0.0, None))
    product = np.outer(error, error)
    correlation = np.divide(
        found.covariance, product, out=np.zeros_like(product), where=product > 0
    )
    kept = np.round(error, AREA_DECIMALS)
    covariance = np.round(correlation, CORRELATION_DECIMALS) * np.outer(kept, kept)
    return replace(
        found,
        auc=np.round(found.auc, AREA_DECIMALS),
        covariance=np.where(np.isfinite(found.covariance), covariance, np.nan),
    )


def joined_ranks(scores: Float, minimum: int) -> Float:
    """Return the number of the group of at least `minimum` that each row (n, k) is in."""
    groups = np.zeros(scores.shape)
    for column, own in enumerate(scores.T):
        order = np.argsort(own, kind="stable")
        changes = np.flatnonzero(np.diff(own[order])) + 1
        begins: list[int] = []
        for change in changes.tolist():
            if min(change - (begins[-1] if begins else 0), own.size - change) >= minimum:
                begins.append(change)
        groups[order, column] = np.searchsorted(begins, np.arange(own.size), side="right")
    return groups


def join_scores(rows: Rows, edges: Float, cutoffs: Float, minimum: int) -> Rows:
    """Replace each score by a place in a cell of at least `minimum` rows of its class.

    The range is cut at the cut-off, then again and again at the middle edge, wherever both halves
    hold enough rows of the class. A half with fewer stays with its neighbour, empty or not, so a
    cell never says that a narrower range holds a row. (Cells joined from one end would: they end
    at the score of a row.) Where one side of the cut-off holds fewer than `minimum`, whatever their
    number, (minimum - 1) // 2 are put there, and of the other class as many as make up the rows of
    that side: whoever knows the scores knows these, and would have one number from the other.
    Within their cell rows are placed by monotone cubic interpolation (Fritsch and Carlson 1980) of
    the counts, with fewer and fewer towards the other class's end.

    Parameters
    ----------
    rows : probabilities (n, k) and labels.
    edges : (k, cells + 1), from `score_edges`: each model's quantiles of training probabilities
        among them are the edges, or the thresholds where it has few. cutoffs : (k,).
    minimum : up to 1 leaves the scores as they are.

    Raises
    ------
    ValueError : missing scores.

    Examples
    --------
    >>> scores, label = np.array([[0.11], [0.12], [0.13], [0.7], [0.8], [0.9]]), np.ones(6)
    >>> rows = Rows(scores, ("model",), label, np.zeros(6, int))
    >>> join_scores(rows, np.array([[0.0, 0.2, 0.3, 1.0]]), np.array([0.5]), 3).values.T.round(2)
    array([[0.2 , 0.35, 0.46, 0.58, 0.75, 0.92]])
    """
    scores = complete(rows)
    if minimum <= 1:
        return rows
    values = scores.copy()
    classes = [np.flatnonzero((rows.label > 0.5) == label) for label in (False, True)]
    # one class in one cell, and the other's numbers at the cut-off, would give its own
    uncut = any(0 < own.size < 2 * minimum - 1 for own in classes)
    for column, (own, cutoff) in enumerate(zip(edges, cutoffs.tolist(), strict=True)):
        inner = np.unique(np.append(_edges(own), cutoff))
        inner = inner[(inner > 0.0) & (inner < 1.0)]
        first = int(np.searchsorted(inner, cutoff)) + 1 if 0.0 < cutoff < 1.0 and not uncut else 0
        cell = np.searchsorted(inner, scores[:, column], side="right")
        cells = inner.size + 1
        counts = [np.bincount(cell[mine], minlength=cells) for mine in classes]
        told = _below(np.array(counts), first, minimum)
        for label, mine in enumerate(classes):
            order = mine[np.argsort(scores[mine, column], kind="stable")]
            held, ends = _cells(counts[label], first, told[label], minimum)
            values[order, column] = _places(held, ends, _bounds(inner), label)
    return replace(rows, values=values)


def join_decision(
    histogram: ClassHistogramResult,
    bins: BinnedCalibrationResult,
    cutoffs: Float,
    confusion: ConfusionResult | None,
    minimum: int,
) -> DecisionCountResult:
    """Return counts at the thresholds that follow from published ones and cells of `minimum`.

    Counts of all hospitals at 99 thresholds show single patients, and whoever has the model and a
    patient's values knows between which thresholds that patient's score lies. Here, cells are cut
    where counts are published anyway, at bins of the calibration and at cut-offs, and in between as
    in `join_scores`.

    Parameters
    ----------
    histogram : as counted, of edges (k, cells + 1) from `score_edges`.
    bins : of the same patients, NaN where withheld. cutoffs : (k,).
    confusion : counts at the cut-offs (k,); None where those published are not of these cut-offs.

    Examples
    --------
    >>> edges, counts = np.array([[0.0, 0.5, 1.0]]), np.array([[[4.0, 0.0], [1.0, 3.0]]])
    >>> histogram = ClassHistogramResult(edges, counts, np.zeros((1, 2)))
    >>> ten = np.full((1, 10), np.nan)
    >>> bins = BinnedCalibrationResult(count=ten, probability=ten, positives=ten)
    >>> at = ConfusionResult(*(np.array([n]) for n in (3.0, 4.0, 0.0, 1.0)))
    >>> join_decision(histogram, bins, np.array([0.5]), at, 3).tp[0, [0, 49]]
    array([4., 3.])
    """
    sizes = np.rint(histogram.counts.sum(axis=2)).astype(np.int64)
    called = np.zeros((2, cutoffs.size, THRESHOLDS.size))
    for column, cutoff in enumerate(cutoffs.tolist()):
        edges, ends = histogram.edges[column, 1:-1], _shown_ends(bins.count[column])
        upto = histogram.counts[column].cumsum(axis=1)[:, :-1]
        inside = np.isin(edges, np.append(_edges(edges), ends))
        inner, upto = edges[inside], upto[:, inside]
        if confusion is not None and 0.0 < cutoff < 1.0:
            below = np.stack([confusion.tn[column], confusion.fn[column]])
            ends = np.append(ends, cutoff)
            inner, place = np.unique(np.append(inner, cutoff), return_index=True)
            upto = np.column_stack([upto, below])[:, place]
        sides = [0, *(np.flatnonzero(np.isin(inner, ends)) + 1).tolist(), inner.size + 1]
        for label in (0, 1):
            whole = np.append(upto[label], sizes[column, label]).astype(np.int64)
            counts = np.diff(whole, prepend=0)
            cells = [
                end
                for low, high in itertools.pairwise(sides)
                for end in _halved(counts, low, high, minimum)
            ]
            held = whole[np.array(cells) - 1].tolist()
            scores = np.sort(_places(held, cells, _bounds(inner), label))
            called[label, column] = scores.size - np.searchsorted(scores, THRESHOLDS)
    n, positives = int(sizes[0].sum()), int(sizes[0, 1])
    return DecisionCountResult(n=n, positives=positives, tp=called[1], fp=called[0])


def _shown_ends(counts: Float) -> Float:
    """Return ends between bins up to which, or from which on, all bins are shown."""
    shown = np.isfinite(counts)
    known = np.logical_and.accumulate(shown)[:-1]
    known |= np.logical_and.accumulate(shown[::-1])[::-1][1:]
    return THRESHOLDS[THRESHOLDS.size // BINS :: THRESHOLDS.size // BINS + 1][known]


def group_scores(rows: Rows, edges: Float, minimum: int) -> Rows:
    """Replace each score by that of a group of at least `minimum` rows of neighbouring ranks.

    Scores follow from cells of at least `minimum` rows of either class, joined as in `join_scores`:
    rows lie in a cell as a monotone curve through the counts has them, and a group has the mean of
    its places on the logit. Where groups end follows from the number of rows alone, so that rows of
    equal scores may be in two, by chance. So nothing depends on where one row lies in its group or
    its cell, and classes differ by their groups alone.

    Parameters
    ----------
    rows, edges, minimum : as for `join_scores`.

    Examples
    --------
    >>> scores, label = np.array([[0.11], [0.12], [0.13], [0.7], [0.8], [0.9]]), np.ones(6)
    >>> rows = Rows(scores, ("model",), label, np.zeros(6, int))
    >>> group_scores(rows, np.array([[0.0, 0.2, 0.3, 0.5, 0.6, 1.0]]), 3).values.T.round(2)
    array([[0.05, 0.05, 0.05, 0.95, 0.95, 0.95]])
    """
    scores = complete(rows)
    if minimum <= 1 or rows.n == 0:
        return rows
    # rows of equal scores in an order that has nothing to do with that of a hospital's list
    mixed = np.random.default_rng(rows.n).permutation(rows.n)
    group = np.minimum(np.arange(rows.n) // minimum, max(rows.n // minimum, 1) - 1)
    values = scores.copy()
    for column, own in enumerate(edges):
        inner = np.unique(_edges(own))
        bounds = logit(inner)
        # two ends, not far beyond the edges
        low = 2.0 * bounds[0] - bounds[FEWEST_EDGES - 1]
        high = 2.0 * bounds[-1] - bounds[-FEWEST_EDGES]
        bounds = np.concatenate([[low], bounds, [high]])
        cell = np.searchsorted(inner, scores[:, column], side="right")
        ends = halved(np.bincount(cell, minlength=inner.size + 1)[None], minimum)
        held = [int((cell < end).sum()) for end in ends]
        place = _logits(held, ends, bounds)
        mean = np.bincount(group, weights=place) / np.bincount(group)
        order = mixed[np.argsort(scores[mixed, column], kind="stable")]
        values[order, column] = expit(mean[group])
    return replace(rows, values=values)


def _logits(held: list[int], ends: list[int], bounds: Float) -> Float:
    """Return logits (rows,), in order, of cells that end at these bounds, whatever the class."""
    rows, at = [0], [0]
    for number, end in zip(held, ends, strict=True):
        if number == 0:
            at = [end]
        elif number > rows[-1]:
            rows, at = [*rows, number], [*at, end]
    rank = np.arange(held[-1], dtype=np.float64) + 0.5
    return np.asarray(scipy.interpolate.PchipInterpolator(rows, bounds[at])(rank))


def _edges(own: Float) -> Float:
    """Return the quantiles among a model's edges, or the thresholds where these are few."""
    quantiles = np.setdiff1d(own[(own > 0.0) & (own < 1.0)], FIXED)
    return quantiles if quantiles.size >= FEWEST_EDGES else THRESHOLDS


def _bounds(inner: Float) -> Float:
    """Return the edges with two ends, not far beyond them."""
    if inner.size < FEWEST_EDGES:
        return np.concatenate([[0.0], inner, [1.0]])
    low = 2.0 * inner[0] - inner[FEWEST_EDGES - 1]
    high = 2.0 * inner[-1] - inner[-FEWEST_EDGES]
    return np.concatenate([[max(low, 0.0)], inner, [min(high, 1.0)]])


def _below(counts: Int, first: int, minimum: int) -> list[int]:
    """Return how many rows of each class are put below the cut-off.

    Parameters
    ----------
    counts : (2, cells), negatives and positives. first : first cell above the cut-off.
    """
    whole: list[int] = counts.sum(axis=1).tolist()
    below: list[int] = counts[:, :first].sum(axis=1).tolist()
    few, rows = (minimum - 1) // 2, sum(below)
    for own, other in ((1, 0), (0, 1)):
        if below[own] < minimum:
            told = few
        elif whole[own] - below[own] < minimum:
            told = whole[own] - few
        else:
            continue
        if whole[own] and whole[other]:
            told = min(max(told, rows - whole[other]), whole[own], rows)
            return [rows - told, told] if own else [told, rows - told]
        if whole[own]:
            return [0, told] if own else [told, 0]
    return below


def _cells(counts: Int, first: int, below: int, minimum: int) -> tuple[list[int], list[int]]:
    """Return rows up to the end of each joined cell, and these ends, of one class.

    Parameters
    ----------
    counts : (cells,). first : first cell above the cut-off, 0 = it is beyond all.
    below : rows to put below the cut-off; those next to it change sides.
    """
    cells, whole = counts.size, int(counts.sum())
    if whole < 2 * minimum - 1:
        return [whole], [cells]
    sides = [(0, first), (first, cells)] if first else [(0, cells)]
    ends = [end for low, high in sides for end in _halved(counts, low, high, minimum)]
    upto = counts.cumsum()
    if first:
        upto = np.r_[np.minimum(upto[: first - 1], below), below, np.maximum(upto[first:], below)]
        # a cell that lost its rows across the cut-off is none
        ends = [end for end in ends if end == first or upto[end - 1] != below]
    return upto[np.array(ends) - 1].tolist(), ends


def _halved(counts: Int, low: int, high: int, minimum: int) -> list[int]:
    """Return the ends of the joined cells of [low, high)."""
    return [low + end for end in halved(counts[None, low:high], minimum)]


def _places(held: list[int], ends: list[int], bounds: Float, label: int) -> Float:
    """Return scores (rows,), in order, of cells that end at these bounds."""
    rows, at = [0], [0]
    for number, end in zip(held, ends, strict=True):
        if number == 0:
            at = [end]
        elif number > rows[-1]:
            rows, at = [*rows, number], [*at, end]
    rank = np.arange(held[-1], dtype=np.float64) + 0.5
    if rank.size == 0:
        return rank
    place = scipy.interpolate.PchipInterpolator(rows, at)(rank)
    # towards the other class's end its rows become fewer, evenly down to none
    if label:
        own = rank < rows[1]
        place[own] = at[0] + (at[1] - at[0]) * np.sqrt(rank[own] / rows[1])
    else:
        own = rank > rows[-2]
        size = rows[-1] - rows[-2]
        place[own] = at[-1] - (at[-1] - at[-2]) * np.sqrt((rows[-1] - rank[own]) / size)
    scores = np.interp(place, np.arange(bounds.size), bounds)
    cell = np.searchsorted(rows, rank)
    low, high = bounds[np.array(at)[cell - 1]], bounds[np.array(at)[cell]]
    kept: Float = np.clip(scores, low, np.nextafter(high, low))
    return kept
