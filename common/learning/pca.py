"""Principal components from summed cross-products."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from common.statistics.base import Float


def principal_axes(products: Float, n: int, components: int) -> tuple[Float, Float]:
    """Return the leading axes and the variance along them.

    At most min(components, n - 1, p) axes: centred rows span no more. The largest loading of an
    axis, the first of equal ones, is positive.

    Parameters
    ----------
    products : (p, p), centred X'X over n rows.
    n : number of rows.
    components : number of axes wanted.

    Returns
    -------
    axes : (p, k), orthonormal columns, by decreasing variance.
    variances : (k,), with n - 1 in the denominator as in scikit-learn.

    Raises
    ------
    ValueError : fewer than two rows, or no component asked for.
    """
    if n < 2 or components < 1:
        raise ValueError(f"{components} components of {n} rows")
    p = products.shape[0]
    k = min(components, n - 1, p)
    values, vectors = linalg.eigh(products, subset_by_index=(p - k, p - 1))
    axes = np.asarray(vectors[:, ::-1], dtype=np.float64)
    leading = axes[np.argmax(np.abs(axes), axis=0), np.arange(k)]
    axes = axes * np.where(leading < 0, -1.0, 1.0)
    variances = np.maximum(np.asarray(values[::-1], dtype=np.float64), 0.0) / (n - 1)
    return axes, variances
