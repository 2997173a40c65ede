"""Additive fingerprints of ring vectors: a total that was changed on its way no longer fits.

Every site sends the fingerprint of its own vector beside it, under coefficients that only the sites
know (a universal hash, Carter and Wegman 1979). The fingerprint of a sum is the sum of the
fingerprints, so whoever knows the coefficients can check the total; a false one passes with
probability 1 / P. Every number is a signed integer small enough that no sum wraps around, since a
number and the same number plus P have one fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.masking.fixed_point import PROTOCOL, framed, hkdf_sha256
from common.masking.group_key import prf
from common.masking.pairwise import keystream

P = 2**61 - 1
"""Modulus of the fingerprints, a prime."""

Coefficients = NDArray[np.uint64]
_SIGNED = {np.dtype(f"u{size}"): np.dtype(f"i{size}") for size in (2, 4, 8)}
# exclusive bounds, by width in bytes: of a sum over all sites, and of the total that is checked
_SUM_BOUND = {2: 2**15, 4: 2**31, 8: 2**59}
_TOTAL_BOUND = {2: 2**15, 4: 2**31, 8: 2**60}
# 21 bits times 16 bits times 2^15 numbers is below 2^53: float64 adds them exactly in any order
_CHUNK = 2**15
_RHO_BITS, _RHO_LIMBS, _LIMB_BITS = 21, 3, 16


def signed_of(ring: NDArray[Any]) -> NDArray[Any]:
    """Return ring elements (uint64, uint32 or uint16) as the signed integers they represent.

    Raises
    ------
    TypeError : another dtype, or another byte order.
    """
    if ring.dtype not in _SIGNED:
        raise TypeError(f"rings are of uint16, uint32 and uint64, not {ring.dtype}")
    return ring.view(_SIGNED[ring.dtype])


def coefficients(key: bytes, context: bytes, length: int) -> Coefficients:
    """Return independent coefficients (length,), uniform in [0, P), that only the sites know.

    Parameters
    ----------
    key : group key, 32 bytes.
    context : of one sum; never the same for another vector of the same site.
    """
    return _Uniform(prf(key, "rho", context)).take(length)


def fingerprint_of(key: bytes, context: bytes, vectors: Sequence[NDArray[Any]]) -> int:
    """Return the fingerprint of several vectors end to end, as `fingerprint` of all coefficients.

    Only a few thousand coefficients are in memory at a time.

    Parameters
    ----------
    vectors : each (n,), int64, int32 or int16, from `signed_of`.
    """
    drawn, total = _Uniform(prf(key, "rho", context)), 0
    for vector in vectors:
        for start in range(0, vector.size, _CHUNK):
            part = vector[start : start + _CHUNK]
            total += fingerprint(drawn.take(part.size), part)
    return total % P


def fingerprint(rho: Coefficients, signed: NDArray[Any]) -> int:
    """Return the sum of the products of coefficients and numbers, modulo P, in [0, P).

    Parameters
    ----------
    rho : (n,), from `coefficients`.
    signed : (n,), int64, int32 or int16, from `signed_of`.

    Raises
    ------
    ValueError, TypeError : shapes or dtypes are not as above.
    """
    if signed.dtype not in _SIGNED.values():
        raise TypeError(f"fingerprints are of int16, int32 and int64, not {signed.dtype}")
    if signed.ndim != 1 or rho.shape != signed.shape:
        raise ValueError(f"{rho.shape} coefficients for numbers of shape {signed.shape}")
    total = 0
    for start in range(0, signed.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        total += _dot(rho[part], signed[part])
    return total % P


def check_addend(signed: NDArray[Any], sites: int) -> None:
    """Check that a site's numbers are so small that no sum over the sites can wrap around.

    Parameters
    ----------
    signed : int64, int32 or int16.
    sites : number of sites whose vectors are added.

    Raises
    ------
    OverflowError : a number of 2^59 / sites or more (2^31 / sites, 2^15 / sites in narrower rings).
    """
    bound = _SUM_BOUND[signed.dtype.itemsize]
    if _largest(signed) * max(sites, 1) >= bound:
        raise OverflowError(f"a number is too large for the fingerprint of {sites} sites")


def check_total(signed: NDArray[Any]) -> None:
    """Check that no other number of the ring has the same fingerprint as one of these.

    Raises
    ------
    ValueError : a total of 2^60 or more (2^31, 2^15 in narrower rings) in absolute value.
    """
    if _largest(signed) >= _TOTAL_BOUND[signed.dtype.itemsize]:
        raise ValueError("a total is beyond the range of a sum over the sites")


def pad(key: bytes, context: bytes) -> int:
    """Return what hides the fingerprint of the total from the coordinator, in [0, P).

    The first participant by name adds it to its fingerprint; the verifier takes it off.
    """
    return _one(prf(key, "pad", context))


def pair_mask(secret: bytes, context: bytes) -> int:
    """Return the mask of a fingerprint that two sites share, in [0, P).

    Parameters
    ----------
    secret : of the pair, 32 bytes, from `pair_secrets`.
    context : of one sum; never the same for another fingerprint.
    """
    return _one(hkdf_sha256(secret, salt=b"", info=framed(PROTOCOL, "fingerprint", context)))


def mask_fingerprint(value: int, pair_keys: Mapping[str, bytes], own: str, context: bytes) -> int:
    """Add one mask per pair of sites, modulo P; the masks of all participants add up to zero.

    Parameters
    ----------
    value : fingerprint, in [0, P).
    pair_keys : by name, the secret shared with each other participant (`pairwise.among`).
    own : this site's name; of each pair the first name adds the mask, the other subtracts it.

    Raises
    ------
    ValueError : a mask with itself, or a value that is no fingerprint.
    """
    if own in pair_keys:
        raise ValueError(f"{own} cannot share a mask with itself")
    if not 0 <= value < P:
        raise ValueError("a fingerprint lies in [0, P)")
    for peer, secret in pair_keys.items():
        mask = pair_mask(secret, context)
        value += mask if own < peer else -mask
    return value % P


def _dot(rho: Coefficients, signed: NDArray[Any]) -> int:
    """Multiply in limbs of 21 and 16 bits and add, as numpy has no product of 128 bits."""
    low = np.uint64(2**_RHO_BITS - 1)
    left = np.empty((_RHO_LIMBS, rho.size))
    for limb in range(_RHO_LIMBS):
        left[limb] = (rho >> np.uint64(_RHO_BITS * limb)) & low
    words = signed.dtype.itemsize // 2
    halves = np.ascontiguousarray(signed.astype(signed.dtype.newbyteorder("<"), copy=False))
    limbs = halves.view("<u2").reshape(signed.size, words)
    right = np.empty((words, signed.size))
    right[:] = limbs.T
    right[-1] = limbs[:, -1].view("<i2")
    products = left @ right.T
    return sum(
        int(products[i, j]) << (_RHO_BITS * i + _LIMB_BITS * j)
        for i in range(_RHO_LIMBS)
        for j in range(words)
    )


class _Uniform:
    """Endless sequence of uniform numbers in [0, P), by rejection from a keystream."""

    def __init__(self, key: bytes) -> None:
        self._stream = keystream(key)
        self._zeros, self._buffer = bytes(_CHUNK * 8), bytearray(_CHUNK * 8)
        self._left = np.zeros(0, dtype=np.uint64)

    def take(self, length: int) -> Coefficients:
        """Return the next numbers (length,)."""
        taken = np.empty(length, dtype=np.uint64)
        start = 0
        while start < length:
            if not self._left.size:
                self._refill()
            part, self._left = np.split(self._left, [min(length - start, self._left.size)])
            taken[start : start + part.size] = part
            start += part.size
        return taken

    def _refill(self) -> None:
        self._stream.update_into(self._zeros, self._buffer)
        words = np.frombuffer(self._buffer, dtype="<u8") & np.uint64(P)
        self._left = words[words != np.uint64(P)]


def _one(key: bytes) -> int:
    stream = keystream(key)
    while True:
        drawn = int.from_bytes(stream.update(bytes(8)), "little") & P
        if drawn < P:
            return drawn


def _largest(signed: NDArray[Any]) -> int:
    """Return the largest absolute value, as a Python integer: -2^63 has none of its own width."""
    return max(int(signed.max()), -int(signed.min())) if signed.size else 0
