"""Ring sums added up as the sites' replies come in, one reply in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.errors import SiteError
from common.exchanges import SumItem, SumReply, TrainReply
from common.masking.layout import RingSums, from_rings, sizes
from common.masking.update import from_update_rings, rest_size
from common.statistics.base import Float
from common.study import Study


class SumTotals:
    """Totals of the items of one round.

    Parameters
    ----------
    study : tells which sites have part in which item.
    items : of the round, in the order in which the sites answer them.
    """

    def __init__(self, study: Study, items: Sequence[SumItem]) -> None:
        self._study, self._items = study, items
        self._sizes = [sizes(item.statistic, len(item.view.outputs())) for item in items]
        self._totals = [
            RingSums(np.zeros(wide, dtype=np.uint64), np.zeros(narrow, dtype=np.uint32))
            for wide, narrow in self._sizes
        ]

    def add(self, site: str, reply: SumReply) -> None:
        """Cut a site's reply into its items and add them.

        Raises
        ------
        SiteError : a reply of another size.
        """
        own = [i for i, it in enumerate(self._items) if site in self._study.members(it.subset)]
        expected = np.array([self._sizes[i] for i in own], dtype=np.int64).reshape(-1, 2)
        if (reply.wide.size, reply.narrow.size) != tuple(expected.sum(axis=0)):
            raise _another_size(site)
        starts = np.cumsum(expected, axis=0) - expected
        for i, (wide, narrow) in zip(own, starts, strict=True):
            total, (n_wide, n_narrow) = self._totals[i], self._sizes[i]
            np.add(total.wide, reply.wide[wide : wide + n_wide], out=total.wide)
            np.add(total.narrow, reply.narrow[narrow : narrow + n_narrow], out=total.narrow)

    def results(self) -> list[Any]:
        """What every item's sum tells, in order."""
        found = []
        for item, total in zip(self._items, self._totals, strict=True):
            sums = from_rings(item.statistic, total, len(item.view.outputs()))
            found.append(item.statistic.finalise(sums))
        return found


class UpdateTotals:
    """Total of one round of training.

    Parameters
    ----------
    trained : number of weights trained, 0 in a round that only looks.
    wide : (k, 2), ranges that travel in the wide ring.
    """

    def __init__(self, trained: int, wide: Any) -> None:
        self._wide = wide
        self._parameters = np.zeros(trained, dtype=np.uint32)
        self._rest = np.zeros(rest_size(trained, wide), dtype=np.uint64)

    def add(self, site: str, reply: TrainReply) -> None:
        """Add a site's share; SiteError when it has another size."""
        same = reply.parameters.shape == self._parameters.shape
        if not same or reply.rest.shape != self._rest.shape:
            raise _another_size(site)
        np.add(self._parameters, reply.parameters, out=self._parameters)
        np.add(self._rest, reply.rest, out=self._rest)

    def results(self) -> tuple[Any, Float]:
        """Summed change of the weights, empty when none was trained, and four loss sums."""
        return from_update_rings(self._parameters, self._rest, self._wide)


def _another_size(site: str) -> SiteError:
    return SiteError(
        "its sums are not of the size declared",
        where=f"site {site}",
        remedy="bring all sites to the same software versions",
    )
