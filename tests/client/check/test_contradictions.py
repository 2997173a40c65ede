"""Volumes whose headers contradict themselves: the check names each, in every format."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.check.look import Job, look

SHAPE = (8, 16, 16)
Damage = Callable[[bytes], bytes]


def packed(form: str, at: int, value: float) -> Damage:
    def damage(content: bytes) -> bytes:
        made = bytearray(content)
        struct.pack_into(f"<{form}", made, at, value)
        return bytes(made)

    return damage


def replaced(old: bytes, new: bytes) -> Damage:
    def damage(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new)

    return damage


FAULTS: dict[str, tuple[str, Damage, str]] = {
    "nifti spacing": (".nii", packed("f", 88, 1.0), "pixdim says 1, 1, 1 mm, the sform 1, 1, 2.5"),
    "nifti pixdim": (".nii", packed("f", 88, 0.0), "pixdim is 1, 1, 0"),
    "nifti offset": (".nii", packed("f", 108, 0.0), "vox_offset is 0"),
    "nifti slope": (".nii", packed("f", 112, float("nan")), "scl_slope is nan"),
    "nifti units": (".nii", packed("B", 123, 3), "xyzt_units says micrometres"),
    "nrrd spacing": (".nrrd", replaced(b"(0,0,2.5)", b"(0,0,0)"), "spacing by space directions"),
    "nrrd units": (
        ".nrrd",
        replaced(b"encoding:", b'space units: "cm" "cm" "cm"\nencoding:'),
        "space units says cm",
    ),
    "nrrd shear": (
        ".nrrd",
        replaced(b"(0,0,2.5)", b"(0,0.6,2.4)"),
        "not at right angles: 14.04 degrees",
    ),
    "mha spacing": (".mha", replaced(b"ElementSpacing", b"ElementSize"), "ElementSpacing is miss"),
    "mha shear": (
        ".mha",
        replaced(b"1 0 0 0 1 0 0 0 1", b"1 0 0 0 1 0 0 0.28 0.96"),
        "not at right angles: 16.26 degrees",
    ),
    "mha scaling": (
        ".mha",
        replaced(b"DimSize", b"ElementToIntensityFunctionSlope = 2\nDimSize"),
        "ElementToIntensityFunctionSlope is 2",
    ),
}


@pytest.mark.parametrize("which", ["ct", "roi"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_header_that_contradicts_itself_is_found(tmp_path: Path, name: str, which: str) -> None:
    ending, damage, what = FAULTS[name]
    values = np.random.default_rng(0).normal(40, 20, SHAPE).round().astype(np.int16)
    inside = np.zeros(SHAPE, dtype=np.uint8)
    inside[2:6, 4:12, 4:12] = 1
    paths = {}
    for role, array in (("ct", values), ("roi", inside)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1, 1, 2.5))
        paths[role] = tmp_path / f"{role}{ending}"
        sitk.WriteImage(image, str(paths[role]))
    assert look(Job("p1", paths["ct"], {"r1": paths["roi"]})).problems == []
    paths[which].write_bytes(damage(paths[which].read_bytes()))
    ((kind, file, reported, remedy),) = look(Job("p1", paths["ct"], {"r1": paths["roi"]})).problems
    assert kind == ("image.unusable" if which == "ct" else "mask.unusable")
    assert file == paths[which].name and what in reported and remedy
