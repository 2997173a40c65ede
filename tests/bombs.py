"""Small files that unpack to a lot, and the memory that reading one takes."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

MIB, GIB = 1 << 20, 1 << 30
_PIECE = 100 * MIB


def gzip_bomb(size: int = 10 * GIB) -> bytes:
    """Zeros as gzip, in members of 100 MiB; a thousandth of their size."""
    return gzip.compress(bytes(_PIECE)) * -(-size // _PIECE)


def deflate_bomb(size: int = 10 * GIB) -> bytes:
    """Zeros as raw deflate data; a thousandth of their size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = packer.compress(bytes(_PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
    return piece * -(-size // _PIECE) + end


def peak_of(call: Callable[[], object]) -> int:
    """The most bytes that were held at once while it ran, whether it failed or not."""
    tracemalloc.start()
    with contextlib.suppress(Exception):
        call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
