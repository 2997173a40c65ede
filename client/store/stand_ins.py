"""Remember solutions of the coordinator's that a site went on with in place of its own.

Their last digits differ where coordinator and site have other processors. Each may differ by
`common.learning.agreement.TOLERANCE`, and all of a run together by `MOST_APART` times as much, so
that a coordinator cannot use up what is allowed again and again.
"""

from __future__ import annotations

from dataclasses import dataclass

from client.store.site_db import SiteDb

MOST_APART = 4.0
"""Shares of what is allowed, over all solutions of a run; those of processors stay below 0.1."""


@dataclass(frozen=True)
class StandIn:
    """One solution.

    Parameters
    ----------
    name : of the value, see `Federation.agreed`.
    apart : share of what is allowed.
    """

    name: str
    apart: float


class StandIns:
    """Those of one run at one site; they outlast a restart."""

    def __init__(self, db: SiteDb, run: str) -> None:
        self._db, self._run = db, run

    def remember(self, number: int, name: str, apart: float) -> None:
        """Remember the solution that is the answer to a question of this number."""
        self._db.fix("stand-in", f"{self._run}/{number}", f"{apart!r} {name}")

    def all(self) -> tuple[StandIn, ...]:
        """Return all of the run."""
        found = (one.split(" ", 1) for one in self._db.facts("stand-in", self._run))
        return tuple(StandIn(name, float(apart)) for apart, name in found)

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self.all())

    @property
    def together(self) -> float:
        """Return the sum of their shares."""
        return sum(one.apart for one in self.all())
