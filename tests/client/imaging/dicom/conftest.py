"""Small CT series, RTSTRUCTs and DICOM-SEGs, written by pydicom and highdicom alone."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    generate_uid,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def new_file(path: Path, sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    made.PatientName, made.PatientID = "Secret^Name", "SECRET-ID"
    made.PatientBirthDate, made.PatientSex = "19010203", "O"
    made.StudyDate, made.StudyTime, made.StudyID = "20200102", "", "1"
    made.AccessionNumber, made.ReferringPhysicianName = "", ""
    return made


def change(made: Dataset, changes: dict[str, object]) -> None:
    if "SOPClassUID" in changes:
        made.file_meta.MediaStorageSOPClassUID = changes["SOPClassUID"]
    for tag, value in changes.items():
        if value is None:
            delattr(made, tag)
        else:
            setattr(made, tag, value)


class Series:
    """A CT series in a folder, whose file names and instance numbers run unlike its slices."""

    def __init__(self, folder: Path, orientation: tuple[float, ...] = AXIAL) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.hu = np.random.default_rng(3).integers(-900, 900, (6, 18, 24))
        self.series, self.frame, self.study = generate_uid(), generate_uid(), generate_uid()
        self.rows, self.columns = np.array(orientation[:3]), np.array(orientation[3:])
        self.normal = np.cross(self.rows, self.columns)
        self.origin = np.array([-10.0, -20.0, 30.0])
        self.row_spacing, self.column_spacing, self.distance = 0.9, 0.8, 2.5
        self.instances: list[str] = []
        for k in range(len(self.hu)):
            self.instances.append(self.write(self.slice(k), k))

    def slice(self, k: int) -> Path:
        return self.folder / f"{(k * 5) % 6}.dcm"

    def patient(self, column: float, row: float, k: float) -> np.ndarray:
        """DICOM PS3.3, C.7.6.2.1.1, equation C.7.6.2.1-1."""
        across = self.rows * column * self.column_spacing + self.columns * row * self.row_spacing
        return self.origin + self.normal * k * self.distance + across

    def write(self, path: Path, k: float, **changes: object) -> str:
        """Slice number k, which may lie between or beyond the others."""
        made = new_file(path, CTImageStorage)
        made.StudyInstanceUID, made.SeriesInstanceUID = self.study, self.series
        made.FrameOfReferenceUID, made.PositionReferenceIndicator = self.frame, ""
        made.Modality, made.Manufacturer = "CT", "x"
        made.SeriesNumber, made.InstanceNumber = 1, int(97 - 13 * k) % 31
        made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.ImagePositionPatient = [float(v) for v in self.patient(0, 0, k)]
        made.ImageOrientationPatient = [float(v) for v in (*self.rows, *self.columns)]
        made.PixelSpacing = [self.row_spacing, self.column_spacing]
        made.SliceThickness = 2.5
        made.Rows, made.Columns = self.hu.shape[1:]
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation = 15, 0
        made.RescaleSlope, made.RescaleIntercept = 1, -1024
        made.PixelData = (self.hu[int(k) % 6] + 1024).astype(np.uint16).tobytes()
        change(made, changes)
        made.save_as(path, enforce_file_format=True)
        return str(made.SOPInstanceUID)

    def change(self, k: int, **changes: object) -> None:
        """Other elements in the file of slice k."""
        made = pydicom.dcmread(self.slice(k))
        change(made, changes)
        made.save_as(self.slice(k))

    def contour(self, k: float, corners: object, **changes: object) -> Dataset:
        """A contour with corners (column, row) in voxels on slice k."""
        item, named = Dataset(), Dataset()
        points = [self.patient(*corner, k) for corner in corners]
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints = len(points)
        item.ContourData = [f"{v:.10g}" for v in np.ravel(points)]
        named.ReferencedSOPClassUID = CTImageStorage
        named.ReferencedSOPInstanceUID = self.instances[int(np.clip(k, 0, 5))]
        item.ContourImageSequence = [named]
        change(item, changes)
        return item

    def rtstruct(self, path: Path, rois: dict[str, list[Dataset]], **changes: object) -> Path:
        """An RTSTRUCT with these ROIs; `changes` are those of a reference to the series."""
        made = new_file(path, RTStructureSetStorage)
        made.Modality, made.StructureSetLabel = "RTSTRUCT", "x"
        frame, study, series = Dataset(), Dataset(), Dataset()
        series.SeriesInstanceUID = self.series
        slices = [Dataset() for _ in self.instances]
        for item, uid in zip(slices, self.instances, strict=True):
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
        series.ContourImageSequence = slices
        change(series, changes)
        study.RTReferencedSeriesSequence = [series]
        frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = self.frame, [study]
        made.ReferencedFrameOfReferenceSequence = [frame]
        made.StructureSetROISequence, made.ROIContourSequence = [], []
        for number, (name, contours) in enumerate(rois.items(), start=7):
            roi, drawn = Dataset(), Dataset()
            roi.ROINumber, roi.ROIName = number, name
            roi.ReferencedFrameOfReferenceUID = self.frame
            drawn.ReferencedROINumber, drawn.ContourSequence = number, contours
            made.StructureSetROISequence.append(roi)
            made.ROIContourSequence.append(drawn)
        made.save_as(path, enforce_file_format=True)
        return path

    def seg(self, path: Path, masks: dict[str, np.ndarray], kind: str = "BINARY") -> Path:
        """A DICOM-SEG with these segments (6, 18, 24); empty frames are left out."""
        sources = [pydicom.dcmread(self.slice(k)) for k in range(6)]
        described = [
            highdicom.seg.SegmentDescription(
                number, label, codes.SCT.Tissue, codes.SCT.Neoplasm, "MANUAL"
            )
            for number, label in enumerate(masks, start=1)
        ]
        highdicom.seg.Segmentation(
            sources,
            np.stack(list(masks.values()), axis=-1).astype(np.uint8),
            kind,
            described,
            generate_uid(),
            2,
            generate_uid(),
            1,
            "maker",
            "model",
            "1",
            "1",
        ).save_as(path)
        return path


@pytest.fixture
def make_series():
    return Series


@pytest.fixture
def ct(tmp_path) -> Series:
    return Series(tmp_path / "ct")
