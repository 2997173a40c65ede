"""What one patient's image and contours are like, as a process of its own can find out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from scipy import ndimage

from client.check.headers import identifying_fields
from client.data.cohort import READING_PAIRS
from client.data.confirmed import NOTHING
from client.imaging.dicom.identity import SeriesIdentity
from client.imaging.dicom.masks import check_mask_header
from client.imaging.dicom.roi import missing_slices
from client.imaging.dicom.series import survey_series
from client.imaging.errors import PatientError
from client.imaging.geometry import roi_box
from client.imaging.patient import features_gib
from client.imaging.reading import read_image, read_mask
from client.imaging.source import is_dicom, split_roi
from client.imaging.threads import one_thread

AIR_HU, SOFT_HU = -500.0, (-200.0, 300.0)
Inside = NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """Files of one patient; `pseudonym` may stand in their headers, `confirmed` in the cohort."""

    pseudonym: str
    image: Path
    masks: Mapping[str, Path]
    confirmed: frozenset[str] = NOTHING


@dataclass(frozen=True)
class RegionFacts:
    """A contour.

    Parameters
    ----------
    volume_cm3 : of all voxels inside.
    median_hu : of the image inside.
    at_border : whether it reaches the edge of the image.
    apart : share of its voxels that lie outside its largest piece.
    gib : memory that its radiomics features take.
    skipped : slices, along the patient's length, without it though it goes on behind them.
    """

    volume_cm3: float
    median_hu: float
    at_border: bool
    apart: float
    gib: float
    skipped: int = 0


@dataclass(frozen=True)
class ImageFacts:
    """A volume: voxels and mm along x, y, z; lowest and highest value; shares of two tissues."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    low: float
    high: float
    air: float
    soft: float


@dataclass
class Look:
    """All that was seen of one patient.

    Parameters
    ----------
    problems : (kind of finding, file, what, remedy).
    regions : by reading.
    overlaps : Dice coefficient of the pairs of readings that are there.
    overruled : readings whose contours are read only because the site confirmed them.
    fields : by file, names of header fields that tell of somebody, and why; never their values.
    passed_over : files in the folder of a DICOM series that are not read, by what they are.
    hints : why slices of the series may be missing.
    differing : elements that slices of a series should have in common; how many values they have.
    """

    image: ImageFacts | None = None
    regions: dict[str, RegionFacts] = field(default_factory=dict)
    overlaps: dict[tuple[str, str], float] = field(default_factory=dict)
    overruled: list[str] = field(default_factory=list)
    fields: dict[str, dict[str, str]] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    hints: tuple[str, ...] = ()
    differing: Mapping[str, int] = field(default_factory=dict)
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
    """Tell if a mask can be read only on the site's word."""
    path, roi = split_roi(mask)
    if not is_dicom(path):
        return False
    try:
        check_mask_header(path, SeriesIdentity.of(image, path.name), roi)
    except PatientError:
        return True
    return False


def image_facts(image: sitk.Image) -> ImageFacts:
    """Sizes and grey values of a volume."""
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
    """Place, size and pieces of the region of interest; the mask is not empty."""
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
    """Twice the common voxels over the sum of both (Dice 1945); both regions are not empty."""
    return 2.0 * float(np.count_nonzero(first & second)) / float(first.sum() + second.sum())


def _guarded(seen: Look, kind: str, file: str, action: Callable[[], T]) -> T | None:
    """What `action` gives, or None and one more problem: one patient never stops the check."""
    try:
        return action()
    except PatientError as error:
        seen.problems.append((kind, error.where or file, error.what, error.remedy))
    except MemoryError:
        remedy = "use a machine with more memory, or check that the volume is not far too large"
        seen.problems.append((kind, file, "not enough memory", remedy))
    except Exception as error:
        # whatever a library makes of the file
        what = f"could not be processed: {type(error).__name__}: {error}"
        seen.problems.append((kind, file, what, "check the file; it may have an unusual form"))
    return None
