"""Checks of images and contours: each is read completely, and rules of thumb are applied."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.check import image_rules
from client.check.finding import Finding, Findings, or_ok, problem, warning
from client.check.image_rules import Remark
from client.check.look import Job, Look, look
from client.check.screen import listed
from client.data.cohort import Patient
from client.imaging.cache import ContentCache
from client.imaging.errors import PatientError
from client.imaging.patient import reading_gib
from client.imaging.preparation import look_first
from client.imaging.prepared import jobs_of
from client.imaging.source import image_files
from client.imaging.workers import BoundedPool, Killed, Task
from client.site import SiteSettings

CONFIRMED = "mask.confirmed"
KINDS = (
    "image.unusable",
    "image.passed_over",
    "image.complete",
    "image.geometry",
    "image.units",
    "image.shared",
    "mask.unusable",
    CONFIRMED,
    "mask.place",
    "mask.size",
    "mask.readings",
    "identifiers.headers",
)
Progress = Callable[[int, int, str], None]
# for fewer patients, starting a process takes longer than reading
_WORTH_PROCESSES = 32 * 2**20


@dataclass(frozen=True)
class ImagesLook:
    """Result of checking the images.

    Parameters
    ----------
    bad : patients with unusable files.
    gib : memory for the largest patient, to be read or to have features extracted.
    """

    bad: frozenset[str]
    gib: float
    findings: tuple[Finding, ...]


def check_headers(patients: Sequence[Patient], settings: SiteSettings) -> ImagesLook:
    """Check headers alone, for immediate results: reading all voxels takes far longer."""
    known = ContentCache(settings.cache).known  # read, not written: the disk may be full
    seen = look_first(jobs_of(patients), known, settings.preparation_workers)
    found = tuple(
        problem(f"{one.kind}.unusable", f"{one.patient_id}: {one.file}", one.what, one.remedy)
        for one in seen
    )
    return ImagesLook(frozenset(one.patient_id for one in seen), 0.0, found)


def check_images(
    patients: Sequence[Patient], settings: SiteSettings, progress: Progress | None
) -> ImagesLook:
    """Read all files of these patients, side by side as the site's settings allow."""
    seen = _all(patients, settings, progress)
    findings: list[Finding] = []
    bad: set[str] = set()
    for patient, one in seen.items():
        for kind, file, what, remedy in one.problems:
            findings.append(problem(kind, f"{patient}: {file}", what, remedy))
            bad.add(patient)
    remarks = {patient: tuple(_remarks(one)) for patient, one in seen.items()}
    bad |= {patient for patient, own in remarks.items() if any(map(_spoils, own))}
    findings.extend(_gathered(remarks))
    findings.extend(_confirmed(patients, seen))
    findings.extend(_shared(patients))
    findings.extend(_headers(seen))
    count = sum(len(p.masks) for p in patients)
    fine = {kind: f"{len(seen)} images" for kind in KINDS if not kind.startswith("mask")}
    fine |= {kind: f"{count} contours" for kind in KINDS if kind.startswith("mask")}
    regions = [region.gib for one in seen.values() for region in one.regions.values()]
    reading = [reading_gib(p.image) for p in patients if p.image is not None]
    gib = max((*regions, *reading), default=0.0)
    return ImagesLook(frozenset(bad), gib, tuple(or_ok(findings, fine)))


def _all(
    patients: Sequence[Patient], settings: SiteSettings, progress: Progress | None
) -> dict[str, Look]:
    """Look at all patients; return results in the order of the cohort."""
    jobs = {
        p.patient_id: Job(p.patient_id, p.image, p.masks, p.confirmed) for p in patients if p.image
    }
    ids = list(jobs)
    tasks = [Task(jobs[patient], reading_gib(jobs[patient].image)) for patient in ids]
    seen: dict[str, Look] = {}
    small = sum(_bytes(job.image) for job in jobs.values()) < _WORTH_PROCESSES
    workers = 1 if small else settings.preparation_workers
    with BoundedPool(workers, settings.memory_gib) as pool:
        for position, done in pool.run(look, tasks):
            patient = ids[position]
            seen[patient] = _killed(jobs[patient]) if isinstance(done, Killed) else done
            if progress is not None:
                progress(len(seen), len(ids), f"looked at {patient}")
    return {patient: seen[patient] for patient in ids}


def _bytes(image: Path) -> int:
    """Return bytes on disk, over all files."""
    path = image_files(image)[0]
    files = path.iterdir() if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def _killed(job: Job) -> Look:
    what = "the process that read this patient was killed, most likely for lack of memory"
    remedy = "use a machine with more memory, or check that the volume is not far too large"
    return Look(problems=[("image.unusable", job.image.name, what, remedy)])


def _remarks(seen: Look) -> Iterator[Remark]:
    if seen.image is None:
        return
    yield from image_rules.passed_over(seen.passed_over)
    yield from image_rules.complete(seen.hints)
    yield from image_rules.one_scan(seen.differing)
    yield from image_rules.geometry(seen.image)
    units = tuple(image_rules.units(seen.image))
    yield from units
    for reading, region in seen.regions.items():
        if not any(map(_spoils, units)):  # in other units no place is soft tissue
            yield from image_rules.place(image_rules.READERS[reading], region)
        yield from image_rules.size(region)
    yield from image_rules.readings(seen.regions, seen.overlaps)


def _spoils(remark: Remark) -> bool:
    """Return whether a remark makes a patient unusable; one on a repeat reading never does."""
    return remark.severity == "problem" and remark.kind != "mask.readings"


def _gathered(remarks: Mapping[str, Iterable[Remark]]) -> Findings:
    """Yield one finding per remark, with all patients that have it."""
    patients: dict[Remark, list[str]] = defaultdict(list)
    for patient, own in remarks.items():
        for remark in dict.fromkeys(own):
            patients[remark].append(patient)
    for remark, ids in patients.items():
        yield Finding(remark.kind, remark.severity, listed(ids), remark.what, remark.remedy)


def _confirmed(patients: Sequence[Patient], seen: Mapping[str, Look]) -> Findings:
    """List patients whose contours need the site's word, and words that are not needed."""
    own = [p.patient_id for p in patients if p.confirmed and p.patient_id in seen]
    used = [patient for patient in own if seen[patient].overruled]
    if used:
        yield warning(
            CONFIRMED,
            listed(used),
            "contours in another frame of reference than the images are used, as confirmed in"
            " cohort.csv",
            "make sure that somebody has looked at these contours on these images",
        )
    idle = [p for p in own if not seen[p].overruled and not seen[p].problems]
    if idle:
        yield warning(
            CONFIRMED,
            listed(idle),
            "confirmed in cohort.csv, but there is nothing to confirm",
            "empty the cell: it would hide a later mix-up of files",
        )


def _shared(patients: Sequence[Patient]) -> Findings:
    """Find the same bytes under two ids: one patient twice, or a misplaced file."""
    digests, owners = ContentCache(Path()), defaultdict[str, list[Patient]](list)
    for patient in patients:
        if patient.image is None:
            continue
        try:
            owners[digests.key_of(image_files(patient.image)[:1], {})].append(patient)
        except PatientError:
            continue  # the reader reports it
    for group in owners.values():
        if len(group) > 1:
            splits = sorted({patient.split for patient in group})
            leak = f", in the splits {' and '.join(splits)}" if len(splits) > 1 else ""
            yield problem(
                "image.shared",
                listed([patient.patient_id for patient in group]),
                f"the same image under several ids{leak}",
                "correct the paths, or keep one row per patient",
            )


def _headers(seen: Mapping[str, Look]) -> Findings:
    patients: dict[tuple[str, str], list[str]] = defaultdict(list)
    for patient, one in seen.items():
        told = {item for fields in one.fields.values() for item in fields.items()}
        for name, why in sorted(told):
            patients[name, why].append(patient)
    for (name, why), ids in patients.items():
        yield warning(
            "identifiers.headers",
            listed(ids),
            f"header field {name} is filled: {why}",
            "de-identify the files; crops and features carry no header, and nothing of it leaves",
        )
