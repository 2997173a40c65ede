"""Remove from a CT slice or RTSTRUCT everything that identifies (PS3.15, annex E).

Three rules, the strictest wins: elements that no reader of this project or module of the standard
needs are deleted; what is left is treated by the Basic Application Level Confidentiality Profile
(table E.1-1, from dicom-anonymizer) at every depth; and texts that pass both are emptied if they
hold a name, number or date that the object gives for the person. Dates move by the person's own
number of days (Retain Longitudinal Temporal Information With Modified Dates Option).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from functools import cache

import pydicom
from dicomanonymizer.simpledicomanonymizer import initialize_actions
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from client.importing.pseudonyms import Pseudonyms

EDITION = "dicomfields_2026c"
"""Edition of table E.1-1."""
ROI = "ROI"
"""Name of the one ROI that is kept: names in use tell of people and diagnoses."""
METHOD = "fedlnm import: PS3.15 basic profile, modified dates, needed elements only"

_COMMON = """
SpecificCharacterSet SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality
Manufacturer ManufacturerModelName SoftwareVersions SeriesNumber InstanceNumber FrameOfReferenceUID
StudyDate SeriesDate ContentDate StudyTime PositionReferenceIndicator PatientName PatientID
PatientBirthDate PatientSex AccessionNumber ReferringPhysicianName StudyID
"""
_CT = """
ImageType AcquisitionDate AcquisitionNumber PatientPosition ImagePositionPatient
ImageOrientationPatient SliceLocation SliceThickness SpacingBetweenSlices PixelSpacing
ImagesInAcquisition ScanOptions KVP DataCollectionDiameter ReconstructionDiameter
DistanceSourceToDetector DistanceSourceToPatient GantryDetectorTilt TableHeight RotationDirection
ExposureTime XRayTubeCurrent Exposure FilterType GeneratorPower FocalSpots ConvolutionKernel
SingleCollimationWidth TotalCollimationWidth SpiralPitchFactor BodyPartExamined BurnedInAnnotation
SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns PixelAspectRatio BitsAllocated
BitsStored HighBit PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit RescaleIntercept
RescaleSlope RescaleType WindowCenter WindowWidth LossyImageCompression LossyImageCompressionRatio
LossyImageCompressionMethod PixelData
"""
_CONTOURS = """
StructureSetLabel StructureSetDate StructureSetTime ReferencedFrameOfReferenceSequence
RTReferencedStudySequence RTReferencedSeriesSequence ContourImageSequence ReferencedSOPClassUID
ReferencedSOPInstanceUID StructureSetROISequence ROINumber ReferencedFrameOfReferenceUID ROIName
ROIGenerationAlgorithm ROIContourSequence ReferencedROINumber ROIDisplayColor ContourSequence
ContourNumber ContourGeometricType NumberOfContourPoints ContourData ContourOffsetVector
ContourSlabThickness RTROIObservationsSequence ObservationNumber RTROIInterpretedType ROIInterpreter
OperatorsName
"""
_MOVED = frozenset({"StudyDate", "SeriesDate", "ContentDate", "AcquisitionDate"})
_EMPTIED = frozenset(
    {
        *("PatientBirthDate", "StudyTime", "StructureSetTime", "StructureSetDate"),
        "PositionReferenceIndicator",
    }
)
_NUMBER, _CODE = re.compile(r"[-+0-9.eE ]*"), re.compile(r"[A-Z0-9_ ]*")
_LEAST_NAME, _LEAST_ID = 3, 4
_IDS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "InstitutionName")


@cache
def _profile() -> dict[tuple[int, ...], Callable[[Dataset, tuple[int, int]], None]]:
    actions: dict[tuple[int, ...], Callable[[Dataset, tuple[int, int]], None]]
    actions = initialize_actions(EDITION)
    return actions


def identifying_texts(read: Dataset) -> frozenset[str]:
    """Return names, numbers and dates that an object gives for the person, in lower case.

    At any depth: parts of persons' names, ids, accession number, institution, and dates.
    """
    found: set[str] = set()
    for element in _readable(read):
        values = element.value if element.VM > 1 else [element.value]
        for value in values:
            text = str(value or "").strip().casefold()
            if element.VR == "PN":
                found.update(re.split(r"[\W\d_]+", text))
            elif element.VR in ("DA", "DT"):
                found.add(text[:8])
            elif element.keyword in _IDS and len(text) >= _LEAST_ID:
                found.add(text)
    return frozenset(text for text in found if len(text) >= _LEAST_NAME)


def _readable(part: Dataset) -> Iterator[DataElement]:
    """Yield all elements at any depth but sequences, without those that cannot be read."""
    for tag in list(part.keys()):
        element = _element(part, tag)
        if element is not None and element.VR != "SQ":
            yield element
        for item in element.value if element is not None and element.VR == "SQ" else ():
            yield from _readable(item)


def _element(part: Dataset, tag: BaseTag) -> DataElement | None:
    """Return an element; None where its value is against the standard."""
    try:
        element = part[tag]
        return element if element.value is None or element.VM >= 0 else None
    except Exception:  # pydicom may raise anything
        return None


class Deidentifier:
    """De-identification of one person's objects.

    Parameters
    ----------
    pseudonym : written as name and id.
    patient : original Patient ID, from which the shift of dates follows.
    """

    def __init__(self, names: Pseudonyms, pseudonym: str, patient: str) -> None:
        self._names, self._pseudonym = names, pseudonym
        self._back = timedelta(days=names.days(patient))

    def clean(self, read: FileDataset) -> FileDataset:
        """Return a new object with nothing that identifies; the original is used up.

        Raises
        ------
        Exception : any error of pydicom on an object against the standard.
        """
        contours = read.SOPClassUID == RTStructureSetStorage
        kept = frozenset((_COMMON + (_CONTOURS if contours else _CT)).split())
        known = identifying_texts(read)
        self._clean(read, kept, known)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = read.SOPClassUID
        meta.MediaStorageSOPInstanceUID = read.SOPInstanceUID
        made = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
        for element in read:
            made.add(element)
        made.PatientName, made.PatientID = f"{self._pseudonym}^", self._pseudonym
        made.PatientIdentityRemoved, made.DeidentificationMethod = "YES", METHOD[:64]
        made.DeidentificationMethodCodeSequence = [
            _code("113100", "Basic Application Confidentiality Profile"),
            _code("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
        ]
        made.LongitudinalTemporalInformationModified = "MODIFIED"
        return made

    def _clean(self, part: Dataset, kept: frozenset[str], known: frozenset[str]) -> None:
        for tag in list(part.keys()):
            keyword = keyword_for_tag(tag)
            if keyword not in kept or not self._treat(part, tag, keyword, kept, known):
                del part[tag]

    def _treat(
        self,
        part: Dataset,
        tag: BaseTag,
        keyword: str,
        kept: frozenset[str],
        known: frozenset[str],
    ) -> bool:
        """Treat an element that may stay; return False if it may not."""
        element = _element(part, tag)
        if element is None or element.VR not in dictionary_VR(tag).split(" or "):
            return False
        values = [element.value] if element.VM < 2 else list(element.value)
        if element.VR == "SQ":
            return self._sequence(element, kept, known)
        if element.VR == "UI":
            moved = [self._names.uid(str(value)) for value in values if value]
            element.value = moved if len(moved) > 1 else "".join(moved)
        elif keyword in _EMPTIED:
            element.value = ""
        elif keyword in _MOVED:
            element.value = self._moved(str(element.value or ""))
        elif keyword == "ROIName":
            element.value = ROI
        elif action := _profile().get((tag.group, tag.element)):
            action(part, (tag.group, tag.element))
        elif not _harmless(element, values, known):
            element.value = ""
        return True

    def _sequence(self, element: DataElement, kept: frozenset[str], known: frozenset[str]) -> bool:
        if (element.tag.group, element.tag.element) in _profile():
            return False
        for item in element.value:
            self._clean(item, kept, known)
        element.value = Sequence([Dataset(item) for item in element.value])
        return True

    def _moved(self, text: str) -> str:
        """Return a date moved back; empty where it is none."""
        try:
            day = date(int(text[:4]), int(text[4:6]), int(text[6:8])) - self._back
        except (ValueError, OverflowError):
            return ""
        return day.strftime("%Y%m%d")


def _harmless(element: DataElement, values: Iterable[object], known: frozenset[str]) -> bool:
    """Return whether the values are of their kind and hold nothing known of the person."""
    pattern = {"DS": _NUMBER, "IS": _NUMBER, "CS": _CODE}.get(element.VR)
    for value in values:
        if isinstance(value, bytes | int | float) and pattern is None:
            continue
        text = str(getattr(value, "original_string", value) if value is not None else "").strip()
        if pattern is not None and not pattern.fullmatch(text):
            return False
        plain = text.casefold()
        exact = element.VR in ("DS", "IS")
        if plain in known or (not exact and any(one in plain for one in known)):
            return False
    return True


def _code(value: str, meaning: str) -> Dataset:
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
