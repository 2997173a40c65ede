"""HU of every description of pixels that a CT may have: slope x value + intercept, or refused."""

from __future__ import annotations

import locale
import re
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_rescale
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from client.imaging.dicom.folder import read_file
from client.imaging.dicom.pixels import describe, read_hu
from client.imaging.dicom.stack import Slice, read_slice
from client.imaging.reading import PatientError, read_image
from tests.client.imaging.dicom.conftest import Series, change
from tests.client.imaging.dicom.encoders import ENCODERS

SHAPE = (16, 24)
NARROW = (JPEGLosslessSV1, JPEGLSLossless)
FRESH = "fresh"
PLAIN = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
numbers = st.floats(-3000, 3000, allow_nan=False).map(lambda v: float(f"{v:.10g}"))


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """A slice that every example writes anew."""
    path = Series(tmp_path_factory.mktemp("pixels")).slice(0)
    path.with_name(FRESH).write_bytes(path.read_bytes())
    return path


def write(
    path: Path,
    words: np.ndarray,
    syntax: str = ExplicitVRLittleEndian,
    **changes: object,
) -> None:
    """A slice with these containers of pixels (unsigned), and other elements."""
    fresh = path.with_name(FRESH)
    made = pydicom.dcmread(fresh if fresh.exists() else path)
    made.Rows, made.Columns = words.shape
    if syntax in ENCODERS:
        frame = ENCODERS[syntax](words.astype(np.uint16), int(changes.pop("precision", 16)))
        made.PixelData = encapsulate([frame])
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    else:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        made.PixelData = words.astype(words.dtype.newbyteorder(order)).tobytes()
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OW", False
    change(made, changes)
    made.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(
        path,
        made,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )


def survey(path: Path) -> Slice:
    return read_slice(path, read_file(path).header)


def hu(path: Path) -> np.ndarray:
    return read_hu(path, describe(read_file(path).header, path.name))


@st.composite
def descriptions(draw, allocated: tuple[int, ...] = (8, 16, 32)) -> dict[str, object]:
    bits = draw(st.sampled_from(allocated))
    stored = draw(st.integers(2, bits))
    return {
        "BitsAllocated": bits,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": draw(st.sampled_from((0, 1))),
        "PhotometricInterpretation": draw(st.sampled_from(("MONOCHROME1", "MONOCHROME2"))),
        "RescaleSlope": draw(numbers.filter(lambda v: abs(v) > 1e-3)),
        "RescaleIntercept": draw(numbers),
    }


def values_of(description: dict[str, object], seed: int) -> np.ndarray:
    """Stored values over the whole range, its ends among them."""
    stored = int(description["BitsStored"])
    low = -(1 << stored - 1) if description["PixelRepresentation"] else 0
    values = np.random.default_rng(seed).integers(low, low + (1 << stored), SHAPE)
    values.flat[:2] = low, low + (1 << stored) - 1
    return values


def contained(values: np.ndarray, bits: int) -> np.ndarray:
    """Values as words of so many bits, two's complement."""
    return (values & ((1 << bits) - 1)).astype(np.dtype(f"u{bits // 8}"))


def by_hand(values: np.ndarray, description: dict[str, object]) -> np.ndarray:
    scaled = values * float(description["RescaleSlope"]) + float(description["RescaleIntercept"])
    return scaled.astype(np.float32)


SIGNED_16 = {
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 1,
    "PhotometricInterpretation": "MONOCHROME1",
    "RescaleSlope": 1.0,
    "RescaleIntercept": 0.0,
}


@given(descriptions(), st.sampled_from(PLAIN), st.integers(0, 2**32))
@example(SIGNED_16, ExplicitVRLittleEndian, 1)
@settings(max_examples=80, deadline=None)
def test_hu_are_the_stored_value_times_slope_plus_intercept(one, description, syntax, seed):
    values = values_of(description, seed)
    allocated = int(description["BitsAllocated"])
    write(one, contained(values, allocated), syntax, **description)
    if allocated == 8 and syntax == ExplicitVRBigEndian:
        with pytest.raises(PatientError, match="8 bits in big-endian words"):
            hu(one)
        return
    np.testing.assert_array_equal(hu(one), by_hand(values, description))


@given(descriptions(), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_pydicom_finds_the_same_hu(one, description, seed):
    values = values_of(description, seed)
    write(one, contained(values, int(description["BitsAllocated"])), **description)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = pydicom.dcmread(one)
        expected = apply_rescale(read.pixel_array, read).astype(np.float32)
    np.testing.assert_array_equal(hu(one), expected)


@given(descriptions((16,)), st.sampled_from(sorted(ENCODERS)), st.integers(0, 2**32), st.booleans())
@settings(max_examples=80, deadline=None)
def test_compressed_pixels_give_the_same_hu(one, description, syntax, seed, tight):
    values = values_of(description, seed)
    # Pillow and run lengths know no other precision, GDCM no 16 bits compressed as 8 or fewer
    stored = int(description["BitsStored"])
    bits = stored if tight and stored > 8 and syntax in NARROW else 16
    write(one, contained(values, 16) & (1 << bits) - 1, syntax, precision=bits, **description)
    np.testing.assert_array_equal(hu(one), by_hand(values, description))


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize(("signed", "beyond"), [(0, 4096), (0, -1), (1, 2048), (1, -2049)])
def test_a_compressed_value_beyond_the_stored_bits_is_refused(one, syntax, signed, beyond):
    changes = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": signed}
    values = np.full(SHAPE, 100)
    values[2, 3:5] = -5 * signed, beyond
    write(one, contained(values, 16), syntax, **{**SIGNED_16, **changes})
    with pytest.raises(PatientError, match=r"bits above the 12 .* no overlay is declared"):
        hu(one)


@pytest.mark.parametrize("syntax", NARROW)
def test_signed_values_whose_sign_the_compressed_data_leave_open_are_refused(one, syntax):
    values = np.full(SHAPE, 100)
    write(one, contained(values, 16), syntax, precision=12, **SIGNED_16)
    np.testing.assert_array_equal(hu(one), values)
    values[3, 4] = -7
    write(one, contained(values, 16) & 0xFFF, syntax, precision=12, **SIGNED_16)
    with pytest.raises(PatientError, match="signed pixels of 16 bits are compressed as 12"):
        hu(one)


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("stored", [12, 16])
def test_every_compressed_syntax_is_still_read(one, syntax, signed, stored):
    description = {**SIGNED_16, "BitsStored": stored, "HighBit": stored - 1}
    description |= {"PixelRepresentation": signed, "PhotometricInterpretation": "MONOCHROME2"}
    values = values_of(description, 5)
    write(one, contained(values, 16), syntax, **description)
    np.testing.assert_array_equal(hu(one), values)


@pytest.mark.parametrize("codec", ["JPEG", "JPEG2000", "JPEGLS"])
def test_what_gdcm_compresses_is_read(ct, codec):
    # a slice as ITK writes it, with pixels in GDCM's own coding
    image = sitk.ReadImage(str(ct.slice(2)))
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(ct.folder / "coded"))
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(codec)
    writer.KeepOriginalImageUIDOn()
    plain = sitk.Cast(image, sitk.sitkInt16)
    for key in image.GetMetaDataKeys():
        plain.SetMetaData(key, image.GetMetaData(key))
    before = locale.setlocale(locale.LC_CTYPE)
    writer.Execute(plain)
    locale.setlocale(locale.LC_CTYPE, before)  # ITK leaves that of C behind
    coded = pydicom.dcmread(ct.folder / "coded")
    assert coded.file_meta.TransferSyntaxUID.is_encapsulated
    made = pydicom.dcmread(ct.slice(2))
    for tag in ("BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept"):
        setattr(made, tag, getattr(coded, tag))
    made.PixelData = coded.PixelData
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    made.file_meta.TransferSyntaxUID = coded.file_meta.TransferSyntaxUID
    (ct.folder / "coded").unlink()
    made.save_as(ct.slice(2))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(ct.folder)), ct.hu)


def test_jpeg_2000_that_says_signed_under_an_unsigned_header_is_refused(one):
    words = contained(values_of({**SIGNED_16, "PixelRepresentation": 0}, 3), 16)
    frame = bytearray(ENCODERS[JPEG2000Lossless](words, 16))
    frame[42] |= 0x80  # Ssiz
    write(one, words, **{**SIGNED_16, "PixelRepresentation": 0})
    made = pydicom.dcmread(one)
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelData = encapsulate([bytes(frame)])
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    made.file_meta.TransferSyntaxUID = JPEG2000Lossless
    made.save_as(one)
    with pytest.raises(PatientError, match="says unsigned, the JPEG 2000"):
        hu(one)


@given(descriptions((16,)).filter(lambda d: int(d["BitsStored"]) < 16), st.data())
@settings(max_examples=40, deadline=None)
def test_bits_above_the_stored_ones_are_an_overlay_that_is_declared_or_refused(
    one, description, data
):
    values = values_of(description, 7)
    bit = data.draw(st.integers(int(description["BitsStored"]), 15))
    # a clean container is zero above the value, or goes on with its sign
    mask = 0xFFFF if data.draw(st.booleans()) else (1 << int(description["BitsStored"])) - 1
    clean = (values & mask).astype(np.uint16)
    drawn = np.random.default_rng(2).integers(0, 2, SHAPE).astype(np.uint16)
    drawn.flat[:3] = 1, 0, 1
    words = (clean & ~np.uint16(1 << bit)) | (drawn << bit)
    declared = {"OverlayBitsAllocated": 16, "OverlayBitPosition": bit}
    overlay = Dataset()
    for tag, value in zip((0x60020100, 0x60020102), declared.values(), strict=True):
        overlay.add_new(tag, "US", value)
    write(one, words, **description)
    made = pydicom.dcmread(one)
    made.update(overlay)
    made.save_as(one)
    np.testing.assert_array_equal(hu(one), by_hand(values, description))
    if int(description["BitsStored"]) < 14:
        write(one, words, **description)
        with pytest.raises(PatientError, match=r"bits above the .* and no overlay is declared"):
            hu(one)


def test_signed_words_under_an_unsigned_header_of_fewer_bits_are_refused(one):
    """A negative value would become the largest."""
    words = contained(np.full(SHAPE, -5), 16)
    changes = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
    write(one, words, **{**SIGNED_16, **changes})
    with pytest.raises(PatientError, match="bits above the 12"):
        hu(one)


@pytest.mark.parametrize("padding", [-2000, -32768, 63536])
@pytest.mark.parametrize("signed", [0, 1])
def test_padding_keeps_its_stored_value_unless_it_outshines_metal(one, padding, signed):
    values = np.full(SHAPE, padding if signed else padding % 65536)
    stored = contained(values, 16).astype(np.int64)
    expected = np.where(signed and stored >= 32768, stored - 65536, stored) - 1024
    write(one, contained(values, 16), **{**SIGNED_16, "PixelRepresentation": signed})
    made = pydicom.dcmread(one)
    made.RescaleIntercept = -1024
    made.add_new("PixelPaddingValue", "US", padding % 65536)
    made.add_new("SmallestImagePixelValue", "US", 17)
    made.save_as(one)
    if signed:
        np.testing.assert_array_equal(hu(one), expected)
        return
    with pytest.raises(
        PatientError, match=r"384 voxels hold the Pixel Padding Value, .* HU, above"
    ):
        hu(one)


LUT = Dataset()
LUT.LUTDescriptor, LUT.ModalityLUTType, LUT.LUTData = [4, 0, 16], "HU", b"\0\0\1\0\2\0\3\0"
REFUSED = [
    ({"RescaleSlope": "0"}, "Rescale Slope is 0"),
    ({"RescaleSlope": "-0.0"}, "Rescale Slope is 0"),
    ({"RescaleSlope": ["1", "2"]}, "RescaleSlope holds 2 values instead of 1"),
    ({"RescaleSlope": None}, "a CT slice has no RescaleSlope"),
    ({"RescaleSlope": ""}, "a CT slice has no RescaleSlope"),
    ({"RescaleIntercept": None}, "a CT slice has no RescaleIntercept"),
    ({"RescaleType": "US"}, "the voxels are not in HU"),
    ({"RescaleType": "OD"}, "the voxels are not in HU"),
    ({"ImageType": ["DERIVED", "PRIMARY", "MIP"]}, "no CT but computed from one"),
    ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "IODINE"]}, "no CT but computed from one"),
    ({"ModalityLUTSequence": [LUT]}, "a Modality LUT"),
    ({"ModalityLUTSequence": [LUT], "RescaleSlope": None}, "a Modality LUT"),
    ({"PhotometricInterpretation": "RGB"}, "neither MONOCHROME1 nor MONOCHROME2"),
    ({"PhotometricInterpretation": "PALETTE COLOR"}, "neither MONOCHROME1 nor MONOCHROME2"),
    ({"PhotometricInterpretation": None}, "a CT slice has no PhotometricInterpretation"),
    ({"SamplesPerPixel": 3}, "more than one sample per pixel"),
    ({"NumberOfFrames": 2}, "a multi-frame image (2 frames"),
    ({"BitsAllocated": 12}, "Bits Allocated is 12"),
    ({"BitsAllocated": 64}, "Bits Allocated is 64"),
    ({"BitsAllocated": 0}, "Bits Allocated is 0"),
    ({"BitsAllocated": None}, "a CT slice has no BitsAllocated"),
    ({"BitsStored": 17, "HighBit": 16}, "contradict each other"),
    ({"BitsStored": 0, "HighBit": 0}, "contradict each other"),
    ({"BitsStored": 12}, "contradict each other"),
    ({"HighBit": 11}, "contradict each other"),
    ({"HighBit": None}, "a CT slice has no HighBit"),
    ({"PixelRepresentation": 2}, "Pixel Representation is 2"),
    ({"PixelRepresentation": None}, "a CT slice has no PixelRepresentation"),
    ({"Rows": 0}, "there are no pixels"),
    ({"Columns": 0}, "there are no pixels"),
    ({"Rows": None}, "a CT slice has no Rows"),
    ({"PixelAspectRatio": [1, 2]}, "Pixel Aspect Ratio and Pixel Spacing contradict"),
    ({"PixelSpacing": [0, 0.8]}, "PixelSpacing is not above zero"),
    ({"PixelSpacing": [-0.9, 0.8]}, "PixelSpacing is not above zero"),
    ({"PixelSpacing": [0.9]}, "PixelSpacing holds 1 values instead of 2"),
    ({"PixelSpacing": None}, "a CT slice has no PixelSpacing"),
    ({"ImagePositionPatient": [1, 2]}, "ImagePositionPatient holds 2 values instead of 3"),
    ({"ImageOrientationPatient": [1, 0, 0, 0.1, 1, 0]}, "vectors of length 1 and 1.005, not 1"),
    ({"ImageOrientationPatient": [2, 0, 0, 0, 2, 0]}, "vectors of length 2 and 2, not 1"),
    ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "vectors of length 0 and 0, not 1"),
    ({"Modality": "PT"}, "a CT slice by its class, but of another modality"),
    ({"PixelData": None}, "a CT slice has no PixelData"),
    ({"PixelData": b""}, "a CT slice has no PixelData"),
]


@pytest.mark.parametrize(("changes", "what"), REFUSED, ids=lambda v: str(v)[:40])
def test_refuses_a_description_that_no_ct_slice_in_hu_can_have(ct, changes, what):
    words = contained(values_of(SIGNED_16, 1), 16)
    described = {**SIGNED_16, "PhotometricInterpretation": "MONOCHROME2"}
    for k in range(6):
        write(ct.slice(k), words, **{**described, **(changes if k == 2 else {})})
    with pytest.raises(PatientError, match=re.escape(what)) as caught:
        read_image(ct.folder)
    assert caught.value.where in (ct.slice(2).name, "ct")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        ("RescaleSlope", b"nan "),
        ("RescaleSlope", b"inf "),
        ("RescaleIntercept", b"-1e999"),
        ("PixelSpacing", b"0.9\\nan "),
        ("PixelSpacing", b"SECRET-X"),
        ("ImagePositionPatient", b"0\\0\\NaN "),
        ("ImageOrientationPatient", b"1\\0\\0\\0\\1\\x "),
    ],
)
def test_what_is_no_finite_number_is_refused_by_its_name(one, tag, written):
    write_raw(one, tag, written)
    with pytest.raises(PatientError, match=f"{tag} is not a number ->") as caught:
        survey(one)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("tag", ["PixelSpacing", "ImagePositionPatient", "RescaleSlope"])
def test_a_decimal_comma_is_called_that(one, tag):
    count = {"PixelSpacing": 2, "ImagePositionPatient": 3, "RescaleSlope": 1}[tag]
    write_raw(one, tag, b"\\".join([b"0,9"] * count))
    with pytest.raises(PatientError, match=f"{tag} is not a number: it has a decimal comma"):
        survey(one)


def write_raw(path: Path, tag: str, value: bytes) -> None:
    """Bytes in place of an element's value, past pydicom's own checks."""
    write(path, contained(values_of(SIGNED_16, 1), 16), **SIGNED_16)
    made = pydicom.dcmread(path)
    value += b" " * (len(value) % 2)
    setattr(made, tag, None)
    made[tag].VR = "UN"
    made[tag]._value = value
    made.save_as(path)
    # UN in explicit VR takes a longer header; its VR is put right in the bytes
    data = path.read_bytes()
    number = pydicom.datadict.tag_for_keyword(tag)
    key = (number >> 16).to_bytes(2, "little") + (number & 0xFFFF).to_bytes(2, "little")
    long = key + b"UN\0\0" + len(value).to_bytes(4, "little") + value
    short = key + b"DS" + len(value).to_bytes(2, "little") + value
    assert long in data
    path.write_bytes(data.replace(long, short))


@pytest.mark.parametrize("changes", [{"Rows": 15}, {"Rows": 17}, {"Columns": 48}])
def test_pixels_of_another_number_than_rows_times_columns_are_refused(one, changes):
    write(one, contained(values_of(SIGNED_16, 1), 16), **{**SIGNED_16, **changes})
    with pytest.raises(PatientError, match="768 bytes of pixels where"):
        hu(one)


def test_a_float_image_is_refused(ct):
    made = pydicom.dcmread(ct.slice(1))
    del made.PixelData
    made.add_new(0x7FE00008, "OF", np.zeros((18, 24), np.float32).tobytes())
    made.save_as(ct.slice(1))
    with pytest.raises(PatientError, match="a CT slice has no PixelData"):
        read_image(ct.folder)


def test_a_private_transfer_syntax_is_refused(ct):
    made = pydicom.dcmread(ct.slice(1))
    made.file_meta.TransferSyntaxUID = "1.2.840.113619.5.2"
    made.save_as(ct.slice(1), implicit_vr=False, little_endian=True)
    with pytest.raises(PatientError, match="a transfer syntax that is not of the standard"):
        read_image(ct.folder)


def test_slices_may_be_described_each_in_its_own_way(ct):
    expected = ct.hu.astype(np.float64)
    for k, (bits, photometric) in enumerate([(16, "MONOCHROME1"), (32, "MONOCHROME2")] * 3):
        description = {**SIGNED_16, "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
        description["PhotometricInterpretation"] = photometric
        description["RescaleSlope"] = 1 + k / 8
        write(ct.slice(k), contained(ct.hu[k], bits), **description)
        expected[k] = ct.hu[k] * (1 + k / 8)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(ct.folder)), expected)
