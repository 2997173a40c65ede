"""Order the sums that go back to the sites, and name the context of their fingerprints.

Coordinator and sites cut the same request into the same groups: its items whose sums later
questions depend on, by subset, each with a fingerprint of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from common.masking.fixed_point import PROTOCOL, framed
from common.messages.exchanges import SumItem

UPDATE, APART = "(update)", "(its sums)"


def groups(items: Sequence[SumItem]) -> dict[str, tuple[int, ...]]:
    """Return, by subset in the order of their names, positions of items whose sums go back.

    >>> from common.statistics.counts import FoldCounts
    >>> from common.transforms.views import table
    >>> groups([SumItem(FoldCounts(folds=2), table("coded"), s) for s in ("train", "b", "train")])
    {'b': (1,), 'train': (0, 2)}
    """
    found: dict[str, list[int]] = {}
    for position, item in enumerate(items):
        if item.goes_back:
            found.setdefault(item.subset, []).append(position)
    return {subset: tuple(found[subset]) for subset in sorted(found)}


def context_of(
    run: str, session: str, number: int, subset: str, sites: Sequence[str], digests: Sequence[str]
) -> bytes:
    """Return the 32 bytes of the one sum that a fingerprint is of.

    The key that goes with it is bound to study, roster and enrolments already.

    Parameters
    ----------
    subset : a subset of patients, or `UPDATE`.
    sites : whose vectors are added, in any order.
    digests : of the items, or of the request for the update.
    """
    parts = (run, session, str(number), subset, *sorted(sites), "", *digests)
    return hashlib.sha256(framed(PROTOCOL, "fingerprint", *parts)).digest()
