"""Ticket with which an enrolled hospital asks its coordinator where a run is.

It travels as the header `Authorization: Fedlnm TICKET` of one GET over TLS. The hospital signs it
with the identity key that the coordinator enrolled; it names the coordinator, holds for a minute,
and is taken once, so that a captured one is worth nothing elsewhere or later.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from common.errors import StudyError
from common.masking import identity
from common.messages.signed_document import SignedDocument
from common.study.model import Name
from common.utils.bounded import parse_json
from common.utils.durable import write_durably

PATH = "/status"
SCHEME = "Fedlnm"
HEADER = r"^Fedlnm [A-Za-z0-9_-]{100,1500}=*$"
"""Form of the header, which the proxy looks for before it passes a request on."""
HOLDS_SECONDS = 60
"""Time for which a ticket holds, before and after its own, as clocks may differ."""
MOST_TICKETS = 60
"""Tickets of one hospital that are taken within the time for which one of them holds."""
_LONGEST = 1600
_NOBODY = identity.public_text(identity.generate().public_key())


class StatusTicket(SignedDocument):
    """Signed request of one hospital.

    Parameters
    ----------
    site : its name on the roster.
    coordinator_key : identity key (base64) of the coordinator that it is for.
    time : whole seconds since the epoch.
    nonce : 32 hexadecimal digits, never the same again.
    """

    purpose: ClassVar[str] = "request for the status of a run"
    site: str = Name
    coordinator_key: Annotated[str, Field(max_length=60)]
    time: Annotated[int, Field(ge=0, lt=2**40)]
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

    @classmethod
    def sign(cls, private: Ed25519PrivateKey, site: str, coordinator_key: str) -> Self:
        """Make a fresh ticket."""
        now, nonce = int(time.time()), secrets.token_hex(16)
        made = cls(site=site, coordinator_key=coordinator_key, time=now, nonce=nonce)
        return made.signed_by(private)

    def header(self) -> str:
        """Return the header's value."""
        return f"{SCHEME} {base64.urlsafe_b64encode(self.to_bytes()).decode()}"


class Doorkeeper:
    """Judge of tickets, at the coordinator.

    Parameters
    ----------
    coordinator_key : its own (base64).
    keys : returns the identity keys (base64) of the enrolled hospitals by name.
    memory : file of the tickets that were taken, so that none is taken again after a new start.
    clock : returns seconds since the epoch.
    """

    def __init__(
        self,
        coordinator_key: str,
        keys: Callable[[], Mapping[str, str]],
        memory: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._own, self._keys, self._memory, self._clock = coordinator_key, keys, memory, clock
        # a nonce is kept, with the time after which it cannot come again, once its signature holds:
        # strangers fill no memory
        self._taken = _read_taken(memory)
        self._one_at_a_time = threading.Lock()

    def admit(self, header: str) -> str | None:
        """Return the hospital whose ticket this is; None where it is no good, whatever the reason.

        Of a name that is not enrolled, a signature is checked as well, so that time tells nothing.
        """
        ticket = _read(header)
        if ticket is None:
            return None
        key = self._keys().get(ticket.site, "")
        try:
            ticket.check_signature(identity.public_key(key or _NOBODY))
        except StudyError:
            return None
        now = self._clock()
        holds = abs(now - ticket.time) <= HOLDS_SECONDS
        if not key or not holds or ticket.coordinator_key != self._own:
            return None
        with self._one_at_a_time:
            return ticket.site if self._is_first(ticket, now) else None

    def _is_first(self, ticket: StatusTicket, now: float) -> bool:
        """Return whether a ticket that holds at this very time was not taken before."""
        taken = self._taken.setdefault(ticket.site, OrderedDict())
        while taken and next(iter(taken.values())) < now:
            taken.popitem(last=False)
        if ticket.nonce in taken or len(taken) >= MOST_TICKETS:
            return False
        # from now on, though its own time may be earlier: the order is that of arrival
        taken[ticket.nonce] = now + 2 * HOLDS_SECONDS
        write_durably(self._memory, json.dumps(self._taken).encode())
        return True


def _read_taken(memory: Path) -> dict[str, OrderedDict[str, float]]:
    """Return the tickets that were taken before, each with the time until which it is kept."""
    try:
        found: dict[str, dict[str, float]] = json.loads(memory.read_bytes())
    except (FileNotFoundError, ValueError):  # a damaged one keeps no run from starting
        return {}
    return {site: OrderedDict(taken) for site, taken in found.items()}


def _read(header: str) -> StatusTicket | None:
    scheme, _, text = header.partition(" ")
    if scheme != SCHEME or len(text) > _LONGEST:
        return None
    try:
        data = base64.b64decode(text, altchars=b"-_", validate=True)
        return StatusTicket.model_validate(parse_json(data), strict=True)
    except (binascii.Error, ValueError, ValidationError):
        return None
