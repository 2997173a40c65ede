"""A prediction as DICOM: a structured report (TID 1500) and the ROI as a segmentation.

Both refer to the CT series that was read and go where the hospital sends them; nothing here sends
anything. Codes that no standard has are of this project's own scheme, 99FEDLNM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceImageForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from client.imaging.dicom.series import survey_series
from client.imaging.geometry import stored_axes
from client.imaging.reading import read_image, read_mask
from client.imaging.source import is_dicom
from client.predict.predicting import RESEARCH
from client.predict.scoring import Prediction, Score
from client.predict.verify import Opened
from common.errors import InputError
from common.models import label_of
from common.utils.versions import software

SCHEME = "99FEDLNM"
PROBABILITY = Code("P", SCHEME, "Predicted probability of the endpoint")
CUTOFF = Code("C", SCHEME, "Cut-off frozen in the training")
RISK = Code("R", SCHEME, "Risk group")
GROUPS = {
    "high": Code("high", SCHEME, "At or above the cut-off"),
    "low": Code("low", SCHEME, "Below the cut-off"),
}
USE = Code("use", SCHEME, "Permitted use")
RESEARCH_ONLY = Code("research", SCHEME, "Research use only, not a medical device")
MAKER, ROI_LABEL = "fedlnm", "ROI of the prediction"
SR_FILE, SEG_FILE = "prediction.sr.dcm", "roi.seg.dcm"
SERIES_SR, SERIES_SEG = 9001, 9002


@dataclass(frozen=True)
class Written:
    """Both files."""

    report: Path
    segmentation: Path


def write_dicom(prediction: Prediction, opened: Opened, folder: Path, when: datetime) -> Written:
    """Write the report and the segmentation of one patient into a folder.

    Raises
    ------
    InputError : the patient's image is not a DICOM series.
    PatientError : image or contour cannot be read.
    """
    case = prediction.case
    if case.image is None or case.mask is None or not (case.image.is_dir() or is_dicom(case.image)):
        raise InputError(
            "no DICOM series to refer to",
            where="--dicom",
            remedy="give the folder of the CT series as --image, with its contour as --mask",
        )
    survey = survey_series(case.image)
    sources = [pydicom.dcmread(one.path, stop_before_pixels=True) for one in survey.slices]
    image = read_image(case.image)
    mask = read_mask(case.mask, image, confirmed=case.confirmed)
    inside = sitk.GetArrayFromImage(stored_axes(image).undo().apply(mask)) > 0
    segmentation = _segmentation(sources, inside, opened, when)
    report = _report(prediction, opened, sources, segmentation, when)
    found = Written(folder / SR_FILE, folder / SEG_FILE)
    segmentation.save_as(found.segmentation)
    report.save_as(found.report)
    for path in (found.report, found.segmentation):
        path.chmod(0o600)
    return found


def _segmentation(
    sources: Sequence[pydicom.Dataset],
    inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    opened: Opened,
    when: datetime,
) -> hd.seg.Segmentation:
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=ROI_LABEL,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_id=ROI_LABEL,
        tracking_uid=hd.UID(),
    )
    return hd.seg.Segmentation(
        source_images=list(sources),
        pixel_array=inside.astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        series_instance_uid=hd.UID(),
        series_number=SERIES_SEG,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=f"{MAKER} predict",
        software_versions=software()["fedlnm"],
        device_serial_number=opened.digest[:16],
        content_description="ROI used by the models",
        series_description="ROI of the prediction, RESEARCH USE ONLY",
        content_date=when.date(),
        content_time=when.time(),
    )


def _report(
    prediction: Prediction,
    opened: Opened,
    sources: Sequence[pydicom.Dataset],
    segmentation: hd.seg.Segmentation,
    when: datetime,
) -> Comprehensive3DSR:
    device = ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=hd.UID(), name=MAKER, model_name=opened.study.name[:60]
        ),
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[_measured(prediction, opened, sources, segmentation)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return Comprehensive3DSR(
        evidence=[*sources, segmentation],
        content=content[0],
        series_number=SERIES_SR,
        series_instance_uid=hd.UID(),
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MAKER,
        series_description="Prediction, RESEARCH USE ONLY",
        is_complete=True,
        is_verified=False,
        content_date=when.date(),
        content_time=when.time(),
    )


def _measured(
    prediction: Prediction,
    opened: Opened,
    sources: Sequence[pydicom.Dataset],
    segmentation: hd.seg.Segmentation,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    known = [score for score in prediction.scores if score.probability is not None]
    measurements = [one for score in known for one in _numbers(score, opened)]
    evaluations = [QualitativeEvaluation(USE, RESEARCH_ONLY)]
    evaluations += [
        QualitativeEvaluation(_of_model(RISK, score), GROUPS[score.group])
        for score in known
        if score.group is not None
    ]
    segment = ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=1,
        source_images=[
            SourceImageForSegmentation(UID(one.SOPClassUID), UID(one.SOPInstanceUID))
            for one in sources
        ],
    )
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=hd.UID(), identifier=ROI_LABEL),
        referenced_segment=segment,
        finding_type=codes.SCT.Neoplasm,
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )


def _numbers(score: Score, opened: Opened) -> list[Measurement]:
    """Return probability and cut-off of a model, each with the identity of the model."""
    if score.probability is None:
        return []
    model = AlgorithmIdentification(
        name=f"{opened.study.name}: {label_of(score.model)}"[:64],
        version=opened.digest[:16],
        parameters=[f"endpoint: {opened.study.outcome}"[:64], RESEARCH[:64]],
    )
    values = ((PROBABILITY, score.probability), (CUTOFF, score.cutoff))
    return [
        Measurement(
            name=_of_model(code, score),
            value=float(value),
            unit=codes.UCUM.NoUnits,
            algorithm_id=model,
        )
        for code, value in values
    ]


def _of_model(code: Code, score: Score) -> Code:
    """Return a code of one model: its value names the model, as several stand side by side."""
    return Code(f"{code.value}-{score.model}"[:16], SCHEME, f"{code.meaning}, {score.model}"[:64])
