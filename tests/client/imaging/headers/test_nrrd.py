"""NRRD headers written by hand, as the format's description has them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from client.imaging.errors import PatientError
from client.imaging.headers.nrrd import pairs, parse
from client.imaging.volumes import check_volume_header, read_volume

VOXELS = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)

# as 3D Slicer writes it
SLICER = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "6 5 4",
    "space directions": "(0.8,0,0) (0,0.8,0) (0,0,2.5)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(-5,7,11)",
}


def nrrd(voxels: bytes | None = None, end: str = "\n", **changes: str | None) -> bytes:
    """A whole file; a field of `changes` that is None is left out, "_" stands for a blank."""
    fields = SLICER | {name.replace("_", " "): value for name, value in changes.items()}
    lines = ["NRRD0004", "# Complete NRRD file format specification at:"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    stored = VOXELS.tobytes() if voxels is None else voxels
    if fields.get("encoding") in ("gzip", "gz") and voxels is None:
        stored = gzip.compress(stored)
    return end.join([*lines, "", ""]).encode() + stored


GOOD = {
    "3D Slicer": {},
    "gzip": {"encoding": "gzip"},
    "lines that end in CR LF": {"end": "\r\n"},
    "RAS": {"space": "right-anterior-superior"},
    "LAS, short": {"space": "LAS"},
    "no kinds": {"kinds": None},
    "kinds of space": {"kinds": "space space space"},
    "units": {"space_units": '"mm" "mm" "mm"'},
    "no unit": {"space_units": '"" "" ""'},
    "big endian": {"endian": "big", "voxels": VOXELS.astype(">i2").tobytes()},
    "a measurement frame": {"measurement_frame": "(1,0,0) (0,1,0) (0,0,1)"},
    "thicknesses": {"thicknesses": "nan nan 5"},
}


@pytest.mark.parametrize("name", GOOD)
def test_what_writers_in_use_write_is_read_as_itk_reads_it(tmp_path, name):
    path = tmp_path / "ct.nrrd"
    path.write_bytes(nrrd(**GOOD[name]))
    found, reference = read_volume(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), VOXELS)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(reference), VOXELS)
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found, get)(), getattr(reference, get)(), atol=1e-12)


DIRECTIONS = SLICER["space directions"]
BAD = {
    "no space": ({"space": None}, "space is missing: how the axes lie in the patient is not said"),
    "scanner's space": ({"space": "scanner-xyz"}, 'space is "scanner-xyz"'),
    "left-handed space": ({"space": "3D-left-handed"}, 'space is "3D-left-handed"'),
    "no space directions": ({"space_directions": None}, "space directions is missing, not three"),
    "spacings alone": (
        {"space": None, "space_directions": None, "spacings": "0.8 0.8 2.5"},
        r"space directions is missing \(spacings 0\.8 0\.8 2\.5\), not three vectors",
    ),
    "spacings beside directions": (
        {"spacings": "1 1 1"},
        r"space directions are \(0\.8,0,0\) .* and spacings 1 1 1: only one may be given",
    ),
    "axis mins beside directions": ({"axis_mins": "0 0 0"}, "and axis mins 0 0 0: only one"),
    "a direction of zero": (
        {"space_directions": "(0.8,0,0) (0,0,0) (0,0,2.5)"},
        r"the spacing by space directions is 0\.8, 0, 2\.5: every spacing must be above 0",
    ),
    "a direction that is no number": (
        {"space_directions": "(0.8,0,0) (0,nan,0) (0,0,2.5)"},
        "the spacing by space directions is 0.8, nan, 2.5",
    ),
    "an axis without direction": (
        {"space_directions": "(0.8,0,0) (0,0.8,0) none"},
        "space directions is .* not three vectors",
    ),
    "sheared directions": (
        {"space_directions": "(0.8,0,0) (0,0.8,0) (0,0.6470476,2.4148146)"},
        r"not at right angles: 15\.00 degrees off by space directions",
    ),
    "parallel directions": (
        {"space_directions": "(0.8,0,0) (0.8,0,0) (0,0,2.5)"},
        r"not at right angles: 90\.00 degrees off",
    ),
    "cm": ({"space_units": '"cm" "cm" "cm"'}, "space units says cm, not mm"),
    "units that differ": ({"space_units": '"mm" "mm" "um"'}, "space units says um, not mm"),
    "no unit and no mm": (
        {"space_directions": "(0.0008,0,0) (0,0.0008,0) (0,0,0.0025)"},
        "space units states no unit of length, and a spacing of 0.0008",
    ),
    "a misspelt field": ({"spacing": "1 1 1"}, 'a field "spacing", which NRRD does not know'),
    "no origin": ({"space_origin": None}, "space origin is missing, not a point"),
    "an origin that is no number": ({"space_origin": "(nan,0,0)"}, "the origin is nan, 0, 0"),
    "decimal commas": ({"space_origin": "(-5,0,7,0,11,0)"}, "space origin is .*, not a point"),
    "byte skip": ({"byte_skip": "2", "voxels": b"xx" + VOXELS.tobytes()}, "byte skip is 2"),
    "line skip": ({"lineskip": "1", "voxels": b"x\n" + VOXELS.tobytes()}, "line skip is 1"),
    "byte skip from the end": ({"byte_skip": "-1"}, "byte skip is -1"),
    "a detached header": ({"data_file": "ct.raw"}, "a detached header: its voxels are in another"),
    "a detached header, old": ({"datafile": "ct.raw"}, "a detached header"),
    "ascii": ({"encoding": "ascii"}, 'encoding is "ascii", not raw or gzip'),
    "bzip2": ({"encoding": "bzip2"}, 'encoding is "bzip2", not raw or gzip'),
    "no encoding": ({"encoding": None}, "encoding is missing"),
    "no byte order": ({"endian": None}, "endian is missing, neither little nor big"),
    "quantised": ({"old_min": "-1024", "old_max": "3000"}, "the stored values were quantised"),
    "blocks": ({"type": "block"}, 'type is "block", which is not a type of grey values'),
    "a list": ({"kinds": "domain domain list"}, "axis 3 is of the kind list, not of space"),
    "time": ({"kinds": "domain domain time"}, "axis 3 is of the kind time, not of space"),
    "colours": (
        {
            "dimension": "4",
            "sizes": "2 6 5 2",
            "kinds": "vector domain domain domain",
            "space_directions": f"none {DIRECTIONS}",
        },
        "2 values a voxel instead of one",
    ),
    "one slice": (
        {"dimension": "2", "sizes": "30 4", "kinds": "domain domain"},
        r"not 3-D: 2 dimensions \(30 x 4\)",
    ),
    "dimension and sizes": ({"dimension": "4"}, 'dimension is "4", but there are 3 sizes'),
    "kinds and sizes": ({"kinds": "domain domain"}, "kinds names 2 axes, but there are 3 sizes"),
    "a size of zero": ({"sizes": "6 0 4"}, "the size 6 x 0 x 4 holds no voxels"),
    "sizes that are no numbers": ({"sizes": "6 5 4.5"}, 'sizes is "6 5 4.5", not whole numbers'),
    "more voxels than sizes": ({"sizes": "6 5 3"}, "more bytes than voxels: 180"),
    "fewer voxels than sizes": ({"sizes": "6 5 5"}, "truncated, 240 of 300 bytes of voxels"),
    "more voxels than sizes, gzip": (
        {"sizes": "6 5 3", "encoding": "gzip"},
        "more bytes than voxels: 180",
    ),
    "fewer voxels than sizes, gzip": (
        {"sizes": "6 5 5", "encoding": "gzip"},
        "truncated, 240 of 300 bytes of voxels",
    ),
    "cut short, gzip": (
        {"encoding": "gzip", "voxels": gzip.compress(VOXELS.tobytes())[:-20]},
        "the file ends before its compressed data do",
    ),
    "not compressed, gzip": (
        {"encoding": "gzip", "voxels": VOXELS.tobytes()},
        "its compressed data are damaged",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_contradiction_is_refused_by_its_name(tmp_path, name):
    changes, what = BAD[name]
    path = tmp_path / "ct.nrrd"
    path.write_bytes(nrrd(**changes))
    with pytest.raises(PatientError, match=what) as caught:
        read_volume(path)
    assert caught.value.where == path.name and caught.value.remedy


@pytest.mark.parametrize("name", [n for n in SLICER if n != "encoding"])
def test_a_field_that_comes_twice_is_refused(tmp_path, name):
    path = tmp_path / "ct.nrrd"
    path.write_bytes(nrrd().replace(b"encoding:", f"{name}: {SLICER[name]}\nencoding:".encode()))
    with pytest.raises(PatientError, match=f'the header has the field "{name}" twice'):
        check_volume_header(path)


def test_the_ending_may_be_written_in_any_case(tmp_path):
    path = tmp_path / "CT.Nrrd"
    path.write_bytes(nrrd())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_volume(path)), VOXELS)


def test_pairs_of_key_and_value_are_found_and_fields_are_not():
    start = nrrd(content="head of J. Doe").replace(b"encoding:", b"PatientName:=Doe\nencoding:")
    assert pairs(start) == {"PatientName": "Doe", "content": "head of J. Doe"}


SIGNS = {"left-posterior-superior": (1, 1, 1), "RAS": (-1, -1, 1), "LAS": (1, -1, 1)}
lengths = st.floats(0.0625, 20)
turns = st.integers(0, 2**32 - 1).map(lambda seed: Rotation.random(rng=seed))


@settings(max_examples=60, deadline=None)
@given(turns, st.tuples(*[lengths] * 3), st.sampled_from(sorted(SIGNS)))
def test_any_grid_is_read_as_itk_reads_it(tmp_path_factory, turn, spacing, space):
    path = Path(tmp_path_factory.getbasetemp()) / "any.nrrd"
    vectors = (turn.as_matrix() * spacing).T
    reported = " ".join(f"({','.join(f'{v:.17g}' for v in vector)})" for vector in vectors)
    path.write_bytes(nrrd(space=space, space_directions=reported))
    found, reference = read_volume(path), sitk.ReadImage(str(path))
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found, get)(), getattr(reference, get)(), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(turns, st.tuples(*[lengths] * 3), st.floats(0.15, 30))
def test_any_shear_is_refused_with_its_degrees(turn, spacing, degrees):
    lean, angle = np.eye(3), np.radians(degrees)
    lean[1, 2], lean[2, 2] = np.sin(angle), np.cos(angle)
    vectors = (turn.as_matrix() @ lean * spacing).T
    reported = " ".join(f"({','.join(f'{v:.17g}' for v in vector)})" for vector in vectors)
    _, faults = parse(nrrd(space_directions=reported))
    named = re.search(r"(\d+\.\d\d) degrees off by space directions", faults[0].what)
    assert named, faults
    assert float(named[1]) == pytest.approx(degrees, abs=0.005 + 1e-6)  # a half goes either way
