"""Nystroem map of the RBF kernel on synthetic landmarks, from sums alone."""

from __future__ import annotations

import numpy as np
import scipy

from common.statistics.base import Float
from common.statistics.gram import CentredGram

# resolution of a covariance summed in fixed point: directions below this share of the largest
# variance are rounding
_RESOLVED = 1e-9


def synthetic_landmarks(gram: CentredGram, count: int, seed: int, clip: float | None) -> Float:
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
    draws = np.random.default_rng(seed).standard_normal((count, gram.mean_x.size))
    landmarks = gram.mean_x + draws @ _square_root(gram.gram / gram.n)
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
    if variance <= np.finfo(np.float64).eps * grand**2:
        return 1.0
    return 1.0 / (p * variance)


def rbf_kernel(first: Float, second: Float, gamma: float) -> Float:
    """Return exp(-gamma |x - z|^2), (n, m), of rows x of `first` and z of `second` (m, p)."""
    squared = scipy.spatial.distance.cdist(first, second, "sqeuclidean")
    return np.asarray(np.exp(-gamma * squared), dtype=np.float64)


def nystroem_map(landmarks: Float, gamma: float, rank_tolerance: float) -> Float:
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
    values, vectors = np.linalg.eigh(rbf_kernel(landmarks, landmarks, gamma))
    # below the rounding of eigh even a tolerance of 0 keeps nothing
    lowest = max(rank_tolerance, values.size * np.finfo(np.float64).eps) * values[-1]
    kept = np.flatnonzero(values > lowest)[::-1]
    axes = vectors[:, kept]
    leading = axes[np.argmax(np.abs(axes), axis=0), np.arange(kept.size)]
    return np.asarray(axes * np.where(leading < 0, -1.0, 1.0) / np.sqrt(values[kept]))


def _square_root(covariance: Float) -> Float:
    values, vectors = np.linalg.eigh(covariance)
    resolved = values > _RESOLVED * max(float(values[-1]), 0.0)
    spread = np.where(resolved, np.sqrt(np.maximum(values, 0.0)), 0.0)
    return np.asarray((vectors * spread) @ vectors.T)
