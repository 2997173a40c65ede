"""Masks of one step of a training, of which a sum over some of the sites can be opened, once.

Every site hides its vectors under a mask shared with each other site and under one of its own
(Bonawitz et al. 2017, section 4, "double masking"). To open the sum over the sites that answered,
each of them reveals its own mask, and the masks that it shares with sites that did not: keys of
this step alone, from which no other mask follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from common.masking.fingerprint import P, mask_fingerprint, pair_mask
from common.masking.fixed_point import PROTOCOL, framed, hkdf_sha256
from common.masking.pairwise import mask_vector, unmask_vector

Vectors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class StepKeys:
    """Keys of a site for one step: of its own mask, and by site of those that it shares."""

    own: bytes
    pairs: Mapping[str, bytes]

    def revealed(self, opened: Sequence[str]) -> StepKeys:
        """Return the keys by which this site opens the sum over these sites, it among them."""
        pairs = {site: key for site, key in self.pairs.items() if site not in opened}
        return StepKeys(self.own, pairs)


def step_keys(secret: bytes, pair_secrets: Mapping[str, bytes], context: bytes) -> StepKeys:
    """Derive a site's keys of one step.

    Parameters
    ----------
    secret : 32 bytes that only this site knows.
    pair_secrets : by name, what it shares with each other site that was invited.
    context : 32 bytes of the step, never the same for another one.
    """
    info = framed(PROTOCOL, "step", context)
    pairs = {site: hkdf_sha256(own, salt=b"", info=info) for site, own in pair_secrets.items()}
    return StepKeys(hkdf_sha256(secret, salt=b"", info=info), pairs)


def hide_step(vectors: Vectors, keys: StepKeys, site: str, context: bytes) -> None:
    """Mask a site's vectors in place.

    Parameters
    ----------
    vectors : by name, each (n,), uint64, uint32 or uint16.
    """
    for name, vector in vectors.items():
        if vector.size:
            own = _of(context, name)
            mask_vector(vector, keys.pairs, site, own, out=vector, own_key=keys.own)


def open_step(totals: Vectors, revealed: Mapping[str, StepKeys], context: bytes) -> None:
    """Take all masks off a sum over some of the sites, in place.

    Parameters
    ----------
    totals : by name, sums of the masked vectors of the sites in `revealed`.
    revealed : by site whose vectors are in the sum, what it revealed.

    Examples
    --------
    >>> import numpy as np
    >>> secrets = {"ab": b"1" * 32, "ac": b"2" * 32, "ad": b"3" * 32, "bc": b"4" * 32}
    >>> secrets |= {"bd": b"5" * 32, "cd": b"6" * 32}
    >>> pairs = {s: {o: secrets["".join(sorted(s + o))] for o in "abcd" if o != s} for s in "abcd"}
    >>> keys = {s: step_keys(s.encode() * 32, pairs[s], b"step") for s in "abcd"}
    >>> vectors = {s: {"x": np.full(2, i, dtype=np.uint32)} for i, s in enumerate("abcd")}
    >>> for site in "abcd":
    ...     hide_step(vectors[site], keys[site], site, b"step")
    >>> total = {"x": vectors["a"]["x"] + vectors["b"]["x"] + vectors["d"]["x"]}
    >>> open_step(total, {site: keys[site].revealed("abd") for site in "abd"}, b"step")
    >>> total["x"]
    array([4, 4], dtype=uint32)
    """
    added = [keys.own for _, keys in sorted(revealed.items())]
    subtracted: list[bytes] = []
    for site, keys in sorted(revealed.items()):
        for other, key in sorted(keys.pairs.items()):
            (added if site < other else subtracted).append(key)
    for name, total in totals.items():
        if total.size:
            unmask_vector(total, added, subtracted, _of(context, name))


def hide_fingerprint(value: int, keys: StepKeys, site: str, context: bytes) -> int:
    """Mask the fingerprint of a site's vectors, in [0, P), as `hide_step` does these."""
    masked = mask_fingerprint(value, keys.pairs, site, context)
    return (masked + pair_mask(keys.own, context)) % P


def open_fingerprint(total: int, revealed: Mapping[str, StepKeys], context: bytes) -> int:
    """Take all masks off the sum of fingerprints of the sites in `revealed`; in [0, P)."""
    for site, keys in revealed.items():
        total -= pair_mask(keys.own, context)
        for other, key in keys.pairs.items():
            mask = pair_mask(key, context)
            total -= mask if site < other else -mask
    return total % P


def _of(context: bytes, name: str) -> bytes:
    return hashlib.sha256(framed(PROTOCOL, "step vector", context, name)).digest()
