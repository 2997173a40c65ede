from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from client.imaging.reading import PatientError, read_image

STS = Path(__file__).parents[4] / "shared" / "data" / "sts"


def write_slice(path: Path, pixels: np.ndarray, z: float, series: str, **changes) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    slice_ = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    slice_.SOPClassUID = CTImageStorage
    slice_.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    slice_.SeriesInstanceUID = slice_.StudyInstanceUID = series
    slice_.Modality = "CT"
    slice_.ImagePositionPatient = [-10, -20, z]
    slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    slice_.PixelSpacing = [0.8, 0.8]
    slice_.SliceThickness = 2.5
    slice_.Rows, slice_.Columns = pixels.shape
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated = slice_.BitsStored = 16
    slice_.HighBit, slice_.PixelRepresentation = 15, 0
    slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1024
    for tag, value in changes.items():
        if value is None:
            delattr(slice_, tag)
        else:
            setattr(slice_, tag, value)
    slice_.PixelData = pixels.astype(np.uint16).tobytes()
    slice_.save_as(path, enforce_file_format=True)


HU = np.random.default_rng(3).integers(-900, 900, (6, 12, 14))


@pytest.fixture
def folder(tmp_path) -> Path:
    series = generate_uid()
    for i in range(6):
        # names in an order that is not that of the slices
        write_slice(tmp_path / f"{(i * 5) % 6}.dcm", HU[i] + 1024, 30 + 2.5 * i, series)
    (tmp_path / "notes.txt").write_text("not a slice")
    return tmp_path


def slice_at(folder: Path, z: float) -> Path:
    for path in folder.glob("*.dcm"):
        if pydicom.dcmread(path).ImagePositionPatient[2] == z:
            return path
    raise AssertionError(z)


def test_reads_one_series_in_hu_in_the_order_of_its_positions(folder):
    image = read_image(folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)
    np.testing.assert_allclose(image.GetSpacing(), (0.8, 0.8, 2.5))
    np.testing.assert_allclose(image.GetOrigin(), (-10, -20, 30))


def test_refuses_several_series(folder):
    write_slice(folder / "other.dcm", HU[0] + 1024, 30, generate_uid())
    with pytest.raises(PatientError, match="2 CT series in one folder -> keep one series a folder"):
        read_image(folder)


def test_refuses_a_folder_without_ct(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(PatientError, match="no CT series in the folder"):
        read_image(tmp_path)


def test_refuses_a_missing_slice(folder):
    slice_at(folder, 37.5).unlink()
    with pytest.raises(PatientError, match=r"missing or unevenly spaced slices: 5\.00 mm before"):
        read_image(folder)


def test_refuses_a_doubled_slice(folder):
    path = slice_at(folder, 37.5)
    (folder / "copy.dcm").write_bytes(path.read_bytes())
    with pytest.raises(PatientError, match="two slices at the same place"):
        read_image(folder)


def test_refuses_missing_rescale_and_turned_slices(folder):
    series = str(pydicom.dcmread(slice_at(folder, 30)).SeriesInstanceUID)
    write_slice(folder / "x.dcm", HU[0], 45.0, series, RescaleSlope=None)
    with pytest.raises(PatientError, match=r"x\.dcm: a CT slice has no RescaleSlope"):
        read_image(folder)
    write_slice(folder / "x.dcm", HU[0], 45.0, series, ImageOrientationPatient=[0, 1, 0, 1, 0, 0])
    with pytest.raises(PatientError, match="not parallel"):
        read_image(folder)


@pytest.mark.skipif(not STS.is_dir(), reason="shared/data/sts is not beside the project")
def test_a_real_series_holds_the_voxels_of_the_same_patients_nifti():
    series = read_image(STS / "dicom" / "STS_002" / "ct")
    nifti = read_image(next(STS.glob("centre_*/images/STS_002.nii.gz")))
    same = sitk.Resample(series, nifti, sitk.Transform(), sitk.sitkLinear, -1000.0)
    difference = np.abs(sitk.GetArrayFromImage(same) - sitk.GetArrayFromImage(nifti))
    assert np.median(difference) < 0.5
