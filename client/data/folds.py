"""Cross-validation folds of a hospital's patients, dealt so that no rare level stands alone in one.

A covariance matrix is made for each fold. Of a level that few patients of a fold have, it holds
little but their values: with one patient, that patient's whole record. Left to chance, a level of
forty in three hundred falls short in some fold of some seed, and a level of ten in all. So every
level of a clinical column gets as many folds as it can fill with `privacy.min_category` patients,
and none of its patients lie in the others: a fold's sums, and every difference of them, are about
none or about enough.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float, Int

Mask = NDArray[np.bool_]
Quotas = tuple[Float, Float]
# exchanges at most, how many may pass without gain, and for how many a patient stays put
STEPS, PATIENCE, REST = 400, 60, 8
# patients looked at in each exchange, those with the rarest levels first, and partners of each
MOVERS, PARTNERS = 48, 256


def deal(labels: Int, has: Mask, folds: int, fewest: int, seed: int) -> Int:
    """Return the fold of each patient (n,), of patients sorted by label and then in a random order.

    Dealing goes round, from one class to the other, so that folds differ by at most one patient
    of a class. Pairs of patients of a class then change places until no level breaks its quota.

    Parameters
    ----------
    labels : (n,), sorted.
    has : (n, levels), True where a patient has the level.
    fewest : patients of a level in a fold, unless there are none; 0 or 1 leaves the dealing as is.
    seed : decides which folds a level fills first, the same ones at every hospital.

    Examples
    --------
    >>> has = np.zeros((40, 1), dtype=bool)
    >>> has[[0, 7, 13, 21, 34, 35]] = True
    >>> fold = deal(np.zeros(40, dtype=np.int64), has, 5, 3, seed=1)
    >>> sorted(np.bincount(fold[has[:, 0]], minlength=5).tolist())
    [0, 0, 0, 3, 3]
    """
    fold = np.arange(labels.size) % folds
    if fewest < 2 or has.size == 0:
        return fold
    quotas = _quotas(has, folds, fewest, seed)
    own = has.astype(np.float64)
    counts = np.array([own[fold == k].sum(axis=0) for k in range(folds)]).T
    best, least, mended = fold.copy(), float(_broken(counts, quotas).sum()), 0
    rests = np.zeros(labels.size, dtype=np.int64)
    for step in range(STEPS):
        if least == 0.0 or step - mended > PATIENCE:
            break
        pair = _exchange(labels, own, fold, counts, quotas, rests > step)
        if pair is None:  # all who could are resting
            continue
        here, there = fold[pair]
        change = own[pair[1]] - own[pair[0]]
        counts[:, here] += change
        counts[:, there] -= change
        fold[pair] = there, here
        rests[pair] = step + REST
        now = float(_broken(counts, quotas).sum())
        if now < least:
            best, least, mended = fold.copy(), now, step
    return best


def _quotas(has: Mask, folds: int, fewest: int, seed: int) -> tuple[Float, Float]:
    """Return the least and the most patients (levels, folds) of each level in each fold."""
    whole = has.sum(axis=0)
    floor = np.zeros((whole.size, folds))
    ceiling = np.full_like(floor, np.inf)
    # one order for all: a patient with two rare levels finds a fold that is open to both
    order = sorted(range(folds), key=lambda k: hashlib.sha256(f"{seed}/{k}".encode()).hexdigest())
    for index, n in enumerate(whole.tolist()):
        filled = min(folds, max(1, n // fewest))
        floor[index, order[:filled]] = min(n, fewest)
        ceiling[index, order[filled:]] = 0.0
    return floor, ceiling


def _broken(counts: Float, quotas: Quotas) -> Float:
    """Return by how many patients each quota is broken."""
    floor, ceiling = quotas
    return np.maximum(floor - counts, 0.0) + np.maximum(counts - ceiling, 0.0)


def _exchange(
    labels: Int, has: Float, fold: Int, counts: Float, quotas: Quotas, resting: Mask
) -> Int | None:
    """Find two patients (2,) of a class whose change of places mends most, or harms least.

    Parameters
    ----------
    resting : (n,), patients that moved a moment ago, so that steps do not go round in circles.
    """
    now = _broken(counts, quotas)
    more, less = _broken(counts + 1, quotas) - now, _broken(counts - 1, quotas) - now
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
