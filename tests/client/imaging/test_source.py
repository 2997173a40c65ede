from __future__ import annotations

from pathlib import Path

import pytest

from client.imaging.source import image_files, is_dicom, split_roi


@pytest.mark.parametrize(
    ("text", "file", "roi"),
    [
        ("rt.dcm", "rt.dcm", None),
        ("rt.dcm#GTV Mass", "rt.dcm", "GTV Mass"),
        ("rt.dcm#node/left #2", "rt.dcm", "node/left #2"),
        ("rt.dcm# GTV ", "rt.dcm", "GTV"),
        ("case #7.dcm", "case #7.dcm", None),
        ("case #7.dcm#GTV", "case #7.dcm", "GTV"),
        ("none.dcm#GTV", "none.dcm#GTV", None),
        ("folder#GTV", "folder#GTV", None),
    ],
)
def test_what_follows_the_name_of_a_file_is_an_roi(tmp_path, text, file, roi):
    (tmp_path / "folder").mkdir()
    for name in ("rt.dcm", "case #7.dcm"):
        (tmp_path / name).touch()
    assert split_roi(tmp_path / text) == (tmp_path / file, roi)


def test_dicom_is_known_by_its_first_bytes_or_its_ending(tmp_path):
    contents = {"IM0001": bytes(128) + b"DICM..", "a.dcm": b"", "b.IMA": b"x", "c.nii": b"x"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = {name for name in contents if is_dicom(tmp_path / name)}
    assert found == {"IM0001", "a.dcm", "b.IMA"}
    assert not is_dicom(tmp_path) and not is_dicom(tmp_path / "none.dcm")


def test_one_slice_stands_for_its_folder_too(tmp_path):
    slice_, volume = tmp_path / "1.dcm", Path("ct.nii.gz")
    slice_.touch()
    assert image_files(slice_) == [tmp_path, slice_]
    assert image_files(volume) == [volume] and image_files(tmp_path) == [tmp_path]
