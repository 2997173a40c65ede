"""Let a run go on after a site's program was started again: new keys everywhere, then ask again.

At the site `client.commands.run` starts the SuperNode again whenever it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from common.errors import SiteError
from common.messages.exchanges import EnrolReply
from server.federation.transfers import TransferLog

RESTARTED = "restarted"
"""Kind of the problem by which a site says that it does not have the keys of a question."""
MOST_RESTARTS = 5
# what a site reports at enrolment and a run relies on from then on
_LASTING = ("counts", "columns", "readings", "excluded")
P = ParamSpec("P")
T = TypeVar("T")


class RestartedError(SiteError):
    """A site does not have the keys of a question, as its program was started again.

    Parameters
    ----------
    site : its name.
    """

    def __init__(self, site: str) -> None:
        self.site = site
        super().__init__(
            f"its program was started again {MOST_RESTARTS} times while it was asked one question",
            where=f"site {site}",
            remedy="look at its log for what ends it, then resume",
        )


class Enrolling(Protocol):
    """A federation, as far as a restart is about it."""

    number: int
    transfers: TransferLog

    def enrol_anew(self, site: str) -> None:
        """Let every site announce new keys."""


F = TypeVar("F", bound=Enrolling)


def asked_again(
    ask: Callable[Concatenate[F, P], T],
) -> Callable[Concatenate[F, P], T]:
    """Ask once more, under the same number and new keys, when a site's program was started again.

    Sums under the old keys are dropped as a whole: of a part of them the masks do not cancel.
    """

    @wraps(ask)
    def asked(federation: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask until no site's program is started again meanwhile."""
        number, counted = federation.number, federation.transfers.copy()
        for _ in range(MOST_RESTARTS):
            try:
                return ask(federation, *args, **kwargs)
            except RestartedError as restarted:
                again = restarted
            federation.enrol_anew(again.site)
            federation.number = number
            federation.transfers.go_back(counted)
        raise again

    return asked


def check_unchanged(before: Mapping[str, EnrolReply], now: Mapping[str, EnrolReply]) -> None:
    """Return if every site enrolled as it did before.

    Raises
    ------
    SiteError : names a site whose patients, columns or readings are others; what the run has
        finished would not be about the same as what follows.
    """
    for site, reply in now.items():
        changed = [one for one in _LASTING if getattr(reply, one) != getattr(before[site], one)]
        if changed:
            raise SiteError(
                f"it enrolled with other {' and '.join(changed)} than when the run began",
                where=f"site {site}",
                remedy="put its cohort back as it was and resume, or begin another run (run --new)",
            )
