"""Pixels compressed by code that GDCM shares nothing with."""

from __future__ import annotations

import io
from collections.abc import Callable

import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

Words = NDArray[np.uint16]


def jpeg_lossless(words: Words, bits: int) -> bytes:
    """Process 14, selection value 1, with 17 Huffman codes of five bits (ITU-T T.81, H)."""
    values = words.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << bits - 1
    text = "".join(_coded(int(v)) for v in ((values - predicted + 32768) % 65536 - 32768).ravel())
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    rows, columns = words.shape
    frame = bytes([bits]) + rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    return (
        b"\xff\xd8"
        + _segment(0xC3, frame + bytes([1, 1, 0x11, 0]))
        + _segment(0xC4, table)
        + _segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
        + data
        + b"\xff\xd9"
    )


def _coded(difference: int) -> str:
    if difference == -32768:
        return format(16, "05b")
    size = abs(difference).bit_length()
    added = difference if difference > 0 else difference + (1 << size) - 1
    return format(size, "05b") + (format(added, f"0{size}b") if size else "")


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def jpeg_ls_lossless(words: Words, bits: int) -> bytes:
    rows, columns = words.shape
    return bytes(
        jpeg_ls.encode_pixel_data(
            words.tobytes(),
            lossy_error=0,
            interleave_mode=0,
            width=columns,
            height=rows,
            rows=rows,
            columns=columns,
            samples_per_pixel=1,
            bits_allocated=16,
            bits_stored=bits,
        )
    )


def jpeg_2000(words: Words, bits: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(words).save(file, "JPEG2000", irreversible=False, no_jp2=True)
    return file.getvalue()


def run_lengths(words: Words, bits: int) -> bytes:
    rows, columns = words.shape
    return RLELosslessEncoder.encode(
        words,
        rows=rows,
        columns=columns,
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=16,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        number_of_frames=1,
        encoding_plugin="pydicom",
    )


ENCODERS: dict[str, Callable[[Words, int], bytes]] = {
    JPEGLosslessSV1: jpeg_lossless,
    JPEGLSLossless: jpeg_ls_lossless,
    JPEG2000Lossless: jpeg_2000,
    JPEG2000: jpeg_2000,
    RLELossless: run_lengths,
}
