"""ComBat: location and scale of every batch, shrunk towards what its other columns say.

Johnson, Li and Rabinovic 2007, "Adjusting batch effects in microarray expression data using
empirical Bayes methods", with parametric priors. What all batches share, `Common`, follows from
sums over hospitals. The rest, `BatchEffects`, follows from the rows of one batch and `Common`
alone: the prior of a batch is one over its columns, so a hospital computes its own and keeps it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from common.messages.plain import plain
from common.statistics.base import Float, Int
from common.utils import portable

Mask = NDArray[np.bool_]

# below this share of its own size a covariate's rest after the others is rounding
FLAT = 1e-10
CONVERGED, MOST_STEPS = 1e-4, 10_000
NEVER_SEEN = -1


@plain
class Common:
    """Mean, deviation and slopes that all batches share.

    Parameters
    ----------
    centre : (p,), mean of all rows at the mean of the covariates.
    scale : (p,), deviation within the batches, after the covariates.
    slopes : (q, p), of the columns on the covariates.
    covariates : (q,), mean of the covariates.
    """

    centre: Float
    scale: Float
    slopes: Float
    covariates: Float

    def expected(self, covariates: Float) -> Float:
        """Return what no batch has moved (n, p), from the covariates (n, q)."""
        return self.centre + portable.product(covariates - self.covariates, self.slopes)

    def narrow(self, columns: Int) -> Common:
        """Return the same for fewer columns, given by index."""
        return dataclasses.replace(
            self,
            centre=self.centre[columns],
            scale=self.scale[columns],
            slopes=self.slopes[:, columns],
        )


def common_of(mean: Float, squares: Float, cross: Float, products: Float, n: float) -> Common:
    """Return what batches share, from sums over all of them.

    The least squares of batches and covariates together are those within the batches (Frisch and
    Waugh 1933), so products about each batch's own means suffice: no mean of a batch is needed. The
    scale is 0 where a column is constant within every batch.

    Parameters
    ----------
    mean : (p + q,), of the columns and the covariates over all rows.
    squares : (p,), of the columns about the means of their batches, summed.
    cross, products : (q, p) and (q, q), of the covariates with the columns and each other, also so.
    n : number of rows.
    """
    p, q = squares.size, products.shape[0]
    slopes = _solved(products, cross)
    explained = np.zeros(p)
    for row in range(q):
        others = portable.product(slopes.T, np.ascontiguousarray(products[row]))
        explained += slopes[row] * (2.0 * cross[row] - others)
    variance = np.maximum(squares - explained, 0.0) / n
    # scikit-learn's bound for a column that is constant within rounding
    blur = n * np.finfo(np.float64).eps * mean[:p]
    constant = variance <= blur * blur
    scale = np.where(constant, 0.0, np.sqrt(variance))
    return Common(centre=mean[:p], scale=scale, slopes=slopes, covariates=mean[p:])


def _solved(products: Float, cross: Float) -> Float:
    """Return the slopes (q, p), 0 of a covariate that varies in no batch or follows from others."""
    q = products.shape[0]
    left, right = products.copy(), cross.copy()
    used: list[int] = []
    for row in range(q):
        if left[row, row] <= FLAT * max(float(products[row, row]), 0.0):
            left[row], left[:, row], right[row] = 0.0, 0.0, 0.0
            continue
        used.append(row)
        for below in range(row + 1, q):
            factor = left[below, row] / left[row, row]
            left[below] = left[below] - factor * left[row]
            right[below] = right[below] - factor * right[row]
    slopes = np.zeros_like(cross)
    for row in reversed(used):
        rest = right[row].copy()
        for later in used:
            if later > row:
                rest = rest - left[row, later] * slopes[later]
        slopes[row] = rest / left[row, row]
    return slopes


@plain
class BatchEffects:
    """Effects of the batches of one hospital, which stay there.

    Parameters
    ----------
    joined : (codes,), the batch of the rows with each code, `NEVER_SEEN` = none.
    shift : (b, p), in deviations within the batches. factor : (b, p), of these deviations.
    """

    joined: Int
    shift: Float
    factor: Float

    def of(self, codes: Int) -> tuple[Float, Float]:
        """Return shift and factor (n, p) of rows; no shift and factor 1 of a batch never seen."""
        seen = self.seen(codes)
        shift = np.zeros((codes.size, self.shift.shape[1]))
        factor = np.ones_like(shift)
        shift[seen] = self.shift[self.joined[codes[seen]]]
        factor[seen] = self.factor[self.joined[codes[seen]]]
        return shift, factor

    def seen(self, codes: Int) -> Mask:
        """Return which rows (n,) are of a batch with effects of its own."""
        known = (codes >= 0) & (codes < self.joined.size)
        found = np.zeros(codes.size, dtype=bool)
        found[known] = self.joined[codes[known]] != NEVER_SEEN
        return found


def join_small(codes: Int, hospitals: Int, fewest: int) -> Int:
    """Return the batch of every code; the small ones of a hospital are one, or join its largest.

    Parameters
    ----------
    codes, hospitals : (n,), of the rows; a code belongs to one hospital.
    fewest : rows that a batch needs. A hospital with fewer has no batch.

    Examples
    --------
    >>> codes = np.repeat([0, 1, 2, 3], [9, 2, 1, 4])
    >>> join_small(codes, np.zeros(16, dtype=int), fewest=3)
    array([0, 1, 1, 2])
    >>> join_small(codes, np.zeros(16, dtype=int), fewest=4)
    array([0, 0, 0, 1])
    """
    joined = np.full(int(codes.max(initial=-1)) + 1, NEVER_SEEN, dtype=np.int64)
    count = 0
    for hospital in np.unique(hospitals).tolist():
        own, sizes = np.unique(codes[hospitals == hospital], return_counts=True)
        large = own[sizes >= fewest]
        small = own[sizes < fewest]
        together = int(sizes[sizes < fewest].sum())
        if not large.size and together < fewest:
            continue
        groups = [[code] for code in large.tolist()]
        if small.size and together >= fewest:
            groups.append(small.tolist())
        elif small.size:
            groups[int(np.argmax(sizes[sizes >= fewest]))].extend(small.tolist())
        for group in sorted(groups):
            joined[group] = count
            count += 1
    return joined


def effects_of(residuals: Float, codes: Int, joined: Int) -> BatchEffects:
    """Return the effects of the batches among these rows.

    Parameters
    ----------
    residuals : (n, p), what a row differs from the expected, in deviations within the batches.
    codes : (n,), of the rows. joined : batch of each code, see `join_small`.
    """
    batch = joined[codes] if codes.size else np.zeros(0, dtype=np.int64)
    count = int(joined.max(initial=-1)) + 1
    shift, factor = np.zeros((count, residuals.shape[1])), np.ones((count, residuals.shape[1]))
    for number in range(count):
        shift[number], variance = shrunk(residuals[batch == number])
        factor[number] = np.sqrt(variance)
    return BatchEffects(joined=joined, shift=shift, factor=factor)


def shrunk(residuals: Float) -> tuple[Float, Float]:
    """Return location and variance (p,) of one batch, shrunk by the priors of its columns.

    The iteration and its end are those of the reference implementations (sva, neuroCombat), down to
    the signed denominator of the change, so that the numbers are theirs.

    Parameters
    ----------
    residuals : (n, p), two rows at least.

    Examples
    --------
    >>> rows = np.array([[1.0, 1.0], [2.0, 2.4], [3.0, 5.0]])
    >>> location, variance = shrunk(rows)
    >>> location.round(4), variance.round(4)
    (array([2.2633, 2.5059]), array([1.8487, 2.6665]))
    """
    n, p = residuals.shape
    location, variance = residuals.mean(axis=0), residuals.var(axis=0, ddof=1)
    variance = np.where(variance == 0.0, 1.0, variance)
    if p < 2:
        return location, variance
    centre, spread = location.mean(), location.var(ddof=1)
    middle, width = variance.mean(), variance.var(ddof=1)
    about = np.square(residuals - residuals.mean(axis=0)).sum(axis=0)
    last, last_variance = location, variance
    for _ in range(MOST_STEPS):
        new = (spread * n * location + last_variance * centre) / (spread * n + last_variance)
        squares = about + n * np.square(location - new)
        if width > 0.0:
            a, b = (2.0 * width + middle**2) / width, (middle * width + middle**3) / width
            new_variance = (0.5 * squares + b) / (n / 2.0 + a - 1.0)
        else:
            new_variance = np.full(p, middle)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.nan_to_num(np.abs(new - last) / last, nan=0.0, neginf=0.0)
        change = max(moved.max(), (np.abs(new_variance - last_variance) / last_variance).max())
        last, last_variance = new, new_variance
        if change <= CONVERGED:
            break
    return last, last_variance
