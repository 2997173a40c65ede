"""Mask contexts: each mask hides one vector only."""

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
    """Return the 32 bytes that all participants of one sum agree on, different for every other sum.

    Parameters
    ----------
    exchange : id of the exchange within the run.
    request_digest : of the request as received from the coordinator: statistic, view, weights.
    item : name of the vector in the reply.
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
    """Record of the vector masked in each context.

    Two different vectors under one mask reveal their difference. The same vector sent again, as
    after a lost reply, is the same masked vector and reveals nothing.

    Parameters
    ----------
    seen : record of an earlier guard; strings only, so it can be stored as JSON. Digests are of
        masked vectors, from which nobody can guess a count.
    """

    def __init__(self, seen: Mapping[str, str] | None = None) -> None:
        self.seen = dict(seen or {})

    def admit(
        self, public_key: str, context: bytes, masked: NDArray[np.uint64] | NDArray[np.uint32]
    ) -> None:
        """Return if `masked` may leave; store `seen` before it does.

        Parameters
        ----------
        public_key : the site's own announced ephemeral key: a new key gives new masks.
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
