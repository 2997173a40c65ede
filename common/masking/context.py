"""The context of a mask, and the one vector that it may hide."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.masking.fixed_point import PROTOCOL, framed


def mask_context(
    run: str, exchange: str, request_digest: str, item: str, participants: Sequence[str]
) -> bytes:
    """Return the 32 bytes that all participants of one sum agree on, and of no other sum.

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


def mask_use(
    public_key: str, context: bytes, masked: NDArray[np.uint64] | NDArray[np.uint32]
) -> tuple[str, str]:
    """Return digests (hex) of one use of a mask, and of the vector that it hid.

    Two different vectors under one mask reveal their difference. The same vector sent again, as
    after a lost reply, is the same masked vector and reveals nothing.

    Parameters
    ----------
    public_key : the site's own ephemeral key, as it announced it: a new key, new masks.
    masked : (n,), from `mask_vector`; from its digest nobody can guess a count.
    """
    content = hashlib.sha256(framed(masked.dtype.str))
    content.update(np.ascontiguousarray(masked).data)
    return hashlib.sha256(framed(public_key, context)).hexdigest(), content.hexdigest()
