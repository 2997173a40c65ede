"""Nystroem map of the RBF kernel on synthetic landmarks, from sums alone."""

from __future__ import annotations

import numpy as np

from common.learning.agreement import Axes, axes_of, with_signs
from common.statistics.base import Float
from common.statistics.gram import CentredGram
from common.utils import portable

# resolution of a covariance summed in fixed point: directions below this share of the largest
# variance are rounding
_RESOLVED = 1e-9


def covariance(gram: CentredGram) -> Float:
    """Return the covariance (p, p) of the rows, which shapes the landmarks."""
    return gram.gram / gram.n


def synthetic_landmarks(
    gram: CentredGram, count: int, seed: int, clip: float | None, axes: Axes | None = None
) -> Float:
    """Draw landmarks from the normal distribution with the mean and covariance of the rows.

    No row enters: landmarks follow from the sums and the seed. The symmetric square root of the
    covariance shapes the draws; unlike a factor made of eigenvectors it is unique, so neither signs
    nor equal eigenvalues make platforms differ. A smaller number of landmarks of the same seed is a
    prefix of a larger one.

    Parameters
    ----------
    gram : sums of the training rows of p columns; the covariance may lack rank.
    count : number of landmarks m.
    seed : of the draws.
    clip : largest absolute value of the data, to which landmarks are limited too; None for none.
    axes : of `covariance(gram)`, where they are known; the rest is portable arithmetic.

    Returns
    -------
    (m, p), in the units of the columns.

    Raises
    ------
    ValueError : no landmarks asked for, a limit that is not positive, or fewer than two rows.
    """
    if count < 1:
        raise ValueError(f"{count} landmarks")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip {clip} is not positive")
    if gram.n < 2:
        raise ValueError(f"landmarks from {gram.n:.0f} rows: the mean would be a row")
    root = _square_root(axes_of(covariance(gram)) if axes is None else axes)
    landmarks = gram.mean_x + portable.product(_normal_draws(seed, count, root.shape[0]), root)
    return landmarks if clip is None else np.clip(landmarks, -clip, clip)


def gamma_scale(gram: CentredGram) -> float:
    """Return SVC's gamma="scale": 1 / (p * variance of all entries); 1 without variance.

    Parameters
    ----------
    gram : sums of the training rows of p columns.
    """
    p = gram.mean_x.size
    grand = float(gram.mean_x.mean())
    between = float(np.sum((gram.mean_x - grand) ** 2))
    variance = (float(np.trace(gram.gram)) / gram.n + between) / p
    if variance <= np.finfo(np.float64).eps * (grand * grand):
        return 1.0
    return 1.0 / (p * variance)


def rbf_kernel(first: Float, second: Float, gamma: float) -> Float:
    """Return exp(-gamma |x - z|^2), (n, m), of rows x of `first` and z of `second` (m, p)."""
    squared = np.zeros((first.shape[0], second.shape[0]))
    for left, right in zip(first.T, second.T, strict=True):
        apart = left[:, None] - right
        squared += apart * apart
    return portable.exp(-gamma * squared)


def nystroem_map(
    landmarks: Float, gamma: float, rank_tolerance: float, axes: Axes | None = None
) -> Float:
    """Return K^(-1/2) of the landmarks' kernel matrix K, on its significant eigenvalues.

    Features of rows are `rbf_kernel(rows, landmarks, gamma) @ map`; their inner products are the
    Nystroem approximation of the kernel, and no row's features are longer than 1. The largest
    loading of a component is positive.

    References
    ----------
    Williams and Seeger 2001, "Using the Nystroem method to speed up kernel machines".

    Parameters
    ----------
    landmarks : (m, p).
    gamma : of the kernel exp(-gamma |x - z|^2).
    rank_tolerance : eigenvalues up to this share of the largest are left out; it bounds the map's
        entries, and so how much it enlarges rounding.
    axes : of the landmarks' kernel matrix, where they are known.

    Returns
    -------
    (m, k), k <= m, by decreasing eigenvalue.

    Raises
    ------
    ValueError : a gamma that is not positive, or a tolerance outside [0, 1).
    """
    if not gamma > 0:
        raise ValueError(f"gamma {gamma} is not positive")
    if not 0 <= rank_tolerance < 1:
        raise ValueError(f"rank tolerance {rank_tolerance} is outside [0, 1)")
    found = axes_of(rbf_kernel(landmarks, landmarks, gamma)) if axes is None else axes
    values = found.values
    # below the rounding of eigenvalues even a tolerance of 0 keeps nothing
    lowest = max(rank_tolerance, values.size * np.finfo(np.float64).eps) * values[-1]
    kept = np.flatnonzero(values > lowest)[::-1]
    return with_signs(found.vectors[:, kept]) / np.sqrt(values[kept])


def _square_root(axes: Axes) -> Float:
    values, vectors = axes.values, axes.vectors
    resolved = values > _RESOLVED * max(float(values[-1]), 0.0)
    spread = np.where(resolved, np.sqrt(np.maximum(values, 0.0)), 0.0)
    return portable.product(vectors * spread, vectors.T)


def _normal_draws(seed: int, count: int, p: int) -> Float:
    """Return standard normal numbers (count, p): quantiles at drawn multiples of 2^-32."""
    drawn = np.random.default_rng(seed).integers(0, 2**32, size=(count, p), dtype=np.uint32)
    return portable.normal_quantile((drawn.astype(np.float64) + 0.5) * 2.0**-32)
