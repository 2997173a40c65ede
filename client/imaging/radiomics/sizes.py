"""Features of a grey level x size matrix, common to GLRLM, GLSZM and GLDM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPS = float(np.spacing(1))

SHORT, LONG, GRAY_UNEVEN, GRAY_UNEVEN_NORMAL, SIZE_UNEVEN, SIZE_UNEVEN_NORMAL = range(6)
PERCENTAGE, GRAY_VARIANCE, SIZE_VARIANCE, ENTROPY, LOW, HIGH = range(6, 12)
SHORT_LOW, SHORT_HIGH, LONG_LOW, LONG_HIGH = range(12, 16)


@compiled
def size_features(counts: NDArray[Any], gray: Ints, sizes: Ints) -> Doubles:
    """Return the 16 features of counts (levels, sizes), in the order of the names above.

    Written as in the definitions: j is a size, i a grey level, n the sum of the counts.
    """
    found = np.zeros(16)
    by_gray = np.zeros(len(gray))
    by_size = np.zeros(len(sizes))
    n = 0.0
    for g in range(len(gray)):
        for s in range(len(sizes)):
            count = counts[g, s]
            by_gray[g] += count
            by_size[s] += count
            n += count
    voxels = 0.0
    mean_size = 0.0
    for s in range(len(sizes)):
        j, count = float(sizes[s]), by_size[s]
        found[SHORT] += count / (j * j)
        found[LONG] += count * (j * j)
        found[SIZE_UNEVEN] += count * count
        voxels += count * j
        mean_size += count / n * j
    mean_gray = 0.0
    for g in range(len(gray)):
        i, count = float(gray[g]), by_gray[g]
        found[GRAY_UNEVEN] += count * count
        found[LOW] += count / (i * i)
        found[HIGH] += count * (i * i)
        mean_gray += count / n * i
    for s in range(len(sizes)):
        found[SIZE_VARIANCE] += by_size[s] / n * (sizes[s] - mean_size) ** 2
    for g in range(len(gray)):
        found[GRAY_VARIANCE] += by_gray[g] / n * (gray[g] - mean_gray) ** 2
        ii = float(gray[g]) * gray[g]
        for s in range(len(sizes)):
            if counts[g, s] > 0:
                count = float(counts[g, s])
                jj = float(sizes[s]) * sizes[s]
                p = count / n
                found[ENTROPY] -= p * np.log2(p + _EPS)
                found[SHORT_LOW] += count / (ii * jj)
                found[SHORT_HIGH] += count * ii / jj
                found[LONG_LOW] += count * jj / ii
                found[LONG_HIGH] += count * (jj * ii)
    for k in (SHORT, LONG, LOW, HIGH, SHORT_LOW, SHORT_HIGH, LONG_LOW, LONG_HIGH):
        found[k] /= n
    found[GRAY_UNEVEN_NORMAL] = found[GRAY_UNEVEN] / n**2
    found[SIZE_UNEVEN_NORMAL] = found[SIZE_UNEVEN] / n**2
    found[GRAY_UNEVEN] /= n
    found[SIZE_UNEVEN] /= n
    found[PERCENTAGE] = n / voxels
    return found


def named(found: Doubles, names: Sequence[str | None]) -> Mapping[str, float]:
    """Name the features of a class; None = it does not have that one."""
    return {
        name: value for name, value in zip(names, found.tolist(), strict=True) if name is not None
    }
