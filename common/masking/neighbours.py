"""Graph of the sites that share masks: all pairs of few sites, a ring with chords of many.

A mask for every pair costs each site a keystream for every other one. Masks along a connected
graph hide every proper subset of the sum as well, and each site needs only its neighbours' (Bell et
al. 2020, "Secure single-server aggregation with (poly)logarithmic overhead"). Their graph is drawn
at random and holds with high probability; this one is the circulant graph of Harary (1962), which
stays connected whichever `degree - 1` of its sites are taken away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from common.masking.fixed_point import PROTOCOL, framed


def neighbours(own: str, participants: Sequence[str], degree: int) -> tuple[str, ...]:
    """Return the participants with which a site shares a mask in one sum, sorted by name.

    Parameters
    ----------
    own : name of the site, one of the participants.
    participants : sites whose vectors are added; where they sit follows from their names alone.
    degree : number of neighbours, even. With at most one more participant all are neighbours.

    Raises
    ------
    ValueError : an odd degree or one under 2, or a site that takes no part.

    Examples
    --------
    >>> neighbours("b", ("a", "b", "c"), 16)
    ('a', 'c')
    >>> many = [f"site{i}" for i in range(64)]
    >>> len(neighbours("site7", many, 16))
    16
    """
    if degree < 2 or degree % 2:
        raise ValueError(f"the number of neighbours is even and at least 2, not {degree}")
    sites = sorted(set(participants))
    if own not in sites:
        raise ValueError(f"{own} is not among the participants")
    if len(sites) - 1 <= degree:
        return tuple(site for site in sites if site != own)
    ring = sorted(sites, key=lambda site: hashlib.sha256(framed(PROTOCOL, "seat", site)).digest())
    seat = ring.index(own)
    reach = range(1, degree // 2 + 1)
    found = {ring[(seat + side * step) % len(ring)] for step in reach for side in (-1, 1)}
    return tuple(sorted(found))


def mask_colluders_stood(sites: int, degree: int) -> int:
    """Return how many sites may side with the coordinator while it learns only the others' total.

    Without masks along a connected graph, it would learn the total of each part that falls off.

    >>> mask_colluders_stood(4, 16), mask_colluders_stood(64, 16)
    (2, 15)
    """
    return max(0, min(sites - 2, degree - 1))


def degree_of_step(sites: int, quorum: int, colluders: int, degree: int) -> int:
    """Return the number of neighbours where a sum may be opened without some of the sites.

    The sites left out fall off the graph as colluders do, so it needs as many more neighbours.

    Parameters
    ----------
    sites, quorum : number of sites asked, and how many of them are enough.
    colluders : that a quorum stands.

    >>> degree_of_step(64, 64, 0, 16), degree_of_step(64, 43, 21, 16)
    (16, 44)
    """
    needed = sites - quorum + colluders + 1
    return max(degree, needed + needed % 2)
