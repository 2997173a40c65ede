"""NIfTI headers written by hand, field by field, as nifti1.h and nifti2.h lay them out."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from client.imaging.errors import PatientError
from client.imaging.headers.nifti import parse
from client.imaging.volumes import check_volume_header, read_volume

VOXELS = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
NAN, INF = float("nan"), float("inf")

# dcm2niix: axes towards left, front and head (LAS), both forms from the scanner, mm and seconds
LAS = {
    "dim": (3, 6, 5, 4, 1, 1, 1, 1),
    "intent_code": 0,
    "datatype": 4,
    "bitpix": 16,
    "pixdim": (-1, 0.8, 0.8, 2.5, 0, 0, 0, 0),
    "vox_offset": None,
    "scl_slope": 1,
    "scl_inter": 0,
    "xyzt_units": 10,
    "qform_code": 1,
    "sform_code": 1,
    "quatern": (0, 1, 0),
    "qoffset": (5, -7, 11),
    "srow": ((-0.8, 0, 0, 5), (0, 0.8, 0, -7), (0, 0, 2.5, 11)),
    "magic": None,
    "extension": b"",
    "flag": None,
    "voxels": None,
}


def nifti(version: int = 1, order: str = "<", **changes) -> bytes:
    """A whole file; `changes` are to the fields of `LAS`."""
    f = LAS | changes
    first, magic = (352, b"n+1\0") if version == 1 else (544, b"n+2\0\r\n\x1a\n")
    header = bytearray(first)

    def put(form: str, at: int, *values) -> None:
        struct.pack_into(order + form, header, at, *values)

    offset = first + len(f["extension"]) if f["vox_offset"] is None else f["vox_offset"]
    rows = np.ravel(f["srow"]).tolist()
    if version == 1:
        put("i", 0, 348)
        put("8h", 40, *f["dim"])
        put("3h", 68, f["intent_code"], f["datatype"], f["bitpix"])
        put("8f", 76, *f["pixdim"])
        put("3f", 108, offset, f["scl_slope"], f["scl_inter"])
        put("B", 123, f["xyzt_units"])
        put("2h", 252, f["qform_code"], f["sform_code"])
        put("6f", 256, *f["quatern"], *f["qoffset"])
        put("12f", 280, *rows)
        put("4s", 344, f["magic"] or magic)
    else:
        put("i8s2h8q", 0, 540, f["magic"] or magic, f["datatype"], f["bitpix"], *f["dim"])
        put("8d", 104, *f["pixdim"])
        put("q2d", 168, offset, f["scl_slope"], f["scl_inter"])
        put("2i", 344, f["qform_code"], f["sform_code"])
        put("6d", 352, *f["quatern"], *f["qoffset"])
        put("12d", 400, *rows)
        put("2i", 500, f["xyzt_units"], f["intent_code"])
    header[first - 4] = bool(f["extension"]) if f["flag"] is None else f["flag"]
    voxels = f["voxels"]
    if voxels is None:
        voxels = VOXELS.astype(f"{order}i2").tobytes()
    return bytes(header) + f["extension"] + voxels


def extension(size: int, order: str = "<", stated: int | None = None) -> bytes:
    head = struct.pack(f"{order}2i", size if stated is None else stated, 6)
    return head + bytes(size - 8)


GOOD = {
    "dcm2niix": {},
    "big endian": {"order": ">"},
    "qform alone": {"sform_code": 0, "srow": np.zeros((3, 4))},
    "sform alone": {"qform_code": 0, "quatern": (0, 0, 0), "qoffset": (0, 0, 0)},
    "nibabel": {"qform_code": 0, "sform_code": 2, "pixdim": (1, 0.8, 0.8, 2.5, 1, 1, 1, 1)},
    "aligned to the scanner's": {"qform_code": 1, "sform_code": 2},
    "no unit": {"xyzt_units": 0},
    "no scaling": {"scl_slope": 0},
    "a fourth axis of length 1": {"dim": (4, 6, 5, 4, 1, 1, 1, 1)},
    "unused sizes of zero": {"dim": (3, 6, 5, 4, 0, 0, 0, 0)},
    "an extension": {"extension": extension(32)},
    "a gap": {"vox_offset": 368, "extension": bytes(16), "flag": 0},
    "a label": {"intent_code": 1002},
}


@pytest.mark.parametrize("name", GOOD)
def test_what_writers_in_use_write_is_read_as_itk_reads_it(tmp_path, name):
    path = tmp_path / "ct.nii"
    path.write_bytes(nifti(**GOOD[name]))
    found, reference = read_volume(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), VOXELS)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(reference), VOXELS)
    assert_same_grid(found, reference)


def assert_same_grid(found: sitk.Image, reference: sitk.Image) -> None:
    np.testing.assert_allclose(found.GetSpacing(), reference.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(found.GetOrigin(), reference.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(found.GetDirection(), reference.GetDirection(), atol=1e-3)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", GOOD)
def test_nifti_2_is_read_like_nifti_1(tmp_path, name, order):
    changes = dict(GOOD[name])
    if name == "a gap":
        changes["vox_offset"] = 560
    if name == "an extension":
        changes["extension"] = extension(32, order)
    paths = tmp_path / "1.nii", tmp_path / "2.nii"
    paths[0].write_bytes(nifti(1, **GOOD[name]))
    paths[1].write_bytes(nifti(2, **{**changes, "order": order}))
    one, two = (read_volume(path) for path in paths)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(two))
    assert_same_grid(two, one)


BAD = {
    "pixdim and sform": (
        {"pixdim": (-1, 0.8, 0.8, 1.0, 0, 0, 0, 0)},
        r"pixdim says 0\.8, 0\.8, 1 mm, the sform 0\.8, 0\.8, 2\.5 mm \(0\.64 and 1\.6 mm3",
    ),
    "pixdim of zero": ({"pixdim": (-1, 0.8, 0, 2.5, 0, 0, 0, 0)}, "pixdim is 0.8, 0, 2.5"),
    "negative pixdim": ({"pixdim": (-1, 0.8, 0.8, -2.5, 0, 0, 0, 0)}, "pixdim is 0.8, 0.8, -2.5"),
    "pixdim that is no number": ({"pixdim": (-1, NAN, 0.8, 2.5, 0, 0, 0, 0)}, "pixdim is nan"),
    "infinite pixdim": ({"pixdim": (-1, 0.8, INF, 2.5, 0, 0, 0, 0)}, "pixdim is 0.8, inf"),
    "sform column of zero": (
        {"srow": ((0, 0, 0, 5), (0, 0.8, 0, -7), (0, 0, 2.5, 11))},
        r"the sform 0, 0\.8, 2\.5 mm",
    ),
    "sform that is no number": (
        {"srow": ((NAN, 0, 0, 5), (0, 0.8, 0, -7), (0, 0, 2.5, 11))},
        "the sform holds numbers that are not finite",
    ),
    "sheared sform": (
        {
            "srow": ((-0.8, 0, 0, 5), (0, 0.8, 0.6470476, -7), (0, 0, 2.4148146, 11)),
            "qform_code": 0,
        },
        r"not at right angles: 15\.00 degrees off by the sform",
    ),
    "no orientation": ({"qform_code": 0, "sform_code": 0}, "qform_code and sform_code are 0"),
    "unknown code": ({"qform_code": 9}, "qform_code is 9"),
    "qform and sform turned": (
        {"quatern": (0, 0, 0)},
        r"qform \(code 1\) and sform \(code 1\) turn the volume differently, by 180 degrees",
    ),
    "qform and sform mirrored": (
        {"pixdim": (1, 0.8, 0.8, 2.5, 0, 0, 0, 0)},
        "turn the volume differently",
    ),
    "qform and sform elsewhere": (
        {"qoffset": (5, -7, 21)},
        r"the qform puts the first voxel at -5, 7, 21 mm \(LPS\), the sform at -5, 7, 11",
    ),
    "qfac": ({"pixdim": (0.5, 0.8, 0.8, 2.5, 0, 0, 0, 0)}, r"pixdim\[0\] \(qfac\) is 0\.5"),
    "quaternion": ({"quatern": (0.9, 0.9, 0)}, r"the quaternion of the qform \(0\.9, 0\.9, 0\)"),
    "quaternion that is no number": ({"quatern": (NAN, 0, 0)}, "the quaternion or offset"),
    "vox_offset of zero": ({"vox_offset": 0}, "vox_offset is 0"),
    "vox_offset in the header": ({"vox_offset": 348}, "vox_offset is 348"),
    "vox_offset beyond the voxels": ({"vox_offset": 354}, "vox_offset is 354, and from byte 352"),
    "vox_offset beyond the file": ({"vox_offset": 9999}, "vox_offset is 9999, and from byte 352"),
    "vox_offset in front of an end that is missing": (
        {"vox_offset": 384, "extension": bytes(32), "flag": 0, "voxels": VOXELS.tobytes()[:-2]},
        "truncated, 238 of 240 bytes of voxels",
    ),
    "vox_offset before an extension's end": (
        {"vox_offset": 352, "extension": extension(32)},
        "more bytes than voxels",
    ),
    "extension longer than its place": (
        {"extension": extension(32, stated=64)},
        r"an extension of 64 bytes at byte 352 does not end before vox_offset \(384\)",
    ),
    "vox_offset behind the first voxels": (
        {"vox_offset": 356, "voxels": VOXELS.tobytes() + bytes(4)},
        "vox_offset is 356, and from byte 352 to there lies what is no extension",
    ),
    "extension without length": ({"extension": extension(32, stated=0)}, "extension of 0 bytes"),
    "slope of zero": (
        {"scl_slope": 0, "scl_inter": -1024},
        "scl_slope is 0 and scl_inter is -1024: a slope of 0 means no scaling",
    ),
    "slope that is no number": ({"scl_slope": NAN}, "scl_slope is nan and scl_inter is 0"),
    "infinite intercept": ({"scl_inter": INF}, "scl_inter is inf: both must be finite"),
    "metres": ({"xyzt_units": 1}, "xyzt_units says metres, not mm -> export the volume in mm"),
    "micrometres": ({"xyzt_units": 11}, "xyzt_units says micrometres, not mm"),
    "unknown unit": ({"xyzt_units": 5}, "xyzt_units says code 5, not mm"),
    "no unit and no mm": (
        {
            "xyzt_units": 0,
            "pixdim": (-1, 800, 800, 2500, 0, 0, 0, 0),
            "srow": ((-800, 0, 0, 5), (0, 800, 0, -7), (0, 0, 2500, 11)),
        },
        "xyzt_units states no unit of length, and a spacing of 800, 800, 2500",
    ),
    "several volumes": (
        {"dim": (4, 6, 5, 2, 2, 1, 1, 1)},
        r"not 3-D: 4 dimensions \(6 x 5 x 2 x 2\)",
    ),
    "one slice": ({"dim": (2, 30, 4, 1, 1, 1, 1, 1)}, r"not 3-D: 2 dimensions \(30 x 4\)"),
    "a size of zero": ({"dim": (3, 6, 0, 4, 1, 1, 1, 1)}, "the size 6 x 0 x 4 holds no voxels"),
    "no dimensions": ({"dim": (0, 6, 5, 4, 1, 1, 1, 1)}, r"dim\[0\] is 0"),
    "vectors": ({"intent_code": 1007}, "intent_code 1007 says that the voxels are parts of"),
    "colours": ({"datatype": 128, "bitpix": 24}, "3 values a voxel instead of one"),
    "unknown datatype": ({"datatype": 1, "bitpix": 1}, "datatype 1 is not a type of grey values"),
    "bitpix": ({"bitpix": 8}, "bitpix says 8 bits a voxel, datatype 4 has 16"),
    "a pair of files": ({"magic": b"ni1\0"}, r"its voxels are in an \.img file -> save it as one"),
    "ANALYZE": ({"magic": b"\0\0\0\0"}, "an ANALYZE header does not say where left and right"),
    "more voxels than sizes": ({"dim": (3, 6, 5, 3, 1, 1, 1, 1)}, "more bytes than voxels: 180"),
    "fewer voxels than sizes": ({"dim": (3, 6, 5, 5, 1, 1, 1, 1)}, "truncated, 240 of 300 bytes"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_contradiction_is_refused_by_its_name(tmp_path, name, packed):
    changes, what = BAD[name]
    path = tmp_path / ("ct.nii.gz" if packed else "ct.nii")
    content = nifti(**changes)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(PatientError, match=what) as caught:
        read_volume(path)
    assert caught.value.where == path.name and caught.value.remedy


@pytest.mark.parametrize("name", [name for name in BAD if "vox_offset" not in name])
def test_nifti_2_is_refused_for_the_same_reasons(tmp_path, name):
    changes, what = BAD[name]
    path = tmp_path / "ct.nii"
    if name == "extension longer than its place":
        what = "an extension of 64 bytes at byte 544"
    if name in ("a pair of files", "ANALYZE"):
        changes = {"magic": changes["magic"][:4] + bytes(4)}
    if "magic" in changes and name == "a pair of files":
        changes = {"magic": b"ni2\0\r\n\x1a\n"}
    path.write_bytes(nifti(2, **changes))
    with pytest.raises(PatientError, match=what):
        read_volume(path)


@pytest.mark.parametrize(
    "name", ["pixdim and sform", "vox_offset of zero", "more voxels than sizes"]
)
def test_the_header_alone_tells_without_reading_voxels(tmp_path, name):
    path = tmp_path / "ct.nii"
    path.write_bytes(nifti(**BAD[name][0]))
    with pytest.raises(PatientError, match=BAD[name][1]):
        check_volume_header(path)


def test_sizes_that_no_compressed_file_could_hold_are_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(gzip.compress(nifti(dim=(3, 30000, 30000, 30000, 1, 1, 1, 1))))
    with pytest.raises(PatientError, match=r"truncated, \d+ bytes cannot hold 54000000000000 of"):
        check_volume_header(path)


def test_all_faults_are_told_at_once(tmp_path):
    path = tmp_path / "ct.nii"
    path.write_bytes(nifti(xyzt_units=1, scl_slope=0, scl_inter=5, vox_offset=0))
    with pytest.raises(PatientError) as caught:
        check_volume_header(path)
    assert all(name in caught.value.what for name in ("xyzt_units", "scl_slope", "vox_offset"))


@pytest.mark.parametrize("name", ["CT.Nii", "CT.NII", "ct.Nii.Gz", "CT.NII.GZ", "ct.nii.GZ"])
def test_the_ending_may_be_written_in_any_case(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(nifti()) if name.lower().endswith("gz") else nifti())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_volume(path)), VOXELS)


def test_slope_and_intercept_are_those_of_itk(tmp_path):
    path = tmp_path / "ct.nii"
    path.write_bytes(nifti(scl_slope=1.7, scl_inter=-1024.3))
    reference = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(sitk.GetArrayFromImage(read_volume(path)), reference, rtol=1e-6)


lengths = st.floats(0.0625, 20, width=32)
places = st.floats(-2000, 2000, width=32)
turns = st.integers(0, 2**32 - 1).map(lambda seed: Rotation.random(rng=seed))


def forms(turn: Rotation, spacing, place, qfac: int) -> dict[str, object]:
    """Quaternion, sform and pixdim of one and the same grid."""
    x, y, z, _ = turn.as_quat(canonical=True)
    axes = turn.as_matrix() * (np.array(spacing) * (1, 1, qfac))
    return {
        "pixdim": (qfac, *spacing, 0, 0, 0, 0),
        "quatern": (x, y, z),
        "qoffset": place,
        "srow": np.column_stack([axes, place]),
    }


@settings(max_examples=60, deadline=None)
@given(turns, st.tuples(*[lengths] * 3), st.tuples(*[places] * 3), st.sampled_from([1, -1]))
def test_any_grid_stated_in_both_forms_is_read_as_itk_reads_it(
    tmp_path_factory, turn, spacing, place, qfac
):
    path = Path(tmp_path_factory.getbasetemp()) / "any.nii"
    path.write_bytes(nifti(**forms(turn, spacing, place, qfac)))
    assert_same_grid(read_volume(path), sitk.ReadImage(str(path)))


@settings(max_examples=60, deadline=None)
@given(
    turns,
    st.tuples(*[lengths] * 3),
    st.integers(0, 2),
    st.floats(0.2, 5).filter(lambda f: abs(f - 1) > 1e-3),
)
def test_any_length_that_the_sform_contradicts_is_refused(turn, spacing, axis, factor):
    fields = forms(turn, spacing, (0, 0, 0), 1)
    other = list(spacing)
    other[axis] *= factor
    fields["pixdim"] = (1, *other, 0, 0, 0, 0)
    header, faults = parse(nifti(**fields))
    assert header is None and any("pixdim says" in fault.what for fault in faults)


@settings(max_examples=60, deadline=None)
@given(turns, st.tuples(*[lengths] * 3), st.floats(0.15, 30), st.permutations(range(3)))
def test_any_shear_is_refused_with_its_degrees(turn, spacing, degrees, axes):
    lean = np.eye(3)
    angle = np.radians(degrees)
    lean[axes[0], axes[1]], lean[axes[1], axes[1]] = np.sin(angle), np.cos(angle)
    rows = turn.as_matrix() @ lean * np.array(spacing)
    fields = {
        "qform_code": 0,
        "pixdim": (1, *spacing, 0, 0, 0, 0),
        "srow": np.column_stack([rows, np.zeros(3)]),
    }
    _, faults = parse(nifti(**fields))
    reported = re.search(r"([\d.]+) degrees off by the sform", faults[0].what)
    assert reported and float(reported[1]) == pytest.approx(degrees, abs=0.02)
