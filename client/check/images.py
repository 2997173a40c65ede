"""Checks of images and contours: each is read completely, and rules of thumb are applied."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.check.finding import Finding, Findings, Severity, listed, or_ok, problem, warning
from client.check.look import AIR_HU, SOFT_HU, ImageFacts, Job, Look, RegionFacts, look
from client.data.cohort import Patient
from client.imaging.cache import ContentCache
from client.imaging.dicom.folder import worth_a_look
from client.imaging.errors import PatientError
from client.imaging.patient import reading_gib
from client.imaging.preparation import look_first
from client.imaging.prepared import jobs_of
from client.imaging.source import image_files
from client.imaging.workers import BoundedPool, Killed, Task
from client.site import SiteSettings

VOXEL_MM = (0.05, 20.0)
VOLUME_MM = (10.0, 3000.0)
THICK_MM = 5.0
# fat is near -100 HU, and every CT of a body contains some
FAT_HU = -50.0
# images scaled to 0...1, z-scores and percentages stay below; a CT holds fat and bone or contrast
SMALLEST_RANGE = 150.0
# metal ends at 3071 as a rule, and at 30710 on a tenfold scale; 16 bits without a sign at 64511
HIGHEST_HU = 32_000.0
LEAST_SOFT = 0.01
REGION_CM3 = (0.05, 1000.0)
MOST_APART = 0.05
LEAST_OVERLAP = 0.5
READERS = {"r1": "reader 1", "r1_repeat": "reader 1 again", "r2": "reader 2"}
READERS["r2_repeat"] = "reader 2 again"


@dataclass(frozen=True)
class Remark:
    """Remark of a rule on one patient; patients with the same remark are listed together."""

    kind: str
    severity: Severity
    what: str
    remedy: str


def passed_over(kinds: Mapping[str, int]) -> Iterator[Remark]:
    """Count files that are not read with a series; warn where they could hold slices."""
    doubtful = {kind: n for kind, n in kinds.items() if worth_a_look(kind)}
    plain = {kind: n for kind, n in kinds.items() if kind not in doubtful}
    if doubtful:
        remedy = "check that the series that was segmented is the one that is read"
        yield Remark("image.passed_over", "warning", _counted(doubtful), remedy)
    if plain:
        yield Remark("image.passed_over", "ok", _counted(plain), "")


def _counted(kinds: Mapping[str, int]) -> str:
    return "passed over: " + ", ".join(f"{n} x {kind}" for kind, n in kinds.items())


def complete(hints: Iterable[str]) -> Iterator[Remark]:
    """Warn where headers suggest more slices than exist; spacing cannot show gaps at an end."""
    remedy = "compare with the number of slices in the archive; a cropped series may be meant"
    for hint in hints:
        yield Remark("image.complete", "warning", f"slices may be missing: {hint}", remedy)


def one_scan(differing: Mapping[str, int]) -> Iterator[Remark]:
    """Warn where slices differ in elements that one reconstruction of one scan shares."""
    if differing:
        tags = ", ".join(f"{tag} ({count} values)" for tag, count in differing.items())
        what = f"slices of one series differ in {tags}"
        remedy = "look whether it is two scans or reconstructions in one, and export the right one"
        yield Remark("image.complete", "warning", what, remedy)


def geometry(image: ImageFacts) -> Iterator[Remark]:
    """Check that voxels and volumes have a possible size for a CT of a body."""
    extent = [n * step for n, step in zip(image.size, image.spacing, strict=True)]
    sizes = " x ".join(f"{step:.4g}" for step in image.spacing)
    small, large = VOXEL_MM
    short, long = VOLUME_MM
    if min(image.spacing) < small or max(image.spacing) > large:
        yield Remark(
            "image.geometry",
            "problem",
            f"voxels of {sizes} mm",
            "correct the spacing in the header: it is in another unit, or lost",
        )
    elif min(extent) < short or max(extent) > long:
        covers = " x ".join(f"{length:.3g}" for length in extent)
        yield Remark(
            "image.geometry",
            "problem",
            f"the volume is {covers} mm large",
            "check the spacing in the header, and that the file holds the whole volume",
        )
    elif max(image.spacing) > THICK_MM:
        yield Remark(
            "image.geometry",
            "warning",
            f"slices {max(image.spacing):.3g} mm apart",
            "use the thinnest reconstruction there is; features depend on it",
        )


def units(image: ImageFacts) -> Iterator[Remark]:
    """Check that grey values can be HU: air and fat below zero, soft tissue near it."""
    remedy = "export the series in HU, with rescale slope and intercept applied"
    if image.high - image.low < SMALLEST_RANGE:
        what = f"not in HU: all values lie between {image.low:.4g} and {image.high:.4g}"
        yield Remark("image.units", "problem", what, remedy)
    elif image.low > FAT_HU:
        what = f"not in HU: no value below {image.low:.4g}, so neither air nor fat"
        yield Remark("image.units", "problem", what, remedy)
    elif image.soft < LEAST_SOFT:
        low, high = SOFT_HU
        what = f"not in HU: {image.soft:.1%} of the voxels lie between {low:g} and {high:g}"
        yield Remark("image.units", "problem", what, remedy)
    elif image.high > HIGHEST_HU:
        what = f"not in HU: values up to {image.high:.0f}, above any metal"
        fix = "export the series again: negative values were written as unsigned numbers"
        yield Remark("image.units", "problem", what, fix)
    elif image.air == 0:
        yield Remark(
            "image.units",
            "warning",
            f"no voxel below {AIR_HU:g} HU, so no air in or around the body",
            "check that the values are HU; a small cut-out may have none",
        )


def place(file: str, region: RegionFacts) -> Iterator[Remark]:
    """Check that the tumour is soft tissue and completely imaged."""
    low, high = SOFT_HU
    if not low < region.median_hu < high:
        yield Remark(
            "mask.place",
            "problem",
            f"{file}: the contour lies outside soft tissue (median {region.median_hu:.0f} HU)",
            "check that the mask belongs to this image",
        )
    elif region.at_border:
        yield Remark(
            "mask.place",
            "warning",
            "the contour reaches the edge of the image",
            "give the whole image: what lies beyond the edge counts as air",
        )


def size(region: RegionFacts) -> Iterator[Remark]:
    """Check that the region is one tumour, neither a stray click nor half a body."""
    small, large = REGION_CM3
    if not small < region.volume_cm3 < large:
        what = f"a contour of {region.volume_cm3:.3g} cm3"
        yield Remark("mask.size", "warning", what, "check the segmentation")
    if region.apart > MOST_APART:
        yield Remark(
            "mask.size",
            "warning",
            "a contour in several pieces",
            "check for stray voxels; crops and shape features take all pieces as one tumour",
        )
    if region.skipped:
        yield Remark(
            "mask.size",
            "warning",
            "a contour that skips slices between others",
            "interpolate these slices where it was drawn, unless they are free of tumour",
        )


def readings(
    masks: Mapping[str, object], overlaps: Mapping[tuple[str, str], float]
) -> Iterator[Remark]:
    """Check that repeat readings show the same tumour with different contours.

    Parameters
    ----------
    masks : by reading.
    overlaps : Dice coefficients.
    """
    if "r2_repeat" in masks and "r2" not in masks:
        yield Remark(
            "mask.readings",
            "warning",
            "mask_r2_repeat without mask_r2: there is nothing to compare it with",
            "add the second reader's first contour, or empty the cell",
        )
    for (first, second), overlap in overlaps.items():
        pair = f"{READERS[first]} and {READERS[second]}"
        if overlap == 0:
            what = f"the contours of {pair} contradict: they have no voxel in common"
            yield Remark("mask.readings", "problem", what, "check which files belong together")
        elif overlap == 1:
            what = f"the contours of {pair} are the same, voxel for voxel"
            remedy = "a copy says nothing of a reader: contour again, or empty the cell"
            yield Remark("mask.readings", "warning", what, remedy)
        elif overlap < LEAST_OVERLAP:
            what = f"the contours of {pair} have less than half in common"
            yield Remark("mask.readings", "warning", what, "check which files belong together")


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
    yield from passed_over(seen.passed_over)
    yield from complete(seen.hints)
    yield from one_scan(seen.differing)
    yield from geometry(seen.image)
    in_hounsfield = tuple(units(seen.image))
    yield from in_hounsfield
    if seen.lossy:
        what = f"{seen.lossy} slices were compressed with loss: grey values are not the scanner's"
        remedy = "export the original series if there is one; features of texture differ"
        yield Remark("image.units", "warning", what, remedy)
    for reading, region in seen.regions.items():
        if not any(map(_spoils, in_hounsfield)):  # in other units no place is soft tissue
            yield from place(READERS[reading], region)
        yield from size(region)
    yield from readings(seen.regions, seen.overlaps)


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
    """List patients whose contours need a confirmation, and confirmations that nothing needs."""
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
        identifying = {item for fields in one.fields.values() for item in fields.items()}
        for name, why in sorted(identifying):
            patients[name, why].append(patient)
    for (name, why), ids in patients.items():
        yield warning(
            "identifiers.headers",
            listed(ids),
            f"header field {name} is filled: {why}",
            "de-identify the files; crops and features carry no header, and nothing of it leaves",
        )
