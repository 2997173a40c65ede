"""Eigenvectors on which coordinator and sites agree."""

from __future__ import annotations

from common.learning.agreement import Axes, axes_of, same_axes
from common.statistics.base import Float
from server.phases.protocol import Federation


def agreed_axes(federation: Federation, name: str, matrix: Float, largest: int = 0) -> Axes:
    """Return the eigenvectors of a symmetric matrix (p, p), as the coordinator has them.

    Parameters
    ----------
    name : see `Federation.agreed`. largest : see `axes_of`.
    """
    own = axes_of(matrix, largest)
    return federation.agreed(name, own, lambda theirs: same_axes(matrix, own, theirs))
