"""Crops and features of a site's patients: made once, kept on disk, loaded on demand."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from client.data.cohort_file import NOTHING
from client.imaging.cache import CODE_VERSION, CROPS_VERSION, ContentCache
from client.imaging.errors import PatientError
from client.imaging.radiomics import Engine
from client.imaging.source import KnownFiles, image_files, split_roi
from client.imaging.workers import BoundedPool, Killed, Task
from common.errors import StudyError
from common.presets import settings_text
from common.study.model import ImagingSettings, RadiomicsSettings

if TYPE_CHECKING:
    from client.imaging.patient import Done, Work

MAIN_READING = "r1"
Found = TypeVar("Found")
Progress = Callable[[int, int, str], None]
LOOK_VERSION = 1
"""Version, raised whenever the same headers would be judged differently."""

_LIBRARIES = (
    "SimpleITK",
    "numpy",
    "scipy",
    "PyWavelets",
    "pyradiomics-bhklab",
    "trimesh",
    "numba",
)


@dataclass(frozen=True)
class PatientJob:
    """Files of one patient.

    Parameters
    ----------
    image : volume, or folder of a DICOM series, or a file of it.
    masks : "r1" (the main mask) and, where they exist, "r1_repeat", "r2" and "r2_repeat"; volume,
        RTSTRUCT or DICOM-SEG, the latter two with "#" and the ROI's name where there are several.
    confirmed : findings that the hospital has checked and confirmed.
    """

    patient_id: str
    image: Path
    masks: Mapping[str, Path]
    confirmed: frozenset[str] = NOTHING


@dataclass(frozen=True)
class PatientProblem:
    """Reason why a patient cannot be used; `file` is a name without its folder.

    `kind` distinguishes headers of image and mask; later problems all belong to the image.
    """

    patient_id: str
    file: str
    what: str
    remedy: str
    kind: Literal["image", "mask"] = "image"

    def __str__(self) -> str:
        return f"{self.patient_id}: {self.file}: {self.what} -> {self.remedy}"


@dataclass(frozen=True)
class Preparation:
    """Cache keys of the crops and features of the prepared patients.

    Parameters
    ----------
    crop_keys : by patient.
    feature_keys : by reading, then by patient; a reading is missing for absent patients.
    problems : by patient in the order of the jobs; patients without an entry have none.
    """

    cache: ContentCache
    imaging: ImagingSettings | None
    radiomics: RadiomicsSettings | None
    crop_keys: Mapping[str, str]
    feature_keys: Mapping[str, Mapping[str, str]]
    problems: tuple[PatientProblem, ...]

    def files_key(self, image: Path, mask: Path) -> str:
        """Return the digest of the files of a contour and its image, whatever the settings."""
        file, roi = split_roi(mask)
        return self.cache.key_of([*image_files(image), file], {"roi": roi})

    def features(
        self, reading: str, patients: Sequence[str]
    ) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Return names, and values (patients, features) with NaN rows where a reading is missing.

        Raises
        ------
        StudyError : an entry has gone from the cache; patients have different features.
        """
        if self.radiomics is None:
            raise StudyError("no radiomics features were prepared", where="preparation")
        keys = self.feature_keys.get(reading, {})
        rows = {p: self._entry(keys[p]) for p in patients if p in keys}
        texts = {row["names"].tobytes() for row in rows.values()}
        if len(texts) > 1:
            raise StudyError(
                "patients have different features",
                where="cache",
                remedy="delete the site's cache folder and prepare the patients again",
            )
        names = _names(texts.pop()) if texts else self._known_names()
        missing = np.full(len(names), np.nan)
        values = [rows[p]["values"] if p in rows else missing for p in patients]
        return names, np.array(values, dtype=np.float64).reshape(len(patients), len(names))

    def crops3d(self, patients: Sequence[str]) -> list[NDArray[np.float32]]:
        """Map each patient's bounding cube from the cache, (S, S, S) in [0, 1], axes z, y, x.

        Raises
        ------
        StudyError : a patient without crops, or an entry has gone from the cache.
        """
        return [self._crops(patient, "crop3d") for patient in patients]

    def crops2d(self, patients: Sequence[str]) -> list[NDArray[np.float32]]:
        """Map each patient's axial patches, (slices, S, S) in [0, 1]; slices differ by patient.

        Raises
        ------
        StudyError : as `crops3d`.
        """
        return [self._crops(patient, "crop2d") for patient in patients]

    def _crops(self, patient: str, name: str) -> NDArray[np.float32]:
        if self.imaging is None:
            raise StudyError("no crops were prepared", where="preparation")
        if patient not in self.crop_keys:
            raise StudyError("no crops of this patient", where=patient, remedy="see its problem")
        key = self.crop_keys[patient]
        array = self.cache.map(key, name) if self.cache.holds(key) else None
        return self._there(array)

    def _entry(self, key: str) -> dict[str, NDArray[Any]]:
        return self._there(self.cache.get(key))

    @staticmethod
    def _there(found: Found | None) -> Found:
        if found is None:
            raise StudyError(
                "an entry has gone from the cache or is damaged",
                where="cache",
                remedy="prepare the patients again; what is left will not be made twice",
            )
        return found

    def _known_names(self) -> tuple[str, ...]:
        for keys in self.feature_keys.values():
            for key in keys.values():
                return _names(self._entry(key)["names"].tobytes())
        if self.radiomics is None:
            return ()
        from client.imaging.radiomics.extraction import feature_names

        return feature_names(self.radiomics.settings, self.radiomics.expected_features)


def _names(text: bytes) -> tuple[str, ...]:
    return tuple(text.decode().split("\n"))


def prepare(
    jobs: Sequence[PatientJob],
    *,
    imaging: ImagingSettings | None,
    radiomics: RadiomicsSettings | None,
    cache: ContentCache,
    workers: int,
    memory_gib: float,
    progress: Progress | None = None,
    window: ImagingSettings | None = None,
    engine: Engine = "fast",
    pool: BoundedPool | None = None,
) -> Preparation:
    """Make the crops and features that the cache does not hold yet.

    Two passes: the images are read, checked and cropped, which gives the size of each ROI; then
    features are extracted, as many patients side by side as the memory allows. Each result is
    stored at once, so an interrupted run resumes.

    Parameters
    ----------
    imaging : None = no crops.
    radiomics : None = no features.
    workers : processes; 1 = all in this process, which a lack of memory may then kill.
    memory_gib : bound on the estimated memory of all processes together.
    progress : called with patients done, patients in all, and the id of the last one.
    window : of the features; None = all of HU.
    engine : of the features; each engine's are kept apart, so that a change recomputes them.
    pool : replaces an own pool of this many workers and this much memory; it stays open.

    Raises
    ------
    StudyError : the site's installation cannot give the features that the study asks for.
    """
    hashing = _Keys(imaging, radiomics, cache, window, engine)
    with ThreadPoolExecutor(max(workers, 1)) as threads:
        plans = list(threads.map(hashing.plan, jobs))
    cache.known.save()
    finished = 0
    with (
        nullcontext(pool) if pool else BoundedPool(workers, memory_gib) as open_pool,
        closing(_work_off(plans, open_pool)) as ready,
    ):
        for plan in ready:
            finished += 1
            if progress is not None:
                progress(finished, len(plans), plan.job.patient_id)
    return _collect(plans, imaging, radiomics, cache)


def look_first(
    jobs: Sequence[PatientJob], known: KnownFiles, workers: int
) -> tuple[PatientProblem, ...]:
    """Check the headers of all patients' files, before anything is prepared.

    Files known to be free of faults are not checked again until they change.
    """
    with ThreadPoolExecutor(max(workers, 1)) as threads:
        found = list(threads.map(partial(_first_look, known), jobs))
    return tuple(problem for problems in found for problem in problems)


def _first_look(known: KnownFiles, job: PatientJob) -> list[PatientProblem]:
    found: list[PatientProblem] = []

    def look() -> str:
        """Keep only that there is no fault: a problem names files."""
        from client.imaging.first_look import first_look

        for one in first_look(job.image, job.masks, confirmed=job.confirmed):
            found.append(PatientProblem(job.patient_id, one.file, one.what, one.remedy, one.kind))
        if found:
            raise _FaultError
        return "no fault"

    masks = [split_roi(mask) for mask in job.masks.values()]
    files = [*image_files(job.image), *(file for file, _ in masks)]
    asked = (CODE_VERSION, LOOK_VERSION, [roi for _, roi in masks], sorted(job.confirmed))
    try:
        listed = [file for path in files for file in _files_in(path)]
        known.ask(f"headers {asked}", listed, look)
    except _FaultError:
        pass
    except OSError:  # a missing file
        if not found:
            with suppress(_FaultError):
                look()
    return found


class _FaultError(Exception):
    """Fault in a patient's headers."""


def _files_in(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


@dataclass
class PatientPlan:
    """Progress of one patient.

    `crops` and `features` are the keys its results have or will have, `stored` those of them that
    are in the cache; `work` is what remains.
    """

    job: PatientJob
    crops: str | None = None
    features: dict[str, str] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    work: Work | None = None
    problems: list[PatientProblem] = field(default_factory=list)

    def add_problem(self, file: str, what: str, remedy: str) -> None:
        """Record why something of the patient is missing."""
        self.problems.append(PatientProblem(self.job.patient_id, file, what, remedy))

    def take(self, done: Done | Killed) -> None:
        """Record what a process did and did not do."""
        if isinstance(done, Killed):
            self.add_problem(
                self.job.image.name,
                "the process that prepared this patient was killed, most likely for lack of memory",
                "use a machine with more memory, or check that the ROI is not far too large",
            )
            return
        self.stored.update(done.stored)
        for problem in done.problems:
            self.add_problem(*problem)


class _Keys:
    """Hashes of patients' files, and lookup in the cache."""

    def __init__(
        self,
        imaging: ImagingSettings | None,
        radiomics: RadiomicsSettings | None,
        cache: ContentCache,
        window: ImagingSettings | None,
        engine: Engine,
    ) -> None:
        self.imaging, self.radiomics, self.cache = imaging, radiomics, cache
        self.window, self.engine = window, engine
        self.crops: dict[str, object] = {"what": "crops", "made": CROPS_VERSION}
        self.crops["libraries"] = _versions(_LIBRARIES[:2])
        if imaging is not None:
            self.crops["settings"] = imaging.model_dump(mode="json")
        self.features: dict[str, object] = {"what": "features", "engine": engine}
        self.features["libraries"] = _versions(_LIBRARIES)
        if radiomics is not None:
            self.features["settings"] = settings_text(radiomics.settings)
            if window is not None:
                clipped = {"window", "level", "order"}
                self.features["window"] = window.model_dump(mode="json", include=clipped)

    def plan(self, job: PatientJob) -> PatientPlan:
        """Return the keys of a patient, and the remaining work."""
        plan = PatientPlan(job)
        if MAIN_READING not in job.masks:
            plan.add_problem(job.image.name, "no main mask", "fill the column mask of cohort.csv")
        if not self._readable(plan, image_files(job.image)):
            return plan
        masks = {
            r: mask for r, mask in job.masks.items() if self._readable(plan, [split_roi(mask)[0]])
        }
        if self.imaging is not None and MAIN_READING in masks:
            plan.crops = self._key(job, masks[MAIN_READING], self.crops)
        if self.radiomics is not None:
            for reading, mask in masks.items():
                plan.features[reading] = self._key(job, mask, self.features)
        keys = [*([plan.crops] if plan.crops else []), *plan.features.values()]
        plan.stored = {key for key in keys if self.cache.holds(key)}
        if plan.stored != set(keys):
            plan.work = self._work(plan, masks)
        return plan

    def _key(self, job: PatientJob, mask: Path, made: Mapping[str, object]) -> str:
        file, roi = split_roi(mask)
        settings = made if roi is None else {**made, "roi": roi}
        if job.confirmed:
            # withdrawing a confirmation refuses the patient, whatever was made before
            settings = {**settings, "confirmed": sorted(job.confirmed)}
        return self.cache.key_of([*image_files(job.image), file], settings)

    def _readable(self, plan: PatientPlan, files: Sequence[Path]) -> bool:
        try:
            self.cache.key_of(files, {})
        except PatientError as error:
            plan.add_problem(error.where, error.what, error.remedy)
            return False
        return True

    def _work(self, plan: PatientPlan, masks: Mapping[str, Path]) -> Work:
        from client.imaging.patient import Work

        return Work(
            image=plan.job.image,
            masks=masks,
            crops=None if plan.crops in plan.stored else plan.crops,
            features={r: key for r, key in plan.features.items() if key not in plan.stored},
            imaging=self.imaging,
            radiomics=self.radiomics,
            cache=self.cache.folder,
            window=self.window,
            confirmed=plan.job.confirmed,
            engine=self.engine,
        )


def _work_off(
    plans: Sequence[PatientPlan], pool: BoundedPool
) -> Generator[PatientPlan, None, None]:
    """Do the remaining work; yield each patient when it is finished."""
    waiting = [plan for plan in plans if plan.work is not None]
    yield from (plan for plan in plans if plan.work is None)
    if not waiting:
        return
    from client.imaging.patient import extract_missing, look_and_crop, reading_gib

    looks = [Task(p.work, reading_gib(p.work.image)) for p in waiting if p.work is not None]
    extracting: list[tuple[PatientPlan, Task[Work]]] = []
    for position, done in pool.run(look_and_crop, looks):
        plan, work = waiting[position], looks[position].argument
        plan.take(done)
        sizes = {} if isinstance(done, Killed) else done.feature_gib
        if not sizes:
            yield plan
            continue
        features = {r: key for r, key in work.features.items() if r in sizes}
        task = Task(replace(work, features=features), max(sizes.values()))
        extracting.append((plan, task))
    for position, done in pool.run(extract_missing, [task for _, task in extracting]):
        plan = extracting[position][0]
        plan.take(done)
        yield plan


def _collect(
    plans: Sequence[PatientPlan],
    imaging: ImagingSettings | None,
    radiomics: RadiomicsSettings | None,
    cache: ContentCache,
) -> Preparation:
    crops: dict[str, str] = {}
    features: dict[str, dict[str, str]] = {}
    for plan in plans:
        patient = plan.job.patient_id
        if plan.crops in plan.stored:
            crops[patient] = str(plan.crops)
        for reading, key in plan.features.items():
            if key in plan.stored:
                features.setdefault(reading, {})[patient] = key
    problems = tuple(problem for plan in plans for problem in plan.problems)
    return Preparation(cache, imaging, radiomics, crops, features, problems)


def _versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of installed packages, so that an upgrade recomputes everything."""
    found: dict[str, str] = {}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
