"""Volumes that a hostile party made: bombs are refused in little memory, and no other file read."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from client.imaging import volumes
from client.imaging.errors import PatientError
from client.imaging.volumes import check_volume_header, first_bytes, read_volume
from tests.bombs import MIB, gzip_bomb, peak_of
from tests.client.imaging.headers.test_metaimage import mha
from tests.client.imaging.headers.test_nifti import nifti
from tests.client.imaging.headers.test_nrrd import nrrd

HUGE = (2200, 2200, 2200)  # 10 GB of bytes


def test_ten_megabytes_that_state_and_unpack_to_ten_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    head = nifti(dim=(3, *HUGE, 1, 1, 1, 1), datatype=2, bitpix=8, voxels=b"")
    path.write_bytes(gzip.compress(head) + gzip_bomb())
    assert 9 * MIB < path.stat().st_size < 12 * MIB
    for read in (check_volume_header, read_volume):
        with pytest.raises(PatientError, match="more than the 1073741824 of the largest volume"):
            read(path)
        assert peak_of(lambda read=read: read(path)) < 16 * MIB
    assert len(first_bytes(path)) <= MIB


def test_a_bomb_behind_an_honest_header_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(gzip.compress(nifti()) + gzip_bomb())
    with pytest.raises(PatientError, match="more bytes than voxels"):
        read_volume(path)
    assert peak_of(lambda: read_volume(path)) < 16 * MIB


def test_the_limit_is_what_stops_a_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ct.nii.gz"
    size = (400, 400, 400)
    head = nifti(dim=(3, *size, 1, 1, 1, 1), datatype=2, bitpix=8, voxels=b"")
    path.write_bytes(gzip.compress(head + bytes(64_000_000)))
    assert read_volume(path).GetSize() == size
    assert peak_of(lambda: read_volume(path)) > 64_000_000
    monkeypatch.setattr(volumes, "LARGEST", 63_999_999)
    assert peak_of(lambda: read_volume(path)) < 16 * MIB


def test_voxels_behind_gigabytes_of_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(gzip.compress(nifti(version=2, vox_offset=2**33)) + gzip_bomb())
    with pytest.raises(PatientError, match=r"header of impossible length|offset|vox_offset"):
        read_volume(path)
    assert peak_of(lambda: read_volume(path)) < 16 * MIB


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_compressed_voxels_unpack_no_further_than_the_header_says(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"ct{ending}"
    packed = zlib.compress(bytes(60 * MIB))
    if ending == ".nrrd":
        path.write_bytes(nrrd(gzip.compress(bytes(60 * MIB)), encoding="gzip"))
    else:
        fields = {"CompressedData": "True", "CompressedDataSize": str(len(packed))}
        path.write_bytes(mha(packed, **fields))
    with pytest.raises(PatientError, match="more bytes than voxels"):
        read_volume(path)
    assert peak_of(lambda: read_volume(path)) < 16 * MIB


@pytest.mark.parametrize("named", ["other.raw", "LIST", "ct%d.raw 1 4 1", "/etc/passwd"])
@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_a_header_that_names_another_file_is_refused_and_says_how_to_join_them(
    tmp_path: Path, ending: str, named: str
) -> None:
    path = tmp_path / f"ct{ending}"
    (tmp_path / "other.raw").write_bytes(np.zeros(120, dtype=np.int16).tobytes())
    made = nrrd(b"", data_file=named) if ending == ".nrrd" else mha(ElementDataFile=named)
    path.write_bytes(made)
    with pytest.raises(PatientError, match=r"detached header.*join the two.*WriteImage"):
        read_volume(path)
