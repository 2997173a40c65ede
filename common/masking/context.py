"""What a mask is for, and that it hides one vector only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from common.errors import RefusedError
from common.masking.fixed_point import PROTOCOL, framed


def mask_context(
    run: str, exchange: str, request_digest: str, item: str, participants: Sequence[str]
) -> bytes:
    """The 32 bytes that all participants of one sum agree on, and of no other sum.

    Parameters
    ----------
    exchange : id of the exchange within the run.
    request_digest : of the request as it came from the coordinator: statistic, view, weights.
    item : which vector of the reply.
    participants : names of the sites whose vectors are added, in any order.

    Raises
    ------
    ValueError : a participant is named twice.
    """
    if len(set(participants)) != len(participants):
        raise ValueError("a participant is named twice")
    parts = (run, exchange, request_digest, item, *sorted(participants))
    return hashlib.sha256(framed(PROTOCOL, "context", *parts)).digest()


class ContextGuard:
    """Remembers what was masked in which context.

    Two different vectors under one mask give their difference away. The same vector once more, as
    after a lost reply, is the same masked vector and gives nothing away.

    Parameters
    ----------
    seen : what an earlier guard remembered; strings only, so it can be stored as JSON. Digests are
        of masked vectors, from which nobody can guess a count.
    """

    def __init__(self, seen: Mapping[str, str] | None = None) -> None:
        self.seen = dict(seen or {})

    def admit(
        self, public_key: str, context: bytes, masked: NDArray[np.uint64] | NDArray[np.uint32]
    ) -> None:
        """Return if `masked` may leave; store `seen` before it does.

        Parameters
        ----------
        public_key : the site's own ephemeral key, as it announced it: a new key, new masks.
        masked : (n,), from `mask_vector`.

        Raises
        ------
        RefusedError : another vector was masked in this context.
        """
        use = hashlib.sha256(framed(public_key, context)).hexdigest()
        content = hashlib.sha256(framed(masked.dtype.str))
        content.update(np.ascontiguousarray(masked).data)
        digest = content.hexdigest()
        if self.seen.setdefault(use, digest) != digest:
            raise RefusedError(
                "another vector was already sent under this mask; both give their difference away",
                where=f"mask context {context.hex()[:12]}",
                remedy="the coordinator must ask under a new exchange id",
            )
