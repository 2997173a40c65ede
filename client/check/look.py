"""Facts about one patient's image and contours, collected in a worker process."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from scipy import ndimage

from client.check.naming import naming_column, plain_id, reasons
from client.data.cohort import READING_PAIRS
from client.data.cohort_file import NOTHING
from client.imaging.dicom.header import SeriesIdentity, read_header
from client.imaging.dicom.masks import check_mask_header
from client.imaging.dicom.rtstruct import missing_slices
from client.imaging.dicom.series import survey_series
from client.imaging.errors import PatientError
from client.imaging.geometry import roi_box
from client.imaging.headers import metaimage, nrrd
from client.imaging.patient import features_gib
from client.imaging.reading import read_image, read_mask
from client.imaging.source import is_dicom, split_roi
from client.imaging.volumes import ending, first_bytes
from client.imaging.workers import one_thread

# may hold a pseudonym once identity is removed
PSEUDONYMS = ("PatientName", "PatientID", "AccessionNumber")
# identifying fields of the Basic Application Level Confidentiality Profile (PS3.15, table E.1-1)
DIRECT = (
    "PatientBirthDate",
    "PatientBirthName",
    "PatientMotherBirthName",
    "OtherPatientNames",
    "OtherPatientIDs",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientComments",
    "ResponsiblePerson",
    "ReferringPhysicianName",
)
_MARKS = ("PatientIdentityRemoved", "BurnedInAnnotation")
_REMOVED = re.compile(
    r"(?:anon\w*|de-?ident\w*|removed|none|unknown|patient|x+|0+)[\W\d_]*", re.IGNORECASE
)
IDENTIFIER, BURNED_IN = "a field for a person's data", "says that a name is drawn into the image"
# offset and bytes of the text fields of a header, by its length (nifti1.h, nifti2.h)
_NIFTI_TEXTS = {
    348: {
        "db_name": (14, 18),
        "descrip": (148, 80),
        "aux_file": (228, 24),
        "intent_name": (328, 16),
    },
    540: {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16)},
}
_NIFTI_DICOM = 2


def identifying_fields(path: Path, pseudonym: str) -> dict[str, str]:
    """Return names of identifying fields with reasons; empty for none, or an unreadable file.

    Parameters
    ----------
    path : path in cohort.csv: a volume, a folder of a DICOM series, a DICOM file.
    pseudonym : of the patient, which may replace name and number.
    """
    file, _ = split_roi(path)
    if file.is_dir():
        found: dict[str, str] = {}
        for inside in sorted(p for p in file.iterdir() if p.is_file()):
            found |= _dicom(inside, pseudonym)
        return found
    if is_dicom(file):
        return _dicom(file, pseudonym)
    kind = ending(file)
    if kind in (".nii", ".nii.gz"):
        return dict(_nifti(file, pseudonym))
    if kind:
        pairs = nrrd.pairs if kind == ".nrrd" else metaimage.pairs
        return dict(_texts(pairs(first_bytes(file)), pseudonym))
    return {}


def _dicom(path: Path, pseudonym: str) -> dict[str, str]:
    try:
        header = read_header(path, (*PSEUDONYMS, *DIRECT, *_MARKS))
    except PatientError:
        return {}  # the reader of the image will report it
    found = {tag: IDENTIFIER for tag in DIRECT if str(header.get(tag) or "").strip()}
    removed = str(header.get("PatientIdentityRemoved", "")).strip().upper() == "YES"
    for tag in PSEUDONYMS:
        value = str(header.get(tag) or "").strip(" ^")
        if value and not removed and not _REMOVED.fullmatch(value) and not _same(value, pseudonym):
            found[tag] = IDENTIFIER
    if str(header.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        found["BurnedInAnnotation"] = BURNED_IN
    return found


def _nifti(path: Path, pseudonym: str) -> Iterator[tuple[str, str]]:
    start = first_bytes(path)
    order, length = _nifti_layout(start)
    for name, (offset, size) in _NIFTI_TEXTS.get(length, {}).items():
        text = start[offset : offset + size].split(b"\0")[0].decode("latin-1").strip()
        yield from _told(name, text, pseudonym)
    if length and len(start) > length + 12 and start[length]:
        size, code = struct.unpack_from(f"{order}2i", start, length + 4)
        content = start[length + 12 : length + 4 + max(size, 8)]
        if code == _NIFTI_DICOM:
            yield "extension", "a DICOM header"
        else:
            yield from _told("extension", content.decode("latin-1").strip("\0 "), pseudonym)


def _nifti_layout(start: bytes) -> tuple[str, int]:
    """Return byte order and length of the header; 0 where it is none."""
    for order in "<>":
        if len(start) >= 4 and struct.unpack_from(f"{order}i", start)[0] in _NIFTI_TEXTS:
            return order, struct.unpack_from(f"{order}i", start)[0]
    return "<", 0


def _texts(pairs: Mapping[str, str], pseudonym: str) -> Iterator[tuple[str, str]]:
    """Check pairs of key and value of NRRD and MetaImage files."""
    for key, value in pairs.items():
        if (
            value
            and not _same(value, pseudonym)
            and (key.startswith("0010|") or naming_column(key))
        ):
            yield key, IDENTIFIER
        else:
            yield from _told(key, value, pseudonym)


def _told(name: str, text: str, pseudonym: str) -> Iterator[tuple[str, str]]:
    found = reasons(text) if not _same(text, pseudonym) else ()
    if found:
        yield name, " and ".join(found)


def _same(text: str, pseudonym: str) -> bool:
    return plain_id(text) == plain_id(pseudonym)


AIR_HU, SOFT_HU = -500.0, (-200.0, 300.0)
Inside = NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """Files of one patient; `pseudonym` may be in their headers, `confirmed` in the cohort."""

    pseudonym: str
    image: Path
    masks: Mapping[str, Path]
    confirmed: frozenset[str] = NOTHING


@dataclass(frozen=True)
class RegionFacts:
    """Facts about a contour.

    Parameters
    ----------
    volume_cm3 : of all voxels inside.
    median_hu : of the image inside.
    at_border : True if it reaches the edge of the image.
    apart : share of its voxels that lie outside its largest piece.
    gib : memory for its radiomics features.
    skipped : slices, along the patient's length, without it though it continues behind them.
    """

    volume_cm3: float
    median_hu: float
    at_border: bool
    apart: float
    gib: float
    skipped: int = 0


@dataclass(frozen=True)
class ImageFacts:
    """Facts about a volume: voxels and mm along x, y, z; value range; shares of two tissues."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    low: float
    high: float
    air: float
    soft: float


@dataclass
class Look:
    """All facts about one patient.

    Parameters
    ----------
    problems : (kind of finding, file, what, remedy).
    regions : by reading.
    overlaps : Dice coefficient of the existing pairs of readings.
    overruled : readings whose contours are read only because the site confirmed them.
    fields : by file, names of identifying header fields and reasons; never their values.
    passed_over : unread files in the folder of a DICOM series, by kind.
    hints : reasons why slices of the series may be missing.
    differing : number of values of elements that slices of the series should share.
    lossy : number of slices that were compressed with loss.
    """

    image: ImageFacts | None = None
    regions: dict[str, RegionFacts] = field(default_factory=dict)
    overlaps: dict[tuple[str, str], float] = field(default_factory=dict)
    overruled: list[str] = field(default_factory=list)
    fields: dict[str, dict[str, str]] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    hints: tuple[str, ...] = ()
    differing: Mapping[str, int] = field(default_factory=dict)
    lossy: int = 0
    problems: list[tuple[str, str, str, str]] = field(default_factory=list)


def look(job: Job) -> Look:
    """Read everything of one patient."""
    seen = Look()
    with one_thread():
        for path in (job.image, *job.masks.values()):
            fields = identifying_fields(path, job.pseudonym)
            if fields:
                seen.fields[path.name] = fields
        kind, name = "image.unusable", job.image.name
        image = _guarded(seen, kind, name, partial(read_image, job.image))
        if image is None:
            return seen
        seen.image = _guarded(seen, kind, name, partial(image_facts, image))
        if job.image.is_dir() or is_dicom(job.image):
            survey = survey_series(job.image)
            seen.passed_over, seen.hints = survey.passed_over, survey.hints
            seen.differing = survey.differing
            seen.lossy = sum(one.pixels.lossy for one in survey.slices)
        _look_at_masks(seen, job, image)
    return seen


def _look_at_masks(seen: Look, job: Job, image: sitk.Image) -> None:
    inside: dict[str, Inside] = {}
    for reading, path in job.masks.items():
        read = partial(read_mask, path, image, confirmed=job.confirmed)
        mask = _guarded(seen, "mask.unusable", path.name, read)
        if mask is not None:
            if job.confirmed and _is_refused_unconfirmed(path, image):
                seen.overruled.append(reading)
            seen.regions[reading] = region_facts(image, mask)
            inside[reading] = sitk.GetArrayFromImage(mask) > 0
    for first, second in READING_PAIRS:
        if first in inside and second in inside:
            seen.overlaps[first, second] = dice(inside[first], inside[second])


def _is_refused_unconfirmed(mask: Path, image: sitk.Image) -> bool:
    """Return whether a mask can be read only if the site confirms it."""
    path, roi = split_roi(mask)
    if not is_dicom(path):
        return False
    try:
        check_mask_header(path, SeriesIdentity.of(image, path.name), roi)
    except PatientError:
        return True
    return False


def image_facts(image: sitk.Image) -> ImageFacts:
    """Return sizes and grey values of a volume."""
    values = sitk.GetArrayViewFromImage(image)
    low, high = SOFT_HU
    return ImageFacts(
        size=image.GetSize(),
        spacing=image.GetSpacing(),
        low=float(values.min()),
        high=float(values.max()),
        air=float((values < AIR_HU).mean()),
        soft=float(((values > low) & (values < high)).mean()),
    )


def region_facts(image: sitk.Image, mask: sitk.Image) -> RegionFacts:
    """Return position, size and pieces of the region of interest; the mask is not empty."""
    first, last = roi_box(mask)
    box = tuple(slice(a, b + 1) for a, b in zip(first[::-1], last[::-1], strict=True))
    inside = sitk.GetArrayViewFromImage(mask)[box] > 0
    count = int(np.count_nonzero(inside))
    # 26 neighbours: a contour drawn slice by slice may touch at corners alone
    pieces, _ = ndimage.label(inside, structure=np.ones((3, 3, 3)))
    largest = int(np.bincount(pieces[inside])[1:].max())
    end = np.array(mask.GetSize()) - 1
    return RegionFacts(
        volume_cm3=count * float(np.prod(mask.GetSpacing())) / 1000.0,
        median_hu=float(np.median(sitk.GetArrayViewFromImage(image)[box][inside])),
        at_border=bool((first == 0).any() or (last == end).any()),
        apart=1.0 - largest / count,
        gib=features_gib(mask),
        skipped=len(missing_slices(inside)),
    )


def dice(first: Inside, second: Inside) -> float:
    """Return twice the common voxels over the sum of both (Dice 1945); neither is empty."""
    return 2.0 * float(np.count_nonzero(first & second)) / float(first.sum() + second.sum())


def _guarded(seen: Look, kind: str, file: str, action: Callable[[], T]) -> T | None:
    """Run an action; note its failure and return None: one patient never stops the check."""
    try:
        return action()
    except PatientError as error:
        seen.problems.append((kind, error.where or file, error.what, error.remedy))
    except MemoryError:
        remedy = "use a machine with more memory, or check that the volume is not far too large"
        seen.problems.append((kind, file, "not enough memory", remedy))
    except Exception as error:
        # a library may raise anything on such a file
        what = f"could not be processed: {type(error).__name__}: {error}"
        seen.problems.append((kind, file, what, "check the file; it may have an unusual form"))
    return None
