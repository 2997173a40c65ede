"""A round of training that goes on without some sites: whose updates it adds, and how it opens.

Sites sign whose updates a sum holds. If some do not, though they had answered, the others give the
same updates under fresh masks, and sign a sum without these. Once a site was asked for its keys, no
other sum of this step can ever be opened. So the masked sum is kept on disk before any site is
asked to sign, and a run that was interrupted goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from common.errors import SiteError
from common.masking.step import StepKeys
from common.messages.exchanges import TrainRequest
from common.messages.opening import Bytes, Opening, OpenRequest, SignRequest, check_signatures
from common.messages.plain import read_plain, write_plain
from common.study.model import Study
from server.federation.dispatch import Enough
from server.federation.totals import StoredRound, UpdateTotals

Ask = Callable[[str, Mapping[str, Any], float, Enough | None], Iterator[tuple[str, Any]]]
Signatures = Mapping[str, Bytes]
SIGN_SECONDS = 60.0
"""Least time after the first has signed for which the others are waited for: signing takes none."""


class OpenRounds:
    """The round under way whose sum is being opened.

    Parameters
    ----------
    path : where it is kept; None = in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._kept: StoredRound | None = None

    def keep(self, stored: StoredRound) -> None:
        """Keep a round in place of the one before."""
        if self._path is None:
            self._kept = stored
        else:
            write_plain(self._path, stored)

    def find(self, digest: str) -> StoredRound | None:
        """Return the round of this request, if its sum was to be opened before."""
        found = self._kept
        if self._path is not None and self._path.is_file():
            found = read_plain(self._path)
        return found if found is not None and found.opening.request == digest else None


def opening_of(request: TrainRequest, answered: Collection[str], needed: int) -> Opening:
    """Return the opening of the sum over the sites that answered.

    Parameters
    ----------
    needed : how many; all, where a site signs no more sums without some.

    Raises
    ------
    SiteError : fewer have answered.
    """
    begun = request.opening
    opened = tuple(site for site in begun.invited if site in answered)
    if len(opened) < needed:
        missing = [site for site in begun.invited if site not in answered]
        raise SiteError(
            f"only {len(opened)} of {needed} sites that a round needs have answered",
            where=f"sites {', '.join(missing)}",
            remedy="see that they are running and connected, then resume",
        )
    about = (begun.session, begun.number, begun.request, begun.network, begun.variant, begun.round)
    return Opening(*about, begun.invited, opened, begun.attempt)


def sign_round(
    request: TrainRequest,
    kept: StoredRound,
    study: Study,
    ask: Ask,
    seconds: float,
    enough: Enough | None,
) -> Signatures | None:
    """Let the sites sign whose updates a sum holds; return None where some did not in time.

    Parameters
    ----------
    ask : sends an exchange to sites and yields their answers.
    seconds : the longest wait.
    enough : when not to wait for the others any more; None = wait for all.

    Raises
    ------
    SiteError, SignatureError : too few sites answer, or one signs something else.
    """
    opening, about = kept.opening, (request.run, request.study)
    asked = dict.fromkeys(opening.opened, SignRequest(*about, opening))
    found = {site: one.signature for site, one in ask("query.sign", asked, seconds, enough)}
    if len(found) < len(opening.opened):
        return None
    check_signatures(opening, found, *about, study.roster)
    return found


def open_round(
    request: TrainRequest,
    kept: StoredRound,
    signatures: Signatures,
    study: Study,
    ask: Ask,
    seconds: float,
) -> UpdateTotals:
    """Let the sites that signed reveal their keys, and open the sum.

    Raises
    ------
    SiteError : a site does not answer, or reveals other keys.
    """
    opening = kept.opening
    to_open = OpenRequest(request.run, request.study, opening, dict(signatures))
    revealed = {}
    asked_keys = dict.fromkeys(opening.opened, to_open)
    for site, reply in ask("query.open", asked_keys, seconds, None):
        pairs = {other: key.tobytes() for other, key in reply.pairs.items()}
        revealed[site] = StepKeys(reply.own.tobytes(), pairs)
    totals = UpdateTotals.restored(request, kept)
    whole = set(opening.opened) == set(study.training_sites)
    totals.open(opening, signatures, revealed, whole)
    return totals
