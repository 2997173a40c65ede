"""Ring sums added up as the sites' replies come in, one reply in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import SiteError
from common.masking.fingerprint import P
from common.masking.layout import RingSums, end_to_end, from_rings, sizes
from common.masking.narrow import Packed, pack
from common.masking.pooled_rows import from_slots, ring_size
from common.masking.step import StepKeys, open_fingerprint, open_step
from common.masking.update import SUMS, Update, UpdateRings, from_update_rings, update_sizes
from common.messages.conforming import UnfitError
from common.messages.exchanges import (
    Ring32,
    Ring64,
    RowsReply,
    RowsRequest,
    SumItem,
    SumReply,
    Totals,
    TrainReply,
    TrainRequest,
    Weights,
)
from common.messages.opening import Bytes, Opening
from common.messages.plain import plain
from common.messages.totals import UPDATE, context_of, groups
from common.statistics.base import Float, Sums
from common.study.model import Study
from server.phases.plausible import Plausibility


class SumTotals:
    """Totals of the items of one round.

    Parameters
    ----------
    study : tells which sites have part in which item.
    items : of the round, in the order in which the sites answer them.
    plausible : what is known of the totals so far.
    """

    def __init__(self, study: Study, items: Sequence[SumItem], plausible: Plausibility) -> None:
        self._study, self._items, self._plausible = study, items, plausible
        self._groups = groups(items)
        self._fingerprints = dict.fromkeys(self._groups, 0)
        self._sizes = [sizes(item.statistic, len(item.view.outputs())) for item in items]
        self._totals = [
            RingSums(np.zeros(ring64, dtype=np.uint64), np.zeros(ring32, dtype=np.uint32))
            for ring64, ring32 in self._sizes
        ]

    def add(self, site: str, reply: SumReply) -> None:
        """Cut a site's reply into its items and add them.

        Raises
        ------
        ImplausibleError : a part in the clear that cannot be true.
        """
        own = [i for i, it in enumerate(self._items) if site in self._study.members(it.subset)]
        expected = np.array([self._sizes[i] for i in own], dtype=np.int64).reshape(-1, 2)
        starts = np.cumsum(expected, axis=0) - expected
        for i, (ring64, ring32) in zip(own, starts, strict=True):
            total, (n64, n32) = self._totals[i], self._sizes[i]
            part = RingSums(
                reply.ring64[ring64 : ring64 + n64], reply.ring32[ring32 : ring32 + n32]
            )
            np.add(total.ring64, part.ring64, out=total.ring64)
            np.add(total.ring32, part.ring32, out=total.ring32)
            if not self._study.masked(self._items[i].subset):
                self._plausible.check_sum(self._items[i], self._read(i, part), site)
        self._add_fingerprints(site, reply)

    def _add_fingerprints(self, site: str, reply: SumReply) -> None:
        own = [subset for subset in self._groups if site in self._study.members(subset)]
        for subset, value in zip(own, reply.fingerprints.tolist(), strict=False):
            self._fingerprints[subset] = (self._fingerprints[subset] + value) % P

    def going_back(self, session: str, number: int) -> Totals:
        """Return the sums that later questions depend on, for the sites."""
        rings = end_to_end(self._totals[i] for places in self._groups.values() for i in places)
        return Totals(
            session=session,
            number=number,
            ring64=rings.ring64,
            ring32=rings.ring32,
            narrow=np.zeros(0, dtype=np.uint8),
            fingerprints=np.array(list(self._fingerprints.values()), dtype=np.uint64),
        )

    def results(self) -> list[Any]:
        """Return the statistic of every item's sum, in order.

        Raises
        ------
        ImplausibleError : a sum that cannot be true.
        """
        found = []
        for i, item in enumerate(self._items):
            sums = self._read(i, self._totals[i])
            self._plausible.check_sum(item, sums)
            found.append(item.statistic.finalise(sums))
            self._plausible.check_result(item, found[-1])
        return found

    def _read(self, i: int, rings: RingSums) -> Sums:
        item = self._items[i]
        return from_rings(item.statistic, rings, len(item.view.outputs()))


@plain
class StoredRound:
    """A masked sum over the sites that answered, from which a resumed run goes on.

    `apart` (5,) are the sums that open with those of all training sites alone, `fingerprints` (2,)
    those of the update and of these.
    """

    opening: Opening
    parameters: Ring32
    narrow: Packed
    statistics: Ring64
    apart: Ring64
    fingerprints: Ring64


class UpdateTotals:
    """Total of one round of training, and where it is asked for the single changes as well.

    Parameters
    ----------
    request : what the sites were asked for.
    singly : keep each site's change; of use only where nothing is masked.
    """

    def __init__(self, request: TrainRequest, *, singly: bool = False) -> None:
        self._request, self._singly = request, singly
        self._total = UpdateRings.zeros(*self._sizes())
        self._apart = np.zeros(SUMS if request.plan.invited else 0, dtype=np.uint64)
        self._fingerprints = [0, 0] if request.plan.invited else [0]
        self._opened: tuple[str, ...] = ()
        self._signatures: Mapping[str, Bytes] = {}
        self._single: dict[str, Weights] = {}

    def add(self, site: str, reply: TrainReply) -> None:
        """Add a site's share.

        Raises
        ------
        UnfitError : its changes are not packed as they should be.
        """
        width = self._request.plan.grid.width
        try:
            self._total.add(reply.parameters, reply.narrow, reply.statistics, width)
        except ValueError:
            raise UnfitError("value", "the changes of the weights") from None
        if reply.sums.size:
            np.add(self._apart, reply.sums, out=self._apart)
        for place, value in enumerate(reply.fingerprints.tolist()[: len(self._fingerprints)]):
            self._fingerprints[place] = (self._fingerprints[place] + value) % P
        if self._singly:
            own = UpdateRings.zeros(*self._sizes())
            own.add(reply.parameters, reply.narrow, reply.statistics, width)
            self._single[site] = self._read(own).change

    def stored(self, opening: Opening) -> StoredRound:
        """Return the masked sum over the sites that answered, as it can be kept."""
        total = self._total
        own = np.array(self._fingerprints, dtype=np.uint64)
        narrow = pack(total.narrow, self._request.plan.grid.width)
        return StoredRound(opening, total.parameters, narrow, total.statistics, self._apart, own)

    @classmethod
    def restored(cls, request: TrainRequest, kept: StoredRound) -> UpdateTotals:
        """Return the totals of an earlier start of the coordinator's program."""
        session, number = kept.opening.session, kept.opening.number
        attempt = kept.opening.attempt
        totals = cls(replace(request, session=session, number=number, attempt=attempt))
        width = request.plan.grid.width
        totals._total.add(kept.parameters, kept.narrow, kept.statistics, width)
        totals._apart[:] = kept.apart
        totals._fingerprints = kept.fingerprints.tolist()
        return totals

    def open(
        self,
        opening: Opening,
        signatures: Mapping[str, Bytes],
        revealed: Mapping[str, StepKeys],
        whole: bool,
    ) -> None:
        """Take the masks off the sum over some of the sites.

        Parameters
        ----------
        whole : the sum holds the updates of all sites that train, so the five sums open too.
        """
        request, total = self._request, self._total
        context = opening.context(request.run, request.study)
        vectors: dict[str, NDArray[Any]] = {"parameters": total.parameters, "narrow": total.narrow}
        vectors["statistics"] = total.statistics
        open_step(vectors, revealed, context)
        about = (request.run, opening.session, opening.number, UPDATE, opening.invited)
        under = context_of(*about, [opening.request])
        self._fingerprints[0] = open_fingerprint(self._fingerprints[0], revealed, under)
        if whole:
            total.statistics[-SUMS:] += self._apart
        else:
            del self._fingerprints[1:]
        self._opened, self._signatures = opening.opened, signatures

    def results(self) -> Update:
        """Return the sum over the sites."""
        return self._read(self._total)

    def going_back(self) -> Totals:
        """Return the sum for the sites."""
        return Totals(
            session=self._request.session,
            number=self._request.number,
            ring64=self._total.statistics,
            ring32=self._total.parameters,
            narrow=pack(self._total.narrow, self._request.plan.grid.width),
            fingerprints=np.array(self._fingerprints, dtype=np.uint64),
            opened=self._opened,
            signatures=dict(self._signatures),
            attempt=self._request.attempt,
        )

    def singles(self) -> tuple[Weights, ...]:
        """Return each site's part of the change, in the order of the sites' names."""
        return tuple(self._single[site] for site in sorted(self._single))

    def _read(self, rings: UpdateRings) -> Update:
        request = self._request
        return from_update_rings(rings, request.trained, request.running, request.plan.grid)

    def _sizes(self) -> tuple[int, int, int]:
        request = self._request
        controls, grid = request.control.size, request.plan.grid
        return update_sizes(request.trained, request.running, controls, grid)


class RowTotals:
    """Rows of all sites, added up from places that each site fills in part.

    Parameters
    ----------
    request : what the sites were asked for.
    decimals : of the probabilities.
    """

    def __init__(self, request: RowsRequest, decimals: int) -> None:
        self._columns, self._decimals = len(request.columns), decimals
        size = ring_size(sum(request.counts.values()), self._columns)
        self._total = np.zeros(size, dtype=np.uint32)

    def add(self, site: str, reply: RowsReply) -> None:
        """Add a site's rows."""
        np.add(self._total, reply.ring32, out=self._total)

    def results(self) -> tuple[Float, Float]:
        """Return probabilities (n, k) and labels (n,), in an order that says nothing.

        Raises
        ------
        SiteError : the replies do not add up to one row a place.
        """
        try:
            return from_slots(self._total, self._columns, self._decimals)
        except ValueError as error:
            raise SiteError(
                f"the out-of-fold rows of the sites do not fit together: {error}",
                where="query.rows",
                remedy="start a new run; if it happens again, ask every site for its ledger",
            ) from None
