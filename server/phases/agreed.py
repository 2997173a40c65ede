"""Values on which coordinator and sites agree, see `Federation.agreed`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.learning.agreement import ANOTHER, Axes, axes_apart, axes_of
from common.statistics.base import Float
from server.phases.protocol import Federation


def agreed_axes(federation: Federation, name: str, matrix: Float, largest: int = 0) -> Axes:
    """Return the eigenvectors of a symmetric matrix (p, p), as the coordinator has them.

    Parameters
    ----------
    name : see `Federation.agreed`. largest : see `axes_of`.
    """
    own = axes_of(matrix, largest)
    return federation.agreed(name, own, lambda theirs: axes_apart(matrix, own, theirs))


def only_if(allowed: Callable[[Any], bool]) -> Callable[[Any], float]:
    """Return the measure of a value that may stand in, or may not, with nothing in between.

    >>> measure = only_if(lambda found: found == "a")
    >>> measure("a"), measure("b")
    (0.0, inf)
    """
    return lambda found: 0.0 if allowed(found) else ANOTHER
