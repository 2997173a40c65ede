"""Image work on one patient, for worker processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.data.cohort_file import NOTHING
from client.imaging.cache import ContentCache
from client.imaging.crops import crop2d, crop3d
from client.imaging.errors import PatientError
from client.imaging.geometry import roi_box
from client.imaging.preprocess import preprocess
from client.imaging.radiomics import Engine
from client.imaging.radiomics.extraction import extract_roi
from client.imaging.reading import read_image, read_mask
from client.imaging.source import image_files
from client.imaging.volumes import read_volume_header
from client.imaging.workers import one_thread
from common.errors import StudyError
from common.study.model import ImagingSettings, RadiomicsSettings

MAIN_READING = "r1"
_GIB = 2.0**30
_PROCESS_GIB = 0.3
_ENGINE_GIB = 0.36
_BYTES_A_VOXEL = 16.0
"""Reading, checking and windowing a volume: the file's own type, float32 and its masks."""


@dataclass(frozen=True)
class Work:
    """Work left for one patient, absent from the cache.

    `crops` is the key for storing the crops, `features` the keys by reading; `window` is that of
    the features, None = all of HU; `confirmed` are findings that the hospital overruled.
    """

    image: Path
    masks: Mapping[str, Path]
    crops: str | None
    features: Mapping[str, str]
    imaging: ImagingSettings | None
    radiomics: RadiomicsSettings | None
    cache: Path
    window: ImagingSettings | None = None
    confirmed: frozenset[str] = NOTHING
    engine: Engine = "fast"


@dataclass
class Done:
    """Result of the work on one patient.

    `stored` are the keys now in the cache, `feature_gib` the memory that each reading's features
    will take, `problems` triples of file, what and remedy.
    """

    stored: list[str] = field(default_factory=list)
    feature_gib: dict[str, float] = field(default_factory=dict)
    problems: list[tuple[str, str, str]] = field(default_factory=list)


def reading_gib(image: Path) -> float:
    """Estimate the memory to read a volume and make its crops, from its header alone."""
    folder = image_files(image)[0]
    if folder.is_dir():
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) / 2
        return _PROCESS_GIB + size * _BYTES_A_VOXEL / _GIB
    try:
        shape = read_volume_header(image).size
    except PatientError:
        return _PROCESS_GIB  # the reader will report the fault
    return _PROCESS_GIB + float(np.prod(shape)) * _BYTES_A_VOXEL / _GIB


def features_gib(mask: sitk.Image, engine: Engine = "fast") -> float:
    """Estimate the memory to extract one ROI's features, from the size of its box of 1 mm voxels.

    Fitted to tumours of 3 to 2000 cm3, a tenth to a third on the safe side (80 cm3 0.40 GB,
    1000 cm3 0.55, 2000 cm3 0.72). LBP-3D of the untouched library adds 4.5 kB per voxel of the ROI
    and more for the box (80 cm3 0.58 GB, 818 cm3 3.73).
    """
    low, high = roi_box(mask)
    spacing = np.array(mask.GetSpacing())
    box = ((high - low + 1) * spacing + 20).prod()
    whole = float(np.prod(mask.GetSize())) * _BYTES_A_VOXEL
    if engine == "fast":
        return _ENGINE_GIB + float(box * 80 + whole) / _GIB
    roi = np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * spacing.prod()
    return _PROCESS_GIB + float(roi * 4500 + box * 200 + whole) / _GIB


def look_and_crop(work: Work) -> Done:
    """Read and check the image and its masks, and store the crops if they are missing."""
    done = Done()
    with one_thread():
        image = _guarded(done, work.image.name, partial(read_image, work.image))
        if image is None:
            return done
        for reading, path in work.masks.items():
            if reading in work.features or (reading == MAIN_READING and work.crops):
                _guarded(done, path.name, partial(_look, work, image, reading, done))
    return done


def _look(work: Work, image: sitk.Image, reading: str, done: Done) -> bool:
    mask = read_mask(work.masks[reading], image, confirmed=work.confirmed)
    if reading in work.features:
        done.feature_gib[reading] = features_gib(mask, engine=work.engine)
    if reading == MAIN_READING and work.crops and work.imaging:
        near, roi = preprocess(image, mask, work.imaging)
        arrays = {
            "crop3d": crop3d(near, roi, work.imaging),
            "crop2d": crop2d(near, roi, work.imaging),
        }
        ContentCache(work.cache).put(work.crops, arrays)
        done.stored.append(work.crops)
    return True


def extract_missing(work: Work) -> Done:
    """Extract and store the features of the readings that `work.features` names."""
    done = Done()
    with one_thread():
        image = _guarded(done, work.image.name, partial(read_image, work.image))
        for reading in work.features if image is not None else ():
            name = work.masks[reading].name
            _guarded(done, name, partial(_extract, work, image, reading, done))
    return done


def _extract(work: Work, image: sitk.Image, reading: str, done: Done) -> bool:
    if work.radiomics is None:
        raise ValueError("features asked for without radiomics settings")
    path, wanted = work.masks[reading], work.radiomics
    mask = read_mask(path, image, confirmed=work.confirmed)
    names, values = extract_roi(
        image,
        mask,
        wanted.settings,
        wanted.expected_features,
        where=path.name,
        window=work.window,
        engine=work.engine,
    )
    # names as bytes: numpy would store four bytes per letter, each as long as the longest name
    text = np.frombuffer("\n".join(names).encode(), dtype=np.uint8)
    ContentCache(work.cache).put(work.features[reading], {"names": text, "values": values})
    done.stored.append(work.features[reading])
    return True


def _guarded(done: Done, file: str, action: Callable[[], object]) -> sitk.Image | None:
    """Run an action; note its failure and return None, but raise the site's own faults."""
    try:
        return action()
    except PatientError as error:
        done.problems.append((error.where or file, error.what, error.remedy))
    except StudyError:
        raise
    except MemoryError:
        remedy = "let fewer patients run side by side, or use a machine with more memory"
        done.problems.append((file, "not enough memory", remedy))
    except Exception as error:
        # one patient never stops the site, whatever a library raises on a file
        what = f"could not be processed: {type(error).__name__}: {error}"
        done.problems.append((file, what, "check the file; it may have an unusual form"))
    return None
