"""Join cells of counts so that a join shows where few rows lie neither by its count nor its end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def halved(counts: NDArray[Any], minimum: float, empty: float = np.inf) -> list[int]:
    """Return the ends of joined cells, halved while both halves can do with it.

    Cells joined from one end would end at a row, and say where that row is. Here the half that does
    not fit takes in a neighbour that has enough of its own. Cells that do not even fit together
    stay one.

    Parameters
    ----------
    counts : (rows, cells); in a join each is at least `minimum`, or 0 in at least `empty` cells.

    Examples
    --------
    >>> counts = np.array([[3.0, 0.0, 0.0, 1.0, 2.0, 4.0, 0.0, 0.0]])
    >>> halved(counts, 3), halved(counts, 3, empty=2)
    ([4, 8], [4, 6, 8])
    """
    upto = np.concatenate([np.zeros((counts.shape[0], 1)), np.cumsum(counts, axis=1)], axis=1)
    return _Halving(upto, minimum, empty).ends(0, counts.shape[1])[0]


class _Halving:
    """Halving of cells, given counts (rows, cells + 1) below each of their edges."""

    def __init__(self, upto: NDArray[Any], minimum: float, empty: float) -> None:
        self._upto, self._minimum, self._empty = upto, minimum, empty

    def fits(self, low: int, high: int) -> bool:
        held = self._upto[:, high] - self._upto[:, low]
        none = (held < 0.5) & (high - low >= self._empty)
        return bool((none | (held > self._minimum - 0.5)).all())

    def ends(self, low: int, high: int) -> tuple[list[int], bool]:
        """Return ends of the joins of [low, high), and whether they all fit."""
        if high - low > 1:
            middle = (low + high) // 2
            first, left = self.ends(low, middle)
            second, right = self.ends(middle, high)
            if left and right:
                return [*first, *second], True
            while left and first:
                first.pop()
                if self.fits(first[-1] if first else low, high):
                    return [*first, high], True
            while right and second:
                end = second.pop(0)
                if self.fits(low, end):
                    return [end, *second], True
        return [high], self.fits(low, high)
