"""Principal components from summed cross-products."""

from __future__ import annotations

import numpy as np

from common.learning.agreement import Axes, with_signs
from common.statistics.base import Float

# of the largest variance: what is below is rounding of the sums
LEAST_VARIANCE = 1e-9


def most_axes(n: int, p: int, components: int) -> int:
    """Return the number of axes that n centred rows of p columns can have, at most `components`.

    Raises
    ------
    ValueError : fewer than two rows, or no component asked for.
    """
    if n < 2 or components < 1:
        raise ValueError(f"{components} components of {n} rows")
    return min(components, n - 1, p)


def leading_axes(found: Axes, n: int) -> tuple[Float, Float]:
    """Return the axes that are more than rounding, and the variance along them.

    The largest loading of an axis, the first of equal ones, is positive.

    Parameters
    ----------
    found : eigenvectors of centred X'X over n rows, those of the largest eigenvalues.

    Returns
    -------
    axes : (p, k), orthonormal columns, by decreasing variance.
    variances : (k,), with n - 1 in the denominator as in scikit-learn.
    """
    values = found.values[::-1]
    kept = values > LEAST_VARIANCE * values[:1]
    axes = np.ascontiguousarray(found.vectors[:, ::-1][:, kept])
    return with_signs(axes), values[kept] / (n - 1)
