"""Cross-validation folds of a hospital's patients, dealt so that no rare level stands alone in one.

A covariance matrix is made for each fold. Of a level that few patients of a fold have, it holds
little but their values: with one patient, that patient's whole record. Left to chance, a level of
forty in three hundred falls short in some fold of some seed, and a level of ten in all. So every
level of a clinical column is open in as many folds as the patients of all hospitals together can
fill with `privacy.min_category` each, and no hospital puts one elsewhere: a fold's sums, and every
difference of them, are about none or about enough.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float, Int

Mask = NDArray[np.bool_]
# exchanges at most, how many may pass without gain, and for how many a patient stays put
STEPS, PATIENCE, REST = 400, 60, 8
# patients looked at in each exchange, those with the rarest levels first, and partners of each
MOVERS, PARTNERS = 48, 256
# what a patient in a closed fold weighs, against one that an open fold lacks
CLOSED = 16.0


@dataclass(frozen=True)
class Quotas:
    """Least and most patients (levels, folds) of each level in each fold of a hospital."""

    floor: Float
    ceiling: Float

    def broken(self, counts: Float) -> Float:
        """Return by how many patients each quota is broken; one in a closed fold weighs more.

        What one hospital lacks in an open fold, the others may have.
        """
        beyond = np.maximum(counts - self.ceiling, 0.0)
        return np.maximum(self.floor - counts, 0.0) + CLOSED * beyond


@dataclass(frozen=True)
class Reserve:
    """Patients that every fold of a hospital keeps, of each class and of both.

    By going round folds may hold fewer; then they do so here.
    """

    of_class: int = 0
    of_both: int = 0


def quotas(
    own: Float, everyone: Float, hospitals: int, folds: int, fewest: int, seed: int
) -> Quotas:
    """Return a hospital's quotas, with which all hospitals together keep every rule of a level.

    Parameters
    ----------
    own, everyone : (levels,), patients of the hospital, and of all hospitals, with each level.
    fewest : patients of a level in a fold over all hospitals, unless there are none.
    seed : decides which folds a level fills first, the same ones at every hospital.

    Notes
    -----
    A hospital can spread n patients over f folds only in whole ones: each fold gets at least
    n / f - (1 - 1 / f), and N / f - hospitals * (1 - 1 / f) over all, rounded up. So f folds are
    surely filled where this is enough. One is always, as all of a level's patients lie in it.

    Examples
    --------
    >>> found = quotas(np.array([6.0]), np.array([16.0]), 3, folds=5, fewest=5, seed=1)
    >>> sorted(found.floor[0].tolist()), int((found.ceiling == 0).sum())
    ([0.0, 0.0, 0.0, 3.0, 3.0], 3)
    """
    floor = np.zeros((own.size, folds))
    ceiling = np.full_like(floor, np.inf)
    # one order for all: a patient with two rare levels finds a fold that is open to both
    order = sorted(range(folds), key=lambda k: hashlib.sha256(f"{seed}/{k}".encode()).hexdigest())
    for level, (n, total) in enumerate(zip(own.tolist(), everyone.tolist(), strict=True)):
        if total < max(fewest, 1):  # whatever the folds, it joins another level
            continue
        filled = opened(total, hospitals, folds, fewest)
        least = (fewest - 1 + hospitals + (1 - hospitals) / filled) / total
        floor[level, order[:filled]] = min(n // filled, math.ceil(n * least - 1e-9))
        ceiling[level, order[filled:]] = 0.0
    return Quotas(floor, ceiling)


def largest_fold(patients: int, even: int) -> int:
    """Return how many patients of a hospital one fold takes at most.

    Parameters
    ----------
    even : patients in its largest fold by an even share.
    """
    return max(even, patients // 4)


def opened(total: float, hospitals: int, folds: int, fewest: int) -> int:
    """Return how many folds so many patients of all hospitals surely fill, at least one.

    >>> [opened(n, 3, 5, 5) for n in (5, 11, 12, 32, 33)], opened(10, 1, 5, 5)
    ([1, 1, 2, 4, 5], 2)
    """
    most = (total - 1 + hospitals) // (fewest - 1 + hospitals)
    return max(1, min(folds, int(most)))


def deal(labels: Int, has: Mask, folds: int, wanted: Quotas, reserve: Reserve) -> Int:
    """Return the fold of each patient (n,), of patients sorted by label and then in a random order.

    Dealing goes round, from one class to the other, so that folds differ by at most one patient
    of a class. Patients with a level that is closed in some folds are dealt first; where a fold
    gets more of them than its share of their class, the other folds share what is left. Pairs of
    patients of a class then change places until no quota is broken.

    Parameters
    ----------
    labels : (n,), sorted.
    has : (n, levels), True where a patient has the level.
    reserve : that the rules ask for, see `Reserve`.

    Examples
    --------
    >>> has = np.zeros((40, 1), dtype=bool)
    >>> has[[0, 7, 13, 21, 34, 35]] = True
    >>> wanted = quotas(has.sum(axis=0), has.sum(axis=0), 1, folds=5, fewest=3, seed=1)
    >>> fold = deal(np.zeros(40, dtype=np.int64), has, 5, wanted, Reserve())
    >>> sorted(np.bincount(fold[has[:, 0]], minlength=5).tolist())
    [0, 0, 0, 3, 3]
    """
    fold = np.arange(labels.size) % folds
    counts = _count(has, fold, folds)
    if has.size == 0 or not wanted.broken(counts).any():
        return fold
    return _exchanged(labels, has, _Hand(labels, has, folds, wanted, reserve).dealt(), wanted)


def _count(has: Mask, fold: Int, folds: int) -> Float:
    """Return the patients (levels, folds) with each level in each fold."""
    own = has.astype(np.float64)
    return np.array([own[fold == k].sum(axis=0) for k in range(folds)]).T


class _Hand:
    """Patients as they are dealt, those that fit into the fewest folds first."""

    def __init__(
        self, labels: Int, has: Mask, folds: int, wanted: Quotas, reserve: Reserve
    ) -> None:
        round_ = np.arange(labels.size) % folds
        self.labels, self.has, self.wanted = labels, has, wanted
        self.share = np.array([np.bincount(round_[labels == c], minlength=folds) for c in (0, 1)])
        self.least = np.minimum(self.share, reserve.of_class)
        both = self.share.sum(axis=0)
        self.least_of_both = np.minimum(both, reserve.of_both)
        # a network is trained without two folds: half of the patients stay
        self.most_of_both = largest_fold(labels.size, int(both.max()))
        self.left = np.bincount(labels, minlength=2)
        self.placed = np.zeros((2, folds), dtype=np.int64)
        self.counts = np.zeros(wanted.floor.shape)

    def dealt(self) -> Int:
        """Return the fold of each patient (n,)."""
        closed = (self.has @ (self.wanted.ceiling == 0.0).astype(np.float64)) > 0
        fold = np.empty(self.labels.size, dtype=np.int64)
        folds = int(self.share.shape[1])
        for patient in np.argsort(-closed.sum(axis=1), kind="stable").tolist():
            label, own = int(self.labels[patient]), self.has[patient]
            self.left[label] -= 1
            places = [k for k in range(folds) if self._leaves_enough(label, k)]
            if not places:  # the rules come first, and a level may be lost
                return np.arange(self.labels.size) % folds
            fold[patient] = min(places, key=self._cost_of(label, own, closed[patient]))
            self.placed[label, fold[patient]] += 1
            self.counts[:, fold[patient]] += own
        return fold

    def _cost_of(self, label: int, own: Mask, closed: Mask) -> Callable[[int], tuple[float, ...]]:
        """Return what a fold costs: closed levels, a full class, floors that stay empty, size."""
        full = self.placed >= self.share

        def cost(k: int) -> tuple[float, ...]:
            wanting = (own & (self.counts[:, k] < self.wanted.floor[:, k])).sum()
            both = int(self.placed[:, k].sum())
            over = self.placed[label, k] - self.share[label, k] if full[label, k] else -1
            return (float(closed[k]), float(over), -float(wanting), float(both), float(k))

        return cost

    def _leaves_enough(self, label: int, k: int) -> bool:
        """Tell whether the patients left fill every reserve once one more lies in a fold."""
        placed = self.placed.copy()
        placed[label, k] += 1
        missing = np.maximum(self.least - placed, 0)
        sizes = placed.sum(axis=0)
        both = np.maximum(self.least_of_both - sizes, missing.sum(axis=0))
        enough = (missing.sum(axis=1) <= self.left).all() and both.sum() <= self.left.sum()
        return bool(enough and (sizes + missing.sum(axis=0) <= self.most_of_both).all())


def _exchanged(labels: Int, has: Mask, fold: Int, wanted: Quotas) -> Int:
    """Let pairs of a class change places until no quota is broken, or none mends more."""
    own, counts = has.astype(np.float64), _count(has, fold, wanted.floor.shape[1])
    best, least, mended = fold.copy(), float(wanted.broken(counts).sum()), 0
    rests = np.zeros(labels.size, dtype=np.int64)
    for step in range(STEPS):
        if least == 0.0 or step - mended > PATIENCE:
            break
        pair = _exchange(labels, own, fold, counts, wanted, rests > step)
        if pair is None:  # all who could are resting
            continue
        here, there = fold[pair]
        change = own[pair[1]] - own[pair[0]]
        counts[:, here] += change
        counts[:, there] -= change
        fold[pair] = there, here
        rests[pair] = step + REST
        now = float(wanted.broken(counts).sum())
        if now < least:
            best, least, mended = fold.copy(), now, step
    return best


def _exchange(
    labels: Int, has: Float, fold: Int, counts: Float, wanted: Quotas, resting: Mask
) -> Int | None:
    """Find two patients (2,) of a class whose change of places mends most, or harms least.

    Parameters
    ----------
    resting : (n,), patients that moved a moment ago, so that steps do not go round in circles.
    """
    now = wanted.broken(counts)
    more, less = wanted.broken(counts + 1) - now, wanted.broken(counts - 1) - now
    # what one more, and one less, patient with these levels costs each fold
    arrive, leave = has @ more, has @ less
    gives = (has * (less < 0).T[fold]).any(axis=1) & ~resting
    wants = (has @ (more < 0) > 0).any(axis=1) & ~resting
    movers = np.flatnonzero(gives | wants)
    if movers.size == 0:
        return None
    rarest = np.where(has[movers] > 0, has.sum(axis=0), np.inf).min(axis=1)
    movers = movers[np.argsort(rarest, kind="stable")[:MOVERS]]
    found, least = None, np.inf
    for patient in movers.tolist():
        others = np.flatnonzero((labels == labels[patient]) & (fold != fold[patient]) & ~resting)
        if others.size == 0:
            continue
        others = others[:: -(-others.size // PARTNERS)]
        here, there = fold[patient], fold[others]
        cost = leave[patient, here] + arrive[patient, there]
        cost = cost + leave[others, there] + arrive[others, here]
        # levels that both have stay as they are
        both = has[others] * has[patient]
        same = more[:, there].T + less[:, there].T + more[:, [here]].T + less[:, [here]].T
        cost = cost - (both * same).sum(axis=1)
        place = int(np.argmin(cost))
        if cost[place] < least - 1e-9:
            found, least = np.array([patient, others[place]]), float(cost[place])
    return found
