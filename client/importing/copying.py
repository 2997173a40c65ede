"""Copy one patient's CT series and ROI, de-identified, as far as the study reads them.

Every slice stays, as resampled grids are laid over the whole series. Voxels farther from the ROI
than any feature, crop or network input reaches are overwritten by air: faces, and whatever was
drawn into the pixels. The copy is read back: its mask, its grid, and every voxel that counts must
be those of the original, bit by bit.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes

from client.data.cohort_file import NOTHING
from client.imaging.dicom.header import conforming, read_whole
from client.imaging.dicom.pixels import PixelDescription, read_stored
from client.imaging.dicom.series import SeriesSurvey, survey_series
from client.imaging.errors import PatientError
from client.imaging.geometry import stored_axes
from client.imaging.patient import MAIN_READING
from client.imaging.preprocess import source_box
from client.imaging.radiomics import extraction
from client.imaging.reading import read_image, read_mask
from client.importing.deidentify import ROI, Deidentifier
from client.importing.pairing import Pair
from client.importing.pseudonyms import Pseudonyms
from common.study.model import Study
from common.utils.durable import make_folder

AIR_HU = -1000.0
LEAST_KEPT = 0.05
"""Least share of voxels that stay: a check of units needs some tissue to look at."""
_MORE = 8
IMAGE, MASK = "ct", "roi.dcm"
"""Folder of the slices and file of the ROI, in the folder of a patient."""
_PART, _OLD = ".part-", ".old-"


def mask_file(reading: str) -> str:
    """Return the name of the file of a reading's ROI."""
    return MASK if reading == MAIN_READING else f"roi_{reading}.dcm"


Keep = NDArray[np.bool_]


@dataclass(frozen=True)
class Copied:
    """A finished copy.

    Parameters
    ----------
    kept : share of voxels that were not overwritten.
    scanner : manufacturer and model.
    """

    kept: float
    scanner: str


@dataclass(frozen=True)
class Drawn:
    """The ROI of one reading, and the object that it was read from."""

    pair: Pair
    mask: sitk.Image
    contours: FileDataset


@dataclass(frozen=True)
class Original:
    """A patient's objects as they were read."""

    survey: SeriesSurvey
    image: sitk.Image
    readings: Mapping[str, Drawn]


def copy_patient(
    pairs: Mapping[str, Pair],
    pseudonym: str,
    names: Pseudonyms,
    study: Study,
    folder: Path,
    *,
    confirmed: frozenset[str] = NOTHING,
) -> Copied:
    """Write `IMAGE` and the masks of a patient into a new folder.

    Parameters
    ----------
    pairs : by reading, all on one series.
    confirmed : findings that the hospital confirmed (`client.data.cohort_file`).

    Raises
    ------
    PatientError : the series or the ROI cannot be read, or the copy does not read the same.
    """
    with tempfile.TemporaryDirectory(prefix="fedlnm-") as place:
        original = _read(pairs, Path(place), confirmed)
        masks = [one.mask for one in original.readings.values()]
        keep = kept_voxels(masks, original.survey, study)
        patient = pairs[MAIN_READING].series.slices[0].patient
        person = Deidentifier(names, pseudonym, patient)
        sources = _write_slices(original, keep, person, folder / IMAGE)
        for reading, drawn in original.readings.items():
            if drawn.pair.contours.is_contours:
                _write_contours(drawn.contours, person, folder / mask_file(reading))
            else:
                _write_segment(drawn, original.image, sources, names, folder / mask_file(reading))
        _check_same(original, keep, folder, confirmed)
    words = (str(sources[0].get(tag) or "") for tag in ("Manufacturer", "ManufacturerModelName"))
    return Copied(float(keep.mean()), " ".join(words).strip())


def _read(pairs: Mapping[str, Pair], place: Path, confirmed: frozenset[str]) -> Original:
    """Read series and ROIs where they lie, by links, whatever lies beside them."""
    (place / IMAGE).mkdir()
    given: dict[str, Path] = {}
    for number, one in enumerate(pairs[MAIN_READING].series.slices):
        link = place / IMAGE / f"{number:05d}.dcm"
        link.symlink_to(one.path.resolve())
        given[link.name] = one.path
    with _named_as_given(given):
        survey = survey_series(place / IMAGE)
        image = read_image(place / IMAGE)
        readings: dict[str, Drawn] = {}
        for reading, pair in pairs.items():
            contours = _isolated(pair, place / mask_file(reading))
            path = Path(f"{place / mask_file(reading)}#{ROI}")
            readings[reading] = Drawn(pair, read_mask(path, image, confirmed=confirmed), contours)
    return Original(survey, image, readings)


@contextmanager
def _named_as_given(given: Mapping[str, Path]) -> Iterator[None]:
    """Name files in an error as the export does: by their folder and name, not by their link."""
    try:
        yield
    except PatientError as error:
        texts = [error.what, error.where, error.remedy]
        for link, path in given.items():
            texts = [text.replace(link, f"{path.parent.name}/{path.name}") for text in texts]
        raise PatientError(texts[0], where=texts[1], remedy=texts[2]) from None


def _isolated(pair: Pair, place: Path) -> FileDataset:
    """Write a file of contours in which the ROI has the fixed name, and return it."""
    path = pair.contours.stored.path
    with conforming(path.name):
        contours = read_whole(path)
        if pair.contours.is_contours:
            _only_roi(contours, pair.roi)
        else:
            _only_segment(contours, pair.roi)
        if pair.by_frame:
            _name_series(contours, pair)
        contours.save_as(place)
    return contours


def _only_roi(read: Dataset, number: int) -> None:
    """Keep one ROI of an RTSTRUCT, under the fixed name."""
    for sequence, key in (
        ("StructureSetROISequence", "ROINumber"),
        ("ROIContourSequence", "ReferencedROINumber"),
        ("RTROIObservationsSequence", "ReferencedROINumber"),
    ):
        items = [item for item in read.get(sequence) or () if int(item.get(key, -1)) == number]
        setattr(read, sequence, items)
    read.StructureSetROISequence[0].ROIName = ROI


def _only_segment(read: Dataset, number: int) -> None:
    """Name the segment that is meant; the others stay until the mask alone is written."""
    for item in read.SegmentSequence:
        item.SegmentLabel = (
            ROI if int(item.SegmentNumber) == number else f"no. {item.SegmentNumber}"
        )


def _name_series(read: Dataset, pair: Pair) -> None:
    """Write the series that was found by its frame of reference into contours that name none."""
    series = Dataset()
    series.SeriesInstanceUID = pair.series.uid
    references = []
    for one in pair.series.slices:
        reference = Dataset()
        reference.ReferencedSOPClassUID = pydicom.uid.CTImageStorage
        reference.ReferencedSOPInstanceUID = one.instance
        references.append(reference)
    if not pair.contours.is_contours:
        series.ReferencedInstanceSequence = references
        read.ReferencedSeriesSequence = [series]
        return
    study, frame = Dataset(), Dataset()
    series.ContourImageSequence = references
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = pair.series.slices[0].study
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = pair.series.slices[0].frame
    frame.RTReferencedStudySequence = [study]
    read.ReferencedFrameOfReferenceSequence = [frame]


def kept_voxels(masks: Sequence[sitk.Image], survey: SeriesSurvey, study: Study) -> Keep:
    """Return the voxels that the study can read, in the order of the slices (z, y, x).

    The box is that of the spline behind crops and features; a series whose slices are rescaled
    differently keeps it in all slices, as neighbours are compared when they are read.
    """
    size = np.array(masks[0].GetSize())
    boxes = [source_box(mask, study.imaging) for mask in masks]
    boxes += [extraction.source_box(mask, study.radiomics.settings) for mask in masks]
    first = np.min([box[0] for box in boxes], axis=0).clip(0)
    last = np.minimum(np.max([box[1] for box in boxes], axis=0), size - 1)
    inside = np.zeros(size[::-1], dtype=np.uint8)
    while not inside.any() or inside.mean() < LEAST_KEPT:
        inside[tuple(slice(a, b + 1) for a, b in zip(first[::-1], last[::-1], strict=True))] = 1
        first, last = (first - _MORE).clip(0), np.minimum(last + _MORE, size - 1)
    box = sitk.GetImageFromArray(inside)
    box.CopyInformation(masks[0])
    keep: Keep = sitk.GetArrayFromImage(stored_axes(masks[0]).undo().apply(box)) > 0
    rescaled = {(one.pixels.slope, one.pixels.intercept) for one in survey.slices}
    if len(rescaled) > 1:
        keep = np.broadcast_to(keep.any(axis=0), keep.shape)
    return keep


def _write_slices(
    original: Original, keep: Keep, person: Deidentifier, folder: Path
) -> list[FileDataset]:
    """Write the slices; return them without pixels."""
    folder.mkdir(parents=True)
    written = []
    for number, (one, own) in enumerate(zip(original.survey.slices, keep, strict=True)):
        stored = read_stored(one.path, one.pixels)
        stored = np.where(own, stored, _air(one.pixels))
        with conforming(one.path.name):
            made = person.clean(read_whole(one.path))
            kind = f"<{'i' if one.pixels.signed else 'u'}{one.pixels.allocated // 8}"
            data = stored.astype(kind).tobytes()
            made.add_new("PixelData", "OW" if one.pixels.allocated > 8 else "OB", data)
            if len(data) % 2:
                made.PixelData += b"\0"
            if one.pixels.lossy:
                made.LossyImageCompression = "01"
            path = folder / f"{number:04d}.dcm"
            made.save_as(path, enforce_file_format=True)
            path.chmod(0o600)
            del made.PixelData
        written.append(made)
    return written


def _air(pixels: PixelDescription) -> int:
    """Return the stored value nearest to air."""
    low = -(1 << pixels.stored - 1) if pixels.signed else 0
    high = low + (1 << pixels.stored) - 1
    return int(np.clip(round((AIR_HU - pixels.intercept) / pixels.slope), low, high))


def _write_contours(read: FileDataset, person: Deidentifier, path: Path) -> None:
    with conforming(path.name):
        person.clean(read).save_as(path, enforce_file_format=True)
    path.chmod(0o600)


def _write_segment(
    drawn: Drawn, image: sitk.Image, sources: Sequence[Dataset], names: Pseudonyms, path: Path
) -> None:
    """Write the mask anew, so that nothing of the original segmentation but its shape is kept."""
    inside = sitk.GetArrayFromImage(stored_axes(image).undo().apply(drawn.mask)) > 0
    description = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=ROI,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type="MANUAL",
    )
    made = highdicom.seg.Segmentation(
        source_images=list(sources),
        pixel_array=inside.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[description],
        series_instance_uid=names.uid(str(drawn.contours.SeriesInstanceUID)),
        series_number=1,
        sop_instance_uid=names.uid(str(drawn.contours.SOPInstanceUID)),
        instance_number=1,
        manufacturer="fedlnm",
        manufacturer_model_name="fedlnm import",
        software_versions="1",
        device_serial_number="0",
    )
    made.save_as(path)
    path.chmod(0o600)


def _check_same(original: Original, keep: Keep, folder: Path, confirmed: frozenset[str]) -> None:
    """Refuse a copy that does not read as the original does."""
    image = read_image(folder / IMAGE)
    masks = {
        reading: read_mask(folder / mask_file(reading), image, confirmed=confirmed)
        for reading in original.readings
    }

    def values(volume: sitk.Image) -> NDArray[np.float32]:
        found: NDArray[np.float32]
        found = sitk.GetArrayFromImage(stored_axes(original.image).undo().apply(volume))
        return found

    grids = [
        (one.GetSize(), one.GetSpacing(), one.GetOrigin(), one.GetDirection())
        for one in (original.image, image)
    ]
    if (
        grids[0] != grids[1]
        or not np.array_equal(values(original.image)[keep], values(image)[keep])
        or not all(
            np.array_equal(values(drawn.mask), values(masks[reading]))
            for reading, drawn in original.readings.items()
        )
    ):
        raise PatientError(
            "the de-identified copy does not read as the original does",
            remedy="report it: this is an error of the program",
        )


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a new folder that takes the place of another one once it is complete."""
    part = folder.with_name(f"{_PART}{folder.name}")
    make_folder(part)
    try:
        yield part
        if folder.exists():
            folder.rename(folder.with_name(f"{_OLD}{folder.name}"))
        part.rename(folder)
    finally:
        clear_staged(folder.parent, folder.name)


def clear_staged(images: Path, name: str = "*") -> None:
    """Remove what an import has left that was interrupted, and put copies back that it moved."""
    for part in images.glob(f"{_PART}{name}"):
        shutil.rmtree(part, ignore_errors=True)
    for old in images.glob(f"{_OLD}{name}"):
        folder = old.with_name(old.name.removeprefix(_OLD))
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)
