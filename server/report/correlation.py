"""P values of rank correlations, from what results.json holds of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from server.report.schema_selection import Correlation

FEWEST = 3


def p_values(found: Correlation) -> NDArray[np.float64]:
    """Two-sided P (p, p) that two features are unrelated, NaN where the patients are not known.

    t = r sqrt((n - 2) / (1 - r^2)) with n - 2 degrees of freedom, as in scipy's `spearmanr`; an
    approximation that is good from about ten patients on. Not corrected for the number of pairs.
    """
    r = np.clip(np.array(found.values, dtype=float), -1.0, 1.0)
    if found.n is None or found.n < FEWEST:
        return np.full(r.shape, np.nan)
    freedom = found.n - 2
    with np.errstate(divide="ignore"):
        t = np.abs(r) * np.sqrt(freedom / (1.0 - r**2))
    p: NDArray[np.float64] = 2.0 * stdtr(freedom, -t)
    np.fill_diagonal(p, np.nan)
    return p
