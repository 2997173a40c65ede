"""A prediction as DICOM, read back by other programs than the one that wrote it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from client.imaging.reading import read_image, read_mask
from client.predict.dicom_objects import SEG_FILE, SR_FILE, Written, write_dicom
from client.predict.inputs import Case
from client.predict.scoring import Prediction, Score
from client.predict.verify import Opened
from common.bundle.bundle import Bundle
from common.errors import InputError
from tests import builders

WHEN = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SLICES, ROWS, COLUMNS = 9, 20, 24


def write_series(folder: Path) -> None:
    """A CT of a patient without a name that anybody has."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for z in range(SLICES):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            CTImageStorage,
            generate_uid(),
        )
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID = study, series
        one.FrameOfReferenceUID, one.PositionReferenceIndicator = frame, ""
        one.PatientName, one.PatientID = "Made^Up", "X-1"
        one.PatientBirthDate, one.PatientSex = "", ""
        one.StudyDate, one.StudyTime, one.StudyID, one.AccessionNumber = "20200101", "", "1", ""
        one.ReferringPhysicianName, one.Manufacturer = "", "made"
        one.Modality, one.SeriesNumber, one.InstanceNumber = "CT", 1, z + 1
        one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        one.ImagePositionPatient = [-10.0, -9.0, 2.5 * z]
        one.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        one.PixelSpacing, one.SliceThickness = [0.9, 0.9], 2.5
        one.Rows, one.Columns, one.SamplesPerPixel = ROWS, COLUMNS, 1
        one.PhotometricInterpretation, one.BitsAllocated = "MONOCHROME2", 16
        one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 15, 1
        one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1.0, -1024.0, "HU"
        one.KVP, one.AcquisitionNumber = 120.0, 1
        one.PixelData = rng.integers(900, 1200, (ROWS, COLUMNS)).astype(np.int16).tobytes()
        one.save_as(folder / f"{SLICES - z:03d}.dcm", enforce_file_format=True)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("series")
    write_series(folder / "ct")
    image = read_image(folder / "ct")
    inside = np.zeros((SLICES, ROWS, COLUMNS), dtype=np.uint8)
    inside[2:6, 5:12, 8:15] = 1
    inside[4, 3, 3] = 1
    mask = sitk.GetImageFromArray(inside)
    mask.CopyInformation(image)
    sitk.WriteImage(mask, str(folder / "mask.nii.gz"))
    return Case("X-1", None, folder / "ct", folder / "mask.nii.gz")


def prediction_of(case: Case) -> Prediction:
    scores = (
        Score("radiomics", 0.7312345678901234, 0.41),
        Score("fusion_feature", 0.2, 0.5),
        Score("fusion_decision", 0.6, 0.5),
        Score("clinical", None, 0.5, ("clinical data",)),
    )
    return Prediction(case, scores, (), ())


def opened() -> Opened:
    return Opened(Bundle("", {}, {}, {}, {}, "", {}), builders.study(), "ab" * 32, "", ())


@pytest.fixture(scope="module")
def written(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_dicom(prediction_of(case), opened(), tmp_path_factory.mktemp("out"), WHEN)


def test_the_segmentation_reads_back_voxel_for_voxel(case: Case, written: Written) -> None:
    assert case.image is not None and case.mask is not None
    image = read_image(case.image)
    own = sitk.GetArrayFromImage(read_mask(case.mask, image))
    back = sitk.GetArrayFromImage(read_mask(written.segmentation, image))
    np.testing.assert_array_equal(back, own)


def test_the_report_names_probability_cutoff_model_and_that_it_is_for_research(
    case: Case, written: Written
) -> None:
    report = hd.sr.srread(written.report)
    assert isinstance(report, hd.sr.Comprehensive3DSR)
    (group,) = report.content.get_volumetric_roi_measurement_groups()
    found = {one.name.meaning: one.value for one in group.get_measurements()}
    expected = {
        f"{what}, {score.model}": value
        for score in prediction_of(case).scores
        if score.probability is not None
        for what, value in (
            ("Predicted probability of the endpoint", score.probability),
            ("Cut-off frozen in the training", score.cutoff),
        )
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12)
    said = {one.name.meaning: one.value.meaning for one in group.get_qualitative_evaluations()}
    assert said["Permitted use"] == "Research use only, not a medical device"
    assert said["Risk group, radiomics"] == "At or above the cut-off"
    assert said["Risk group, fusion_feature"] == "Below the cut-off"
    assert "RESEARCH USE ONLY" in report.SeriesDescription
    assert opened().digest[:16] in str(report)


def test_both_refer_to_the_series_and_its_patient(case: Case, written: Written) -> None:
    assert case.image is not None
    source = pydicom.dcmread(next(case.image.glob("*.dcm")))
    for path in (written.report, written.segmentation):
        made = pydicom.dcmread(path)
        assert (made.PatientID, made.StudyInstanceUID) == ("X-1", source.StudyInstanceUID)
        assert path.stat().st_mode & 0o077 == 0
    segmentation = pydicom.dcmread(written.segmentation)
    assert segmentation.FrameOfReferenceUID == source.FrameOfReferenceUID


def test_a_volume_is_no_series_to_refer_to(case: Case, tmp_path: Path) -> None:
    volume = Case("X-1", None, case.mask, case.mask)
    with pytest.raises(InputError, match="no DICOM series"):
        write_dicom(prediction_of(volume), opened(), tmp_path, WHEN)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="SKIPPED: no dicom3tools here")
def test_a_validator_finds_no_error(written: Written) -> None:
    for path in (written.report, written.segmentation):
        done = subprocess.run(
            [str(shutil.which("dciodvfy")), path], capture_output=True, text=True, check=False
        )
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        assert errors == [], f"{path.name}: {errors}"


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[str]:
    """A PACS of its own, for this machine alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "StorageDirectory": str(tmp_path / "storage"),
        "IndexDirectory": str(tmp_path / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    program = subprocess.Popen(
        [str(shutil.which("Orthanc")), str(tmp_path / "orthanc.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}/system", timeout=2).close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        program.terminate()
        program.wait(20)


@pytest.mark.skipif(shutil.which("Orthanc") is None, reason="SKIPPED: no Orthanc here")
def test_a_pacs_takes_both_and_files_them_with_the_series(
    case: Case, written: Written, orthanc: str
) -> None:
    assert case.image is not None
    for path in (*sorted(case.image.glob("*.dcm")), written.report, written.segmentation):
        request = urllib.request.Request(  # noqa: S310
            f"{orthanc}/instances", data=path.read_bytes(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            assert json.load(answer)["Status"] == "Success"
    with urllib.request.urlopen(f"{orthanc}/studies?expand", timeout=20) as answer:  # noqa: S310
        (study,) = json.load(answer)
    assert len(study["Series"]) == 3
    assert (written.report.name, written.segmentation.name) == (SR_FILE, SEG_FILE)
