"""DICOM files that a hostile party made: refused before memory is taken for what they state."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1

from client.imaging.dicom import header as reading
from client.imaging.dicom.header import read_header, read_whole
from client.imaging.reading import PatientError, read_image, read_mask
from tests.bombs import MIB, deflate_bomb, peak_of
from tests.client.imaging.dicom.encoders import ENCODERS
from tests.client.imaging.dicom.test_segmentation import ball


def deflated(path: Path, data: bytes) -> Path:
    """Put deflated data behind the file meta information of a slice."""
    made = pydicom.dcmread(path)
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    empty = pydicom.FileDataset(path, {}, file_meta=made.file_meta, preamble=b"\0" * 128)
    empty.save_as(path, enforce_file_format=True)
    start = path.read_bytes()
    (length,) = struct.unpack_from("<I", start, 132 + 8)
    path.write_bytes(start[: 132 + 12 + length] + data)
    return path


def test_a_deflated_bomb_of_ten_gigabytes_is_refused_in_little_memory(ct) -> None:
    path = deflated(ct.slice(0), deflate_bomb())
    assert 9 * MIB < path.stat().st_size < 12 * MIB
    for read in (lambda: read_header(path, ["Rows"]), lambda: read_whole(path)):
        with pytest.raises(PatientError, match="unpack to more than 256 MiB"):
            read()
        assert peak_of(read) < 64 * MIB
    with pytest.raises(PatientError, match="unpack to more than 256 MiB"):
        read_image(ct.folder)


def test_the_limit_is_what_stops_a_deflated_file(ct, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 60 * MIB
    element = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, size) + bytes(size)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path = deflated(ct.slice(0), packer.compress(element) + packer.flush())

    def read() -> object:
        return read_whole(path)

    assert peak_of(read) > size
    monkeypatch.setattr(reading, "LARGEST_DEFLATED", size - 1)
    assert peak_of(read) < 16 * MIB


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1])
def test_compressed_pixels_that_state_another_size_are_not_decoded(ct, syntax: str) -> None:
    path = ct.slice(1)
    made = pydicom.dcmread(path)
    frame = ENCODERS[syntax](made.pixel_array.astype(np.uint16), 16)
    for crafted, kept in ((frame, True), (stating(frame, 60_000), False)):
        made.PixelData = encapsulate([crafted])
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
        made.PixelRepresentation = 0
        made.file_meta.TransferSyntaxUID = syntax
        made.save_as(path, enforce_file_format=True)
        if kept:
            read_image(ct.folder)
        else:
            with pytest.raises(PatientError, match="not as many as Rows x Columns"):
                read_image(ct.folder)


def stating(frame: bytes, length: int) -> bytes:
    """Compressed pixels whose own header states a square of this length."""
    if frame.startswith(b"\xff\x4f"):
        return frame[:8] + struct.pack(">2I", length, length) + frame[16:]
    at = frame.index(b"\xff\xc3") + 5
    return frame[:at] + struct.pack(">2H", length, length) + frame[at + 4 :]


def test_a_jp2_file_in_place_of_a_codestream_is_refused(ct) -> None:
    # a box of no length: a reader that walks the boxes would never end
    path = ct.slice(1)
    made = pydicom.dcmread(path)
    made.PixelData = encapsulate([b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100)])
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    made.file_meta.TransferSyntaxUID = JPEG2000Lossless
    made.save_as(path, enforce_file_format=True)
    with pytest.raises(PatientError, match="not as many as Rows x Columns"):
        read_image(ct.folder)


def test_a_segmentation_of_frames_beyond_any_slice_is_refused(tmp_path: Path, ct) -> None:
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball()})
    image = read_image(ct.folder)
    read_mask(path, image)
    made = pydicom.dcmread(path)
    made.Rows = made.Columns = 65_535
    made.save_as(path)
    with pytest.raises(PatientError, match="more than any CT slice has"):
        read_mask(path, image)
