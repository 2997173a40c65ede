"""First-order features: each moment and order statistic computed once, in few passes.

Sums are taken over the same values as PyRadiomics', in numpy's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.matrices import Seen

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

FEW = 2_000

PERCENTILES = (10, 25, 50, 75, 90)

_BINS = 4096
_EPS = np.spacing(1)


def features(seen: Seen) -> Mapping[str, float]:
    """Return the features by name."""
    values = seen.values.astype(np.float64)
    n, smallest, largest = len(values), float(values.min()), float(values.max())
    mean = float(np.sum(values)) / n
    found = percentiles(values)
    low, high = found[10], found[90]
    shift = float(seen.settings.get("voxelArrayShift", 0))
    energy, absolute, second, third, fourth, robust, count = pairwise_sums(
        values, mean, shift, low, high, 0, n
    )
    if n <= FEW:
        second, third, fourth = (float(np.sum(power(values - mean, k))) for k in (2, 3, 4))
    m2, m3, m4 = np.array([second, third, fourth]) / n
    # NaN where no value lies within, as from numpy
    within = np.float64(count)
    apart = sum_apart(values, float(robust / within), low, high, 0, n) / within
    scale = m2 if m2 != 0 else np.float64(1)
    p = seen.texture.levels.counts / n
    return {
        "10Percentile": low,
        "90Percentile": high,
        "Energy": energy,
        "Entropy": float(-np.sum(p * np.log2(p + _EPS))),
        "InterquartileRange": found[75] - found[25],
        "Kurtosis": float(m4 / scale**2.0),
        "Maximum": largest,
        "Mean": mean,
        "MeanAbsoluteDeviation": absolute / n,
        "Median": found[50],
        "Minimum": smallest,
        "Range": largest - smallest,
        "RobustMeanAbsoluteDeviation": float(apart),
        "RootMeanSquared": float(np.sqrt(energy / n)),
        "Skewness": float(m3 / scale**1.5),
        "TotalEnergy": energy * prod(seen.spacing),
        "Uniformity": float(np.sum(p**2)),
        "Variance": float(np.sqrt(_variance(values, mean)) ** 2) if n <= FEW else float(m2),
    }


def _variance(values: Doubles, mean: float) -> float:
    deviations = values - mean
    return float(np.sum(deviations * deviations)) / len(values)


def power(values: Doubles, exponent: int) -> Doubles:
    """Return values to the power of 2, 3 or 4.

    Multiplying is many times faster than `numpy.power` and differs in the last bit. Where few
    values may cancel to nothing even that would show, and few are fast in any case.
    """
    if values.size <= FEW:
        return np.power(values, exponent)
    square = values * values
    if exponent == 2:
        return square
    return square * (values if exponent == 3 else square)


Seven = tuple[float, float, float, float, float, float, float]


@compiled
def pairwise_sums(
    values: Doubles, mean: float, shift: float, low: float, high: float, first: int, n: int
) -> Seven:
    """Return the energy, the absolute deviations, their powers 2 to 4, and sum and number within.

    Halves are added as numpy does it, down to stretches of at most 128 values.
    """
    if n > 128:
        half = n // 2 - n // 2 % 8
        a = pairwise_sums(values, mean, shift, low, high, first, half)
        b = pairwise_sums(values, mean, shift, low, high, first + half, n - half)
        return (
            a[0] + b[0],
            a[1] + b[1],
            a[2] + b[2],
            a[3] + b[3],
            a[4] + b[4],
            a[5] + b[5],
            a[6] + b[6],
        )
    terms = np.empty((7, 128))
    for i in range(n):
        value = values[first + i]
        step, shifted = value - mean, value + shift
        square = step * step
        within = low <= value <= high
        terms[0, i] = shifted * shifted
        terms[1, i] = abs(step)
        terms[2, i] = square
        terms[3, i] = square * step
        terms[4, i] = square * square
        terms[5, i] = value if within else 0.0
        terms[6, i] = 1.0 if within else 0.0
    return (
        _stretch(terms[0], n),
        _stretch(terms[1], n),
        _stretch(terms[2], n),
        _stretch(terms[3], n),
        _stretch(terms[4], n),
        _stretch(terms[5], n),
        _stretch(terms[6], n),
    )


@compiled
def sum_apart(values: Doubles, mean: float, low: float, high: float, first: int, n: int) -> float:
    """Return the sum of absolute deviations of the values between two bounds."""
    if n > 128:
        half = n // 2 - n // 2 % 8
        before = sum_apart(values, mean, low, high, first, half)
        return before + sum_apart(values, mean, low, high, first + half, n - half)
    terms = np.empty(128)
    for i in range(n):
        value = values[first + i]
        terms[i] = abs(value - mean) if low <= value <= high else 0.0
    return _stretch(terms, n)


@compiled
def _stretch(terms: Doubles, n: int) -> float:
    """Add up to 128 values as numpy does: eight sums of every eighth value, then these."""
    if n < 8:
        total = 0.0
        for i in range(n):
            total += terms[i]
        return total
    a, b, c, d = terms[0], terms[1], terms[2], terms[3]
    e, f, g, h = terms[4], terms[5], terms[6], terms[7]
    for k in range(1, n // 8):
        a += terms[8 * k]
        b += terms[8 * k + 1]
        c += terms[8 * k + 2]
        d += terms[8 * k + 3]
        e += terms[8 * k + 4]
        f += terms[8 * k + 5]
        g += terms[8 * k + 6]
        h += terms[8 * k + 7]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(n // 8 * 8, n):
        total += terms[i]
    return float(total)


def percentiles(values: Doubles) -> dict[int, float]:
    """Return numpy's percentiles 10, 25, 75 and 90 and its median, by one partial sort."""
    last = len(values) - 1
    places = {q: last * (q / 100) for q in PERCENTILES}
    middle = sorted({len(values) // 2, last // 2})
    below = {q: int(np.floor(place)) for q, place in places.items()}
    wanted = sorted({*middle, *below.values(), *(min(k + 1, last) for k in below.values())})
    ordered = dict(zip(wanted, _ordered(values, np.array(wanted)).tolist(), strict=True))
    found = {}
    for q, place in places.items():
        low, high = ordered[below[q]], ordered[min(below[q] + 1, last)]
        part, step = place - below[q], high - low
        found[q] = low + step * part if part < 0.5 else high - step * (1 - part)
    found[50] = float(np.mean([ordered[k] for k in middle]))
    return found


def _ordered(values: Doubles, wanted: Ints) -> Doubles:
    """Return the values at some places of the sorted array; sorts only the bins they lie in."""
    if len(values) < 4 * _BINS:
        return np.partition(values, wanted)[wanted]
    smallest, scale = values.min(), _BINS / np.ptp(values)
    if not np.isfinite(scale):
        return np.partition(values, wanted)[wanted]
    counts = _histogram(values, smallest, scale)
    ends = np.cumsum(counts)
    bins = np.searchsorted(ends, wanted, side="right")
    taken = np.zeros(_BINS, dtype=np.bool_)
    taken[bins] = True
    kept = _of_bins(values, smallest, scale, taken, int(counts[taken].sum()))
    left_out = np.cumsum(np.where(taken, 0, counts))
    places = wanted - left_out[bins]
    found: Doubles = np.partition(kept, places)[places]
    return found


@compiled
def _histogram(values: Doubles, smallest: float, scale: float) -> Ints:
    """Count the values by bins of equal width."""
    counts = np.zeros(_BINS, dtype=np.int64)
    for i in range(len(values)):
        counts[min(int((values[i] - smallest) * scale), _BINS - 1)] += 1
    return counts


@compiled
def _of_bins(
    values: Doubles, smallest: float, scale: float, taken: NDArray[np.bool_], many: int
) -> Doubles:
    kept = np.empty(many)
    k = 0
    for i in range(len(values)):
        if taken[min(int((values[i] - smallest) * scale), _BINS - 1)]:
            kept[k] = values[i]
            k += 1
    return kept
