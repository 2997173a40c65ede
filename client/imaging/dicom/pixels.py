"""Convert stored values of a CT slice to Hounsfield units (PS3.3, C.7.6.3, C.11.1; PS3.5, 8.1.1).

HU are the stored value times the slope plus the intercept. The photometric interpretation defines
the display of values, not their meaning, so MONOCHROME1 inverts nothing. GDCM does invert it, reads
a slope of 0 as 1, and drops bits above Bits Stored whatever they hold. So it is used only to
decompress, which pydicom cannot do in every syntax, and never sees the header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from client.imaging.dicom.header import EXPORT_AGAIN, conforming, numbers, read_elements
from client.imaging.errors import PatientError

_WHOLE = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_ALLOCATED = (8, 16, 32)
_OVERLAY_BITS_ALLOCATED, _OVERLAY_BIT_POSITION = 0x0100, 0x0102
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_ASPECT_TOLERANCE = 0.01
_JPEG = b"\xff\xd8"
# JPEG (ITU-T T.81, B.1.1.3) and JPEG-LS (ITU-T T.87, C.1)
_FRAME_MARKERS = {
    0xC0,
    0xC1,
    0xC2,
    0xC3,
    0xC5,
    0xC6,
    0xC7,
    0xC9,
    0xCA,
    0xCB,
    0xCD,
    0xCE,
    0xCF,
    0xF7,
}
# start and size of the image (ITU-T T.800, A.4.1, A.5.1)
_J2K_SIZE = b"\xff\x4f\xff\x51"
LARGEST_SLICE = 1 << 26
"""Pixels of 8192 x 8192; the widest CT matrices have 2048 x 2048."""
_HIGHEST_HU = 10_000.0
"""Highest HU of padding by design; bone ends at 2000, and metal usually at 3071."""
_UNCOMPRESSED = "export the series again, uncompressed"
_THE_CT = "give the CT itself, not a map computed from it"
_NOT_THE_SCAN = {
    *("MIP", "MINIP", "MAX_IP", "MIN_IP", "MAXIMUM", "MINIMUM", "ADDITION", "SUBTRACTION"),
    *("MULTIPLICATION", "DIVISION", "STD_DEVIATION", "MAT_SPECIFIC", "MAT_FRACTIONAL"),
    *("MAT_VALUE_BASED", "EFF_ATOMIC_NUM", "ELECTRON_DENSITY", "IODINE", "IODINE_MAP", "Z_EFF"),
    *("CBF", "CBV", "MTT", "TTP"),
}
"""Words of Image Type (PS3.3, C.8.2.1.1.1 and C.8.16.1.4) for values computed from several."""
_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})
"""Syntaxes that always lose something; JPEG 2000 may, and then the header has to say so."""

PIXEL_TAGS: tuple[str | int, ...] = (
    *_WHOLE,
    "SamplesPerPixel",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelAspectRatio",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ImageType",
    "LossyImageCompression",
    "ModalityLUTSequence",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    *(
        group << 16 | element
        for group in _OVERLAY_GROUPS
        for element in (_OVERLAY_BITS_ALLOCATED, _OVERLAY_BIT_POSITION)
    ),
)
"""Elements that `describe` reads."""


@dataclass(frozen=True)
class PixelDescription:
    """Storage and meaning of a slice's pixels.

    Parameters
    ----------
    shape : rows and columns.
    allocated, stored : bits of a pixel's container, and of the value in its low end.
    overlays : bits of the container that the header declares to be overlays.
    padding : least and greatest stored value of pixels outside the scanner's circle, if declared.
    order : "<" or ">", of the bytes of uncompressed pixels.
    compressed : whether pixels are encapsulated.
    lossy : whether they were compressed with loss at any time.
    """

    shape: tuple[int, int]
    allocated: int
    stored: int
    signed: bool
    overlays: int
    slope: float
    intercept: float
    order: str
    compressed: bool
    padding: tuple[int, int] | None = None
    lossy: bool = False


def describe(header: pydicom.FileDataset, where: str) -> PixelDescription:
    """Read how pixels are stored from a header with `PIXEL_TAGS`.

    Raises
    ------
    PatientError : an element is missing, has a value that a single-frame CT in HU cannot have, or
        contradicts another.
    """
    rows, columns, allocated, stored, high, signed = _whole_numbers(header, where)
    _check_kind(header, where)
    (slope,) = numbers(header, "RescaleSlope", 1, where)
    (intercept,) = numbers(header, "RescaleIntercept", 1, where)
    if slope == 0:
        _refuse("Rescale Slope is 0, so that every voxel would have the same value", where)
    if not rows or not columns:
        _refuse(f"Rows x Columns is {rows} x {columns}: there are no pixels", where)
    check_shape(rows, columns, where)
    _check_aspect(header, where)
    if allocated not in _ALLOCATED:
        _refuse(f"Bits Allocated is {allocated}, not 8, 16 or 32", where)
    if not 1 <= stored <= allocated or high != stored - 1:
        _refuse(
            f"Bits Allocated {allocated}, Bits Stored {stored} and High Bit {high} contradict each "
            "other: the high bit must be one less than the bits stored",
            where,
        )
    if signed not in (0, 1):
        _refuse(f"Pixel Representation is {signed}, not 0 or 1", where)
    _, little = header.original_encoding
    compressed, big = _encoding(header, where)
    if compressed and allocated > 16:
        _refuse("compressed pixels of 32 bits", where, _UNCOMPRESSED)
    if allocated == 8 and (big or not little):
        _refuse("pixels of 8 bits in big-endian words", where, _UNCOMPRESSED)
    return PixelDescription(
        shape=(rows, columns),
        allocated=allocated,
        stored=stored,
        signed=bool(signed),
        overlays=_overlay_bits(header),
        slope=slope,
        intercept=intercept,
        order="<" if little else ">",
        compressed=compressed,
        padding=_padding(header, stored, bool(signed), where),
        lossy=str(header.get("LossyImageCompression") or "") == "01"
        or header.file_meta.get("TransferSyntaxUID") in _LOSSY,
    )


def read_hu(path: Path, description: PixelDescription) -> NDArray[np.float32]:
    """Decode one slice to HU (rows, columns).

    Values are computed in double precision and rounded to float32 once. Padding outside the
    scanner's circle (Pixel Padding Value) keeps its stored value, rescaled like any other.

    Raises
    ------
    PatientError : as `read_stored`; padding brighter than metal.
    """
    values = read_stored(path, description).ravel()
    hu = values.astype(np.float64) * description.slope + description.intercept
    _check_padding(values, hu, description.padding, path.name)
    return hu.astype(np.float32).reshape(description.shape)


def read_stored(path: Path, description: PixelDescription) -> NDArray[np.int64]:
    """Decode the stored values of one slice (rows, columns), without overlays and their bits.

    Raises
    ------
    PatientError : no pixel data, more or less than the header says, bits in use that the header
        does not declare, or pixels that cannot be decoded.
    """
    read = _decompressed if description.compressed else _plain
    values = _values(read(path, description), description, path.name)
    return values.reshape(description.shape)


def _whole_numbers(header: pydicom.Dataset, where: str) -> list[int]:
    found: list[int] = []
    for tag in _WHOLE:
        (value,) = numbers(header, tag, 1, where)
        if value != int(value):
            _refuse(f"{tag} is not a whole number", where)
        found.append(int(value))
    return found


def _check_kind(header: pydicom.Dataset, where: str) -> None:
    """Refuse what is not one frame of grey values in HU."""
    if header.get("NumberOfFrames") not in (None, "", 0, 1):
        what = f"a multi-frame image ({header.NumberOfFrames} frames in one file)"
        _refuse(what, where, "export the series as single slices")
    if header.get("SamplesPerPixel") not in (None, "", 1):
        _refuse("a colour image: more than one sample per pixel", where)
    photometric = str(header.get("PhotometricInterpretation") or "")
    if not photometric:
        _refuse("a CT slice has no PhotometricInterpretation", where)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        _refuse("Photometric Interpretation is neither MONOCHROME1 nor MONOCHROME2", where)
    if header.get("ModalityLUTSequence"):
        what = "a Modality LUT besides or instead of rescale slope and intercept"
        _refuse(what, where, "export the series in HU, with rescale slope and intercept")
    if str(header.get("RescaleType") or "").strip() not in ("", "HU"):
        what = "the voxels are not in HU: Rescale Type says otherwise"
        _refuse(what, where, _THE_CT)
    with conforming(where):
        kinds = header.get("ImageType") or ()
        kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if kinds & _NOT_THE_SCAN:
        what = f"no CT but computed from one: Image Type says {min(kinds & _NOT_THE_SCAN)}"
        _refuse(what, where, _THE_CT)


def _check_aspect(header: pydicom.Dataset, where: str) -> None:
    """Refuse a ratio of pixel sizes (vertical, horizontal) that contradicts the spacing."""
    if header.get_item("PixelAspectRatio") is None or not header.get("PixelAspectRatio"):
        return
    vertical, horizontal = numbers(header, "PixelAspectRatio", 2, where)
    down, across = numbers(header, "PixelSpacing", 2, where)
    if abs(vertical * across - horizontal * down) > _ASPECT_TOLERANCE * abs(horizontal * down):
        _refuse("Pixel Aspect Ratio and Pixel Spacing contradict each other", where)


def _encoding(header: pydicom.FileDataset, where: str) -> tuple[bool, bool]:
    """Return whether pixels are compressed, and whether the file is big-endian."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:  # no file meta information: pydicom found out
        return False, not header.original_encoding[1]
    if syntax.is_private or not syntax.is_transfer_syntax:
        _refuse("a transfer syntax that is not of the standard", where, _UNCOMPRESSED)
    return bool(syntax.is_encapsulated), syntax == ExplicitVRBigEndian


def _overlay_bits(header: pydicom.Dataset) -> int:
    bits = 0
    for group in _OVERLAY_GROUPS:
        position = header.get((group, _OVERLAY_BIT_POSITION))
        allocated = header.get((group, _OVERLAY_BITS_ALLOCATED))
        if position is not None and allocated is not None and (allocated.value or 1) > 1:
            bits |= 1 << int(position.value or 0)
    return bits


def _padding(
    header: pydicom.Dataset, stored: int, signed: bool, where: str
) -> tuple[int, int] | None:
    """Read the stored values of padding in the pixels' own representation."""
    found: list[int] = []
    for tag in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        written = header.get_item(tag)
        if written is not None and written.value not in (None, "", b""):
            value = int(numbers(header, tag, 1, where)[0]) & (1 << stored) - 1
            negative = signed and value >> stored - 1
            found.append(value - (1 << stored) if negative else value)
        elif not found:
            return None
    return min(found), max(found)


def _check_padding(
    values: NDArray[np.int64],
    hu: NDArray[np.float64],
    padding: tuple[int, int] | None,
    where: str,
) -> None:
    """Refuse padding that comes out brighter than metal: its sign was lost."""
    if padding is None:
        return
    own = hu[(values >= padding[0]) & (values <= padding[1])]
    if own.size and own.max() > _HIGHEST_HU:
        _refuse(
            f"{own.size} voxels hold the Pixel Padding Value, which comes out at {own.max():.0f}"
            " HU, above any tissue or metal",
            where,
            f"{EXPORT_AGAIN}: a negative padding was written as an unsigned number",
        )


def _values(
    words: NDArray[np.int64], description: PixelDescription, where: str
) -> NDArray[np.int64]:
    """Take values from the low bits; those above hold their sign, declared overlays or 0."""
    mask = (1 << description.stored) - 1
    values, above = words & mask, words & ~mask & ~description.overlays
    if description.signed:
        negative = (values >> description.stored - 1) == 1
        filled = ((1 << description.allocated) - 1) & ~mask & ~description.overlays
        values = np.where(negative, values - (1 << description.stored), values)
        # a sign continues in the bits above or does not, but never both
        if (above[negative] == filled).all():
            above = np.where(negative, 0, above)
    if above.any():
        _refuse(
            f"pixels have bits above the {description.stored} that Bits Stored allows, and no "
            "overlay is declared there",
            where,
        )
    return values


def _plain(path: Path, description: PixelDescription) -> NDArray[np.int64]:
    """Read the containers of uncompressed pixels, as unsigned numbers."""
    data = _pixel_data(path)
    rows, columns = description.shape
    size = rows * columns * description.allocated // 8
    if not size <= len(data) <= size + size % 2:
        _refuse(
            f"{len(data)} bytes of pixels where Rows, Columns and Bits Allocated ask for {size}",
            path.name,
        )
    container = np.dtype(f"{description.order}u{description.allocated // 8}")
    return np.frombuffer(data, container, rows * columns).astype(np.int64)


def _decompressed(path: Path, description: PixelDescription) -> NDArray[np.int64]:
    """Decompress the containers of pixels, as unsigned numbers.

    GDCM reads files only: for a moment the pixels are in one without any header of the patient,
    readable for this user alone.
    """
    where = path.name
    with conforming(where):
        source = read_elements(path, ["PixelData"], pixels=True)
        if not source.get("PixelData"):
            _refuse("a CT slice has no PixelData", where)
        frame = get_frame(source.PixelData, 0, number_of_frames=1)
        check_coded_size(frame, source.file_meta.TransferSyntaxUID, description.shape, where)
        precision, signed = _codestream(frame)
    if signed and not description.signed:
        what = "Pixel Representation says unsigned, the JPEG 2000 data say signed"
        _refuse(what, where, _UNCOMPRESSED)
    with TemporaryDirectory() as folder:
        bare = Path(folder) / "pixels.dcm"
        _write_bare(bare, source, description, signed)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(bare))
        try:
            image = reader.Execute()
        except RuntimeError:
            _refuse("its pixels cannot be decoded", where, _UNCOMPRESSED)
    read: NDArray[np.int64] = sitk.GetArrayFromImage(image).ravel().astype(np.int64)
    if read.size != description.shape[0] * description.shape[1]:
        _refuse("the decoded pixels are not as many as Rows x Columns", where, _UNCOMPRESSED)
    # the highest bit of the compressed data may or may not be a sign
    open_sign = description.signed and not signed and 0 < precision < description.stored
    if open_sign and (read >> precision - 1).any():
        what = f"signed pixels of {description.stored} bits are compressed as {precision}"
        _refuse(what, where, _UNCOMPRESSED)
    return read & (1 << description.allocated) - 1


def _write_bare(
    path: Path, source: pydicom.FileDataset, description: PixelDescription, signed: bool
) -> None:
    """Write the compressed pixels under a header without their meaning."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = pydicom.FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID = meta.MediaStorageSOPClassUID
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    made.Rows, made.Columns = description.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = description.allocated
    made.HighBit = description.allocated - 1
    made.PixelRepresentation = int(signed)
    made.PixelData = source.PixelData
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    made.save_as(path, enforce_file_format=True)


def check_shape(rows: int, columns: int, where: str) -> None:
    """Raise PatientError if a slice has more pixels than any scanner makes."""
    if rows * columns > LARGEST_SLICE:
        what = f"Rows x Columns is {rows} x {columns}, more than any CT slice has"
        _refuse(what, where)


def check_coded_size(frame: bytes, syntax: UID, shape: tuple[int, int], where: str) -> None:
    """Raise PatientError if compressed data state another size than rows and columns.

    Decoders ask for the memory of the size that the data state. Run lengths (RLE) state none, and
    a .jp2 file around the data is against PS3.5, A.4.4.
    """
    if syntax != RLELossless and _coded_size(frame) != shape:
        _refuse("the compressed pixels are not as many as Rows x Columns", where, _UNCOMPRESSED)


def _coded_size(data: bytes) -> tuple[int, int] | None:
    """Read rows and columns from the compressed data's own header; None where they have none."""
    if data.startswith(_J2K_SIZE):
        width, height, left, top = struct.unpack_from(">4I", data, len(_J2K_SIZE) + 4)
        return height - top, width - left
    marker = _frame_marker(data)
    return None if marker is None else struct.unpack_from(">2H", data, marker + 5)


def _frame_marker(data: bytes) -> int | None:
    """Return where the frame header of JPEG or JPEG-LS data begins; None where there is none."""
    at = 2
    while data.startswith(_JPEG) and data[at : at + 1] == b"\xff" and at + 9 <= len(data):
        if data[at + 1] in _FRAME_MARKERS:
            return at
        if data[at + 1] == 0xFF:  # fill before a marker
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _codestream(data: bytes) -> tuple[int, bool]:
    """Read bits (0: unknown) and sign of a value from the compressed data's own header."""
    found = get_j2k_parameters(data)
    if found:
        return int(found.get("precision", 0)), bool(found.get("is_signed", False))
    marker = _frame_marker(data)
    return (0 if marker is None else data[marker + 4]), False


def _pixel_data(path: Path) -> bytes:
    with conforming(path.name):
        data = read_elements(path, ["PixelData"], pixels=True).get("PixelData")
    if not data:
        _refuse("a CT slice has no PixelData", path.name)
    return bytes(data)


def _refuse(what: str, where: str, remedy: str = EXPORT_AGAIN) -> NoReturn:
    raise PatientError(what, where=where, remedy=remedy)
