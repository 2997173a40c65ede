"""Messages by which sites open the sum of one step of a training over those that answered.

Each of them signs whose updates the sum holds; with all signatures in hand each reveals, once and
for all, its keys of this step. See `common.masking.step`, and for why `client.store.openings`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import SignatureError
from common.ledger.entry import request_digest
from common.masking import identity
from common.masking.fixed_point import PROTOCOL, framed
from common.messages.limits import Limits
from common.messages.plain import plain

PURPOSE = "opening"
MOST_ATTEMPTS = 8
"""Openings of one question that are given up; then a round waits for whoever does not sign."""
Bytes = NDArray[np.uint8]


@plain
class Opening:
    """A step of a training, and the sites whose updates are added up.

    Parameters
    ----------
    session, number, request : of the question for the updates.
    network, variant, round : the step; a site reveals its keys for one opening of it, ever.
    invited : sites that were asked, in roster order.
    opened : those of them whose updates the sum holds, in roster order.
    attempt : how many openings of this question were given up before, as a site did not sign.
    """

    session: str
    number: int
    request: str
    network: str
    variant: str
    round: int
    invited: tuple[str, ...]
    opened: tuple[str, ...] = ()
    attempt: Annotated[int, Limits(low=0, high=MOST_ATTEMPTS)] = 0

    @property
    def step(self) -> str:
        """Name of the step."""
        return f"{self.network}/{self.variant}/{self.round}"

    @property
    def left_out(self) -> tuple[str, ...]:
        """Sites that were asked and whose updates the sum lacks."""
        return tuple(site for site in self.invited if site not in self.opened)

    def context(self, run: str, study: str) -> bytes:
        """Return 32 bytes of this one question, the same whoever answers it."""
        step = f"{self.step}/again/{self.attempt}" if self.attempt else self.step
        parts = (run, study, self.session, str(self.number), self.request, step)
        return hashlib.sha256(framed(PROTOCOL, "step", *parts, "", *self.invited)).digest()

    def statement(self, run: str, study: str) -> bytes:
        """Return what a site signs."""
        return framed(PROTOCOL, "opened", self.context(run, study), "", *self.opened)


def check_signatures(
    opening: Opening,
    signatures: Mapping[str, Bytes],
    run: str,
    study: str,
    roster: Mapping[str, str],
) -> None:
    """Check that all sites whose updates a sum holds, and no others, have signed so.

    Parameters
    ----------
    study : digest.
    roster : identity key (base64) by site.

    Raises
    ------
    SignatureError : one is missing, of another site, or wrong.
    """
    if set(signatures) != set(opening.opened):
        raise SignatureError("not the signatures of the sites in the sum", where=opening.step)
    statement = opening.statement(run, study)
    for site, signature in signatures.items():
        public = identity.public_key(roster[site])
        identity.verify(public, PURPOSE, statement, signature.tobytes())


@plain
class SignRequest:
    """Request to sign whose updates a sum holds."""

    run: str
    study: str
    opening: Opening

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole request."""
        return request_digest(self.run, self.study, self.opening)

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        return {"request": self.digest}


@plain
class SignReply:
    """The site's signature (64,) of an opening."""

    site: str
    request: str
    signature: Bytes


@plain
class OpenRequest:
    """Request for the keys that open a sum, with the signatures (64,) of all sites in it."""

    run: str
    study: str
    opening: Opening
    signatures: dict[str, Bytes]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole request."""
        return request_digest(self.run, self.study, self.opening, self.signatures)

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        return {"request": self.digest}


@plain
class OpenReply:
    """Keys (32,) of the site for one step: of its own mask, and by site left out of the shared."""

    site: str
    request: str
    own: Bytes
    pairs: dict[str, Bytes]
