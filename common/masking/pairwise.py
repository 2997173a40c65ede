"""Pairwise masks (Bonawitz et al. 2017, section 4, without drop-outs) that cancel in the sum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from common.errors import RefusedError
from common.masking import FEWEST
from common.masking.fixed_point import KEY_BYTES, PROTOCOL, framed, hkdf_sha256


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
    public_key: str, context: bytes, masked: NDArray[np.unsignedinteger[Any]]
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


R = TypeVar("R", np.uint16, np.uint32, np.uint64)
_CHUNK_BYTES = 2**19  # chunk and keystream stay in a core's own cache


def among(secrets: Mapping[str, bytes], own: str, participants: Sequence[str]) -> dict[str, bytes]:
    """Select the pair keys of this sum from those with all sites of the roster.

    Raises
    ------
    ValueError : `own` takes no part, or a participant shares no key with it.
    """
    if own not in participants:
        raise ValueError(f"{own} is not among the participants")
    unknown = sorted(set(participants) - set(secrets) - {own})
    if unknown:
        raise ValueError(f"no pair key with {', '.join(unknown)}")
    return {site: secrets[site] for site in sorted(set(participants)) if site != own}


def mask_vector(
    values: NDArray[R],
    pair_keys: Mapping[str, bytes],
    own: str,
    context: bytes,
    *,
    out: NDArray[R] | None = None,
    own_key: bytes = b"",
    allow_fewer: bool = False,
) -> NDArray[R]:
    """Add one mask per pair of sites; the masks of all participants add up to zero.

    Of each pair the site whose name sorts first adds the keystream and the other subtracts it,
    modulo 2^64, 2^32 or 2^16.

    Parameters
    ----------
    values : (n,), uint64, uint32 or uint16.
    pair_keys : by name, the key shared with each other participant (see `among`).
    own : this site's name.
    context : from `mask_context`; never the same for another vector (see `mask_use`).
    out : (n,), where to write; `values` itself = in place.
    own_key : of a mask that this site adds besides and nothing cancels, see `unmask_vector`.
    allow_fewer : the study says openly that fewer than three sites take part.

    Raises
    ------
    RefusedError : fewer than three participants.
    ValueError, TypeError : shapes, dtypes or keys are not as above.
    """
    if len(pair_keys) + 1 < FEWEST and not allow_fewer:
        raise RefusedError(
            f"a sum over {len(pair_keys) + 1} sites, and a mask needs at least {FEWEST}",
            where=f"site {own}",
            remedy="add sites; with fewer, each can take its own numbers off the sum",
        )
    target = np.empty_like(values) if out is None else out
    _check(values, target, pair_keys, own)
    streams = [(key, own < peer) for peer, key in sorted(pair_keys.items())]
    if own_key:
        streams.append((own_key, True))
    _add_streams(values, target, streams, context)
    return target


def unmask_vector(
    total: NDArray[R], added: Sequence[bytes], subtracted: Sequence[bytes], context: bytes
) -> None:
    """Take masks off a sum, in place.

    Parameters
    ----------
    total : (n,), uint64, uint32 or uint16.
    added, subtracted : keys of the masks that are left in it, as they were added or subtracted.
    context : under which they were made.
    """
    streams = [(key, False) for key in added] + [(key, True) for key in subtracted]
    _add_streams(total, total, streams, context)


def _add_streams(
    values: NDArray[R], target: NDArray[R], keys: Sequence[tuple[bytes, bool]], context: bytes
) -> None:
    """Write values and the keystreams of keys, each added or else subtracted, into the target."""
    streams = [(keystream(_stream_key(key, context, values)), plus) for key, plus in keys]
    length = _CHUNK_BYTES // values.itemsize
    zeros, buffer = bytes(_CHUNK_BYTES), bytearray(_CHUNK_BYTES)
    numbers = np.frombuffer(buffer, dtype=values.dtype.newbyteorder("<"))
    for start in range(0, values.size, length):
        part = target[start : start + length]
        np.copyto(part, values[start : start + length])
        mask = numbers[: part.size]
        plain = memoryview(zeros)[: mask.nbytes]
        for stream, plus in streams:
            stream.update_into(plain, buffer)
            if plus:
                np.add(part, mask, out=part)
            else:
                np.subtract(part, mask, out=part)


def _check(
    values: NDArray[R], target: NDArray[R], pair_keys: Mapping[str, bytes], own: str
) -> None:
    rings = (np.uint16, np.uint32, np.uint64)
    if values.dtype not in rings or target.dtype != values.dtype:
        raise TypeError(f"masks are for uint16, uint32 and uint64, not {values.dtype}")
    if values.ndim != 1 or target.shape != values.shape:
        raise ValueError(f"one vector is masked, not {values.shape} into {target.shape}")
    if own in pair_keys:
        raise ValueError(f"{own} cannot share a mask with itself")
    if any(len(key) != KEY_BYTES for key in pair_keys.values()):
        raise ValueError(f"a pair key has {KEY_BYTES} bytes")


def _stream_key(pair_key: bytes, context: bytes, values: NDArray[R]) -> bytes:
    """Derive a key from width and length too: a prefix or another ring must not repeat the mask."""
    what = f"{values.dtype.name} {values.size}"
    return hkdf_sha256(pair_key, salt=b"", info=framed(PROTOCOL, "keystream", context, what))


def keystream(key: bytes) -> CipherContext:
    """Return a ChaCha20 keystream (RFC 8439).

    It is as fast as AES with hardware support for AES, and faster without. Nonce and counter start
    at zero, as each key is used for one vector.
    """
    return Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
