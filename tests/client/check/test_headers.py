"""Header fields that tell of a person, in every format, named without their values."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from client.check.look import BURNED_IN, IDENTIFIER, identifying_fields


def dicom(path: Path, **fields: str) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(str(path), pydicom.Dataset(), file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID = CTImageStorage
    for name, value in fields.items():
        setattr(header, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def volume(path: Path, **texts: str) -> Path:
    image = sitk.GetImageFromArray(np.zeros((4, 4, 4), dtype=np.int16))
    for key, value in texts.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


def test_fields_of_a_person_are_named_and_values_kept_back(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", PatientName="Doe^Jane", PatientBirthDate="19580312")
    found = identifying_fields(path, "p1")
    assert found == {"PatientName": IDENTIFIER, "PatientBirthDate": IDENTIFIER}
    assert "Doe" not in str(found)


@pytest.mark.parametrize("name", ["p1", "P001", "ANONYMOUS", "anon^17", "", "000", "xxx"])
def test_a_pseudonym_may_stand_where_the_name_stood(tmp_path: Path, name: str) -> None:
    assert identifying_fields(dicom(tmp_path / "a.dcm", PatientName=name), "p1") == {}


def test_a_surname_that_begins_like_a_mark_is_still_a_name(tmp_path: Path) -> None:
    assert identifying_fields(dicom(tmp_path / "a.dcm", PatientName="Nonenmacher^A"), "p1")


def test_a_header_whose_identity_was_removed_may_keep_other_pseudonyms(tmp_path: Path) -> None:
    fields = {"PatientID": "TCIA-7", "AccessionNumber": "88", "PatientIdentityRemoved": "YES"}
    assert identifying_fields(dicom(tmp_path / "a.dcm", **fields), "p1") == {}


def test_a_name_drawn_into_the_image_is_said(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", BurnedInAnnotation="YES")
    assert identifying_fields(path, "p1") == {"BurnedInAnnotation": BURNED_IN}


def test_every_slice_of_a_folder_is_looked_at(tmp_path: Path) -> None:
    dicom(tmp_path / "ct" / "1.dcm")
    dicom(tmp_path / "ct" / "2.dcm", OtherPatientIDs="4711")
    assert set(identifying_fields(tmp_path / "ct", "p1")) == {"OtherPatientIDs"}


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_free_text_of_a_nifti_header_is_read(tmp_path: Path, name: str) -> None:
    path = volume(tmp_path / "plain.nii")
    content = bytearray(path.read_bytes())
    content[148:158] = b"Doe, Jane\0"
    content[228:240] = b"north-7.nii\0"
    content = bytearray(gzip.compress(content)) if name.endswith("gz") else content
    (tmp_path / name).write_bytes(content)
    assert identifying_fields(tmp_path / name, "north-7") == {"descrip": "a person's name"}


def test_the_old_name_field_and_a_dicom_extension_of_a_nifti_are_found(tmp_path: Path) -> None:
    path = volume(tmp_path / "ct.nii")
    content = bytearray(path.read_bytes())
    content[14:23] = b"DOE^JANE\0"
    content[348] = 1
    content[352:352] = struct.pack("<2i", 16, 2) + b"\0" * 8
    path.write_bytes(bytes(content))
    assert identifying_fields(path, "p1") == {
        "db_name": "a person's name",
        "extension": "a DICOM header",
    }


def test_keys_and_values_of_an_nrrd_are_read(tmp_path: Path) -> None:
    path = volume(tmp_path / "ct.nrrd", PatientName="x", site="neck", scanned="2021-03-12")
    assert identifying_fields(path, "p1") == {"PatientName": IDENTIFIER, "scanned": "a date"}


@pytest.mark.parametrize("name", ["ct.MHA", "CT.Mha", "ct.mha"])
def test_keys_of_a_meta_image_are_read_whatever_the_case_of_its_ending(
    tmp_path: Path, name: str
) -> None:
    content = volume(tmp_path / "plain.mha").read_bytes()
    (tmp_path / name).write_bytes(b"PatientName = x\nComment = 2021-03-12\n" + content)
    assert identifying_fields(tmp_path / name, "p1") == {
        "PatientName": IDENTIFIER,
        "Comment": "a date",
    }


def test_free_text_of_a_nifti_2_header_is_read(tmp_path: Path) -> None:
    content = bytearray(560)
    content[:12] = struct.pack("<i8s", 540, b"n+2\0\r\n\x1a\n")
    content[240:250] = b"Doe, Jane\0"
    content[540] = 1
    content[544:552] = struct.pack("<2i", 16, 2)
    (tmp_path / "ct.nii").write_bytes(bytes(content))
    assert identifying_fields(tmp_path / "ct.nii", "p1") == {
        "descrip": "a person's name",
        "extension": "a DICOM header",
    }


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.dcm", "missing.nii"])
def test_a_file_that_cannot_be_read_is_left_to_the_reader(tmp_path: Path, name: str) -> None:
    if "missing" not in name:
        (tmp_path / name).write_bytes(b"\x1f\x8bno image")
    assert identifying_fields(tmp_path / name, "p1") == {}
