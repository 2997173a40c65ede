"""MetaImage headers written by hand."""

from __future__ import annotations

import zlib
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from client.imaging.errors import PatientError
from client.imaging.headers.metaimage import pairs, parse
from client.imaging.volumes import check_volume_header, read_volume

VOXELS = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)

# as ITK writes it, and with it elastix and ITK-SNAP
ITK = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-5 7 11",
    "CenterOfRotation": "0 0 0",
    "AnatomicalOrientation": "RAI",
    "ElementSpacing": "0.8 0.8 2.5",
    "DimSize": "6 5 4",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}
ZIPPED = zlib.compress(VOXELS.tobytes())


def mha(voxels: bytes | None = None, **changes: str | None) -> bytes:
    """A whole file; a field of `changes` that is None is left out."""
    fields = {**ITK, **changes}
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # it is the last
    lines = [f"{name} = {value}\n" for name, value in fields.items() if value is not None]
    return "".join(lines).encode() + (VOXELS.tobytes() if voxels is None else voxels)


def zipped(**changes: str | None) -> dict[str, object]:
    size = str(len(ZIPPED))
    return {"voxels": ZIPPED, "CompressedData": "True", "CompressedDataSize": size, **changes}


GOOD = {
    "ITK": {},
    "compressed": zipped(),
    "position instead of offset": {"Offset": None, "Position": "-5 7 11"},
    "rotation instead of matrix": {"TransformMatrix": None, "Rotation": "1 0 0 0 1 0 0 0 1"},
    "orientation not known": {"AnatomicalOrientation": "???"},
    "no letters": {"AnatomicalOrientation": None},
    "letters of the far sides": {"AnatomicalOrientation": "LPS"},
    "an equal element size": {"ElementSize": "0.8 0.8 2.5"},
    "big endian": {"BinaryDataByteOrderMSB": "True", "voxels": VOXELS.astype(">i2").tobytes()},
    "both byte orders, equal": {"ElementByteOrderMSB": "False"},
    "modality": {"Modality": "MET_MOD_CT"},
    "one channel": {"ElementNumberOfChannels": "1"},
}


@pytest.mark.parametrize("name", GOOD)
def test_what_writers_in_use_write_is_read_as_itk_reads_it(tmp_path, name):
    path = tmp_path / "ct.mha"
    path.write_bytes(mha(**GOOD[name]))
    found, reference = read_volume(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), VOXELS)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(reference), VOXELS)
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found, get)(), getattr(reference, get)(), atol=1e-12)


def test_itk_s_letters_fit_its_matrix_in_all_48_orders(tmp_path):
    path = tmp_path / "ct.mha"
    image = sitk.GetImageFromArray(VOXELS)
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        image.SetDirection((np.eye(3)[:, axes] * signs).ravel().tolist())
        sitk.WriteImage(image, str(path))
        check_volume_header(path)


BAD = {
    "no spacing": ({"ElementSpacing": None}, "ElementSpacing is missing, not three numbers"),
    "size instead of spacing": (
        {"ElementSpacing": None, "ElementSize": "0.8 0.8 5"},
        r"ElementSpacing is missing, not three numbers \(ElementSize 0\.8 0\.8 5\)",
    ),
    "spacing and size": (
        {"ElementSize": "0.8 0.8 5"},
        "ElementSpacing says 0.8, 0.8, 2.5 mm, ElementSize 0.8 0.8 5",
    ),
    "spacing of zero": ({"ElementSpacing": "0.8 0 2.5"}, "ElementSpacing is 0.8, 0, 2.5: every"),
    "negative spacing": ({"ElementSpacing": "0.8 0.8 -2.5"}, "ElementSpacing is 0.8, 0.8, -2.5"),
    "spacing that is no number": ({"ElementSpacing": "0.8 nan 2.5"}, "ElementSpacing is 0.8, nan"),
    "infinite spacing": ({"ElementSpacing": "0.8 inf 2.5"}, "ElementSpacing is 0.8, inf"),
    "two spacings": ({"ElementSpacing": "0.8 0.8"}, "ElementSpacing is 0.8 0.8, not three"),
    "decimal commas": ({"ElementSpacing": "0,8 0,8 2,5"}, "ElementSpacing is 0,8 0,8 2,5, not"),
    "no matrix": ({"TransformMatrix": None}, "TransformMatrix is missing: how the axes lie"),
    "matrix of zeros": ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, "an axis without a length"),
    "matrix that stretches": (
        {"TransformMatrix": "2 0 0 0 1 0 0 0 1"},
        "TransformMatrix stretches the axes by 2, 1, 1: it must only turn",
    ),
    "sheared matrix": (
        {"TransformMatrix": "1 0 0 0 1 0 0 0.258819 0.965926"},
        r"not at right angles: 15\.00 degrees off by TransformMatrix",
    ),
    "letters": (
        {"AnatomicalOrientation": "RPI"},
        "AnatomicalOrientation says RPI, TransformMatrix 1 0 0 0 1 0 0 0 1: they contradict",
    ),
    "unknown letters": ({"AnatomicalOrientation": "XYZ"}, "AnatomicalOrientation says XYZ"),
    "letters of a turned volume": (
        {"TransformMatrix": "0 1 0 0 0 -1 -1 0 0"},
        "AnatomicalOrientation says RAI",
    ),
    "no offset": ({"Offset": None}, "Offset is missing, not three numbers"),
    "offset that is no number": ({"Offset": "nan 0 0"}, "the origin is nan, 0, 0"),
    "centre of rotation": ({"CenterOfRotation": "5 5 5"}, "CenterOfRotation is 5 5 5, not 0 0 0"),
    "cm": ({"DistanceUnits": "cm"}, "DistanceUnits says cm, not mm"),
    "no unit and no mm": (
        {"ElementSpacing": "0.0008 0.0008 0.0025"},
        "DistanceUnits states no unit of length, and a spacing of 0.0008",
    ),
    "a detached header": ({"ElementDataFile": "ct.raw"}, "a detached header: its voxels are in"),
    "a list of files": ({"ElementDataFile": "LIST"}, "a detached header"),
    "header size": (
        {"HeaderSize": "2", "voxels": b"xx" + VOXELS.tobytes()},
        "HeaderSize is 2: where the voxels begin is unclear",
    ),
    "header size from the end": ({"HeaderSize": "-1"}, "HeaderSize is -1"),
    "channels": ({"ElementNumberOfChannels": "3"}, "3 values a voxel instead of one"),
    "text": ({"BinaryData": "False"}, "BinaryData is False, not True"),
    "two byte orders": (
        {"ElementByteOrderMSB": "True"},
        "BinaryDataByteOrderMSB is False and ElementByteOrderMSB True: .* contradictory",
    ),
    "no byte order": ({"BinaryDataByteOrderMSB": None}, "the order of bytes is not said"),
    "slope": ({"ElementToIntensityFunctionSlope": "2"}, "ElementToIntensityFunctionSlope is 2"),
    "intercept": (
        {"ElementToIntensityFunctionOffset": "-1024"},
        "ElementToIntensityFunctionOffset is -1024: the voxels are not HU",
    ),
    "element type": ({"ElementType": "MET_STRING"}, "ElementType is MET_STRING, which is not"),
    "another object": ({"ObjectType": "Mesh"}, "ObjectType is Mesh, not Image"),
    "one slice": ({"NDims": "2", "DimSize": "30 4"}, r"not 3-D: 2 dimensions \(30 x 4\)"),
    "dimensions and sizes": ({"DimSize": "6 5 4 1"}, "NDims is 3, but DimSize has 4"),
    "no sizes": ({"DimSize": None}, "DimSize is missing, not whole numbers"),
    "a size of zero": ({"DimSize": "6 0 4"}, "the size 6 x 0 x 4 holds no voxels"),
    "broken sizes": ({"DimSize": "6 5 4.5"}, "DimSize is 6 5 4.5, not whole numbers"),
    "more voxels than sizes": ({"DimSize": "6 5 3"}, "more bytes than voxels: 180"),
    "fewer voxels than sizes": ({"DimSize": "6 5 5"}, "truncated, 240 of 300 bytes of voxels"),
    "more voxels, compressed": (zipped(DimSize="6 5 3"), "more bytes than voxels: 180"),
    "fewer voxels, compressed": (zipped(DimSize="6 5 5"), "truncated, 240 of 300 bytes of voxels"),
    "compressed size": (
        zipped(CompressedDataSize="20"),
        f"CompressedDataSize says 20 bytes, {len(ZIPPED)} follow the header",
    ),
    "no compressed size": (zipped(CompressedDataSize=None), "CompressedDataSize is missing"),
    "not compressed": (
        zipped(voxels=bytes(len(ZIPPED))),
        "its compressed data are damaged",
    ),
    "cut short": (
        zipped(voxels=ZIPPED[:-12], CompressedDataSize=str(len(ZIPPED) - 12)),
        "the file ends before its compressed data do",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_contradiction_is_refused_by_its_name(tmp_path, name):
    changes, what = BAD[name]
    path = tmp_path / "ct.mha"
    path.write_bytes(mha(**changes))
    with pytest.raises(PatientError, match=what) as caught:
        read_volume(path)
    assert caught.value.where == path.name and caught.value.remedy


@pytest.mark.parametrize("name", [n for n in ITK if n != "ElementDataFile"])
def test_a_field_that_comes_twice_is_refused(tmp_path, name):
    path = tmp_path / "ct.mha"
    path.write_bytes(f"{name} = {ITK[name]}\n".encode() + mha())
    with pytest.raises(PatientError, match=f"the header has {name} twice, or under two names"):
        check_volume_header(path)


@pytest.mark.parametrize("name", ["Position", "Origin", "Rotation", "Orientation"])
def test_a_field_under_two_names_is_refused(tmp_path, name):
    path = tmp_path / "ct.mha"
    path.write_bytes(mha(**{name: "1 0 0 0 1 0 0 0 1"}))
    with pytest.raises(PatientError, match=f"the header has {name} twice, or under two names"):
        check_volume_header(path)


@pytest.mark.parametrize("name", ["CT.MHA", "CT.Mha"])
def test_the_ending_may_be_written_in_any_case(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(mha())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_volume(path)), VOXELS)


def test_keys_beyond_grid_and_storage_are_found():
    assert pairs(mha(PatientName="Doe", Comment="x")) == {"PatientName": "Doe", "Comment": "x"}


lengths = st.floats(0.0625, 20)
turns = st.integers(0, 2**32 - 1).map(lambda seed: Rotation.random(rng=seed))


@settings(max_examples=60, deadline=None)
@given(turns, st.tuples(*[lengths] * 3))
def test_any_grid_that_itk_writes_is_read_as_itk_reads_it(tmp_path_factory, turn, spacing):
    path = Path(tmp_path_factory.getbasetemp()) / "any.mha"
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing(spacing)
    image.SetDirection(turn.as_matrix().ravel().tolist())
    sitk.WriteImage(image, str(path))
    found, reference = read_volume(path), sitk.ReadImage(str(path))
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found, get)(), getattr(reference, get)(), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(turns, st.floats(0.15, 30))
def test_any_shear_is_refused_with_its_degrees(turn, degrees):
    lean, angle = np.eye(3), np.radians(degrees)
    lean[1, 2], lean[2, 2] = np.sin(angle), np.cos(angle)
    rows = (turn.as_matrix() @ lean).T
    reported = " ".join(f"{v:.17g}" for v in rows.ravel())
    _, faults = parse(mha(TransformMatrix=reported, AnatomicalOrientation="???"))
    assert f"{degrees:.2f} degrees off by TransformMatrix" in faults[0].what
