"""Suppression of small counts in Table 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float

Mask = NDArray[np.bool_]


def suppress(counts: Float, minimum: int) -> Mask:
    """Return the cells of one variable and one set of patients that must not be published.

    A level with 1 to `minimum` - 1 patients is small. As the number of patients of the set is
    known, a single gap could be filled by subtraction, and so could several that hold one patient
    each: then the smallest level that is not small is withheld with them, and where there is none,
    everything is. All gaps look alike, so that nobody learns which of them are small. Patients
    without a value are no secret, but their number is withheld where it would reveal levels. A set
    with fewer than `minimum` patients is withheld completely.

    Any gap then has at least two possible values (Willenborg and de Waal, Elements of Statistical
    Disclosure Control, 2001, section 6; of a variable with one level, from `minimum` 3 on).

    Parameters
    ----------
    counts : (levels + 1,), patients of each level, then patients without a value.
    minimum : smallest count that may be shown; 0 or 1 withholds nothing.

    Returns
    -------
    (levels + 1,), True = withheld.

    Examples
    --------
    >>> suppress(np.array([40.0, 9.0, 2.0, 0.0]), 5)
    array([False,  True,  True, False])
    """
    levels, total = counts[:-1], counts.sum()
    everything = np.ones(counts.size, dtype=bool)
    hidden = np.append((levels > 0) & (levels < minimum), False)
    if 0 < total < minimum:
        return everything
    # at least two gaps, one of which holds more than one patient
    open_to_doubt = hidden.sum() >= 2 and counts[hidden].sum() > hidden.sum()
    if not hidden.any() or open_to_doubt:
        return hidden
    large = np.flatnonzero((levels > 0) & ~hidden[:-1])
    if large.size == 0:
        return everything
    hidden[large[np.argmin(levels[large])]] = True
    return hidden
