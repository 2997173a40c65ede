"""Check the machine: device, memory, disk, private files, installed software, and the clock."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import client
from client.check.finding import (
    Finding,
    Findings,
    not_applicable,
    not_checked,
    ok,
    or_ok,
    problem,
    problem_of,
    warning,
)
from client.check.network import NO_DEPLOYMENT, Contact
from client.check.registry import check
from client.site import SiteSettings
from client.store.ledger import ledger_path
from client.store.site_db import site_db
from common.dossier.markdown import size
from common.errors import InputError, StudyError
from common.models import NETWORKS, NetworkName, network_input
from common.networks.size import network_size, width_of
from common.study.model import ImagingSettings, NetworkSettings, Study
from common.study.release_mark import marked_release, other_release, own_release
from common.utils.durable import exposed_mode
from common.utils.versions import software

KIND = "machine.device"


@check("site")
def check_device(study: Study, settings: SiteSettings) -> Findings:
    """Check processor, threads, and a graphics card where there is one."""
    cores = len(os.sched_getaffinity(0))
    facts = f"{cores} cores, threads = {settings.threads} in site.toml"
    if settings.threads > cores:
        remedy = "set threads to the number of cores or less; threads that wait slow all others"
        yield warning(KIND, "", facts, remedy)
    elif not study.networks:
        yield ok(KIND, f"the study trains no network; {facts}")
    else:
        from client.training.device import find_compute

        try:
            compute = find_compute(settings.device)
        except InputError as error:
            yield problem(KIND, "device", error.what, error.remedy)
        else:
            yield ok(KIND, f"networks are trained on {compute.words()}: {facts}")


FLOAT = 4
# weights, gradients, two moments of Adam, those that came, their change, two forms of it on its way
_COPIES = 8
# workspace of convolutions and transient gradients, beside the stored ones
_WORKSPACE = 1.5
_FIRST_DILATED = 2
# batches of crops that are read ahead, in use, and being transferred
_BATCHES = 4


def training_bytes(kind: NetworkName, settings: NetworkSettings, outputs: int = 1) -> int:
    """Return bytes of weights, activations and batches while one network is trained.

    Crops are mapped from the cache: the system takes their memory back when it needs it.
    """
    total, _ = network_size(kind, settings, outputs)
    kept = settings.batch_size * FLOAT * sum(activations(kind, settings))
    read = (
        _BATCHES
        * settings.batch_size
        * FLOAT
        * settings.input_size ** network_input(kind).dimensions
    )
    return int(_COPIES * FLOAT * total + _WORKSPACE * kept + read)


def crop_voxels(kind: NetworkName, imaging: ImagingSettings) -> int:
    """Return the voxels of the crops of one patient."""
    if network_input(kind).dimensions == 3:
        return imaging.crop3d_size**3
    return (2 * imaging.crop2d_slices_each_side + 1) * imaging.crop2d_size**2


def activations(kind: NetworkName, settings: NetworkSettings) -> Iterator[int]:
    """Yield the numbers kept for the gradient of one crop: inputs of each convolution and norm."""
    seen, widths = network_input(kind), settings.widths
    dimensions = seen.dimensions
    expansion = 4 if settings.block == "bottleneck" else 1
    side = settings.input_size
    yield side**dimensions * seen.channels
    side = _halved(side, settings.stem_stride)
    yield 2 * widths[0] * side**dimensions
    if settings.stem_pool:
        side = _halved(side, 2)
        # the positions of the maxima are kept too, as integers of eight bytes
        yield 3 * widths[0] * side**dimensions
    before = widths[0]
    for stage, (width, blocks) in enumerate(zip(widths, settings.layers, strict=True)):
        after = width * expansion
        for block in range(blocks):
            strided = stage > 0 and block == 0
            kept = settings.dilated and stage >= _FIRST_DILATED
            inside, side = side, _halved(side, 2 if strided and not kept else 1)
            if expansion == 1:
                yield 2 * 2 * width * side**dimensions
            else:
                yield 2 * width * (inside**dimensions + side**dimensions)
                yield 2 * after * side**dimensions
            if (strided or before != after) and settings.shortcut == "B":
                yield after * side**dimensions
            before = after


def _halved(side: int, stride: int) -> int:
    return -(-side // stride)


MEMORY = "machine.memory"
_GIB = 2**30
# Python with torch, or with ITK and PyRadiomics, before it has read anything
_PROCESS = 600 * 2**20
# the limit of a container, in both versions of the kernel's control groups
MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_there() -> int:
    """Return the bytes of this machine, or of the container that this process runs in."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # "max", or no such control group
            there = min(there, int(Path(limit).read_text(encoding="ascii")))
    return there


def check_memory(
    study: Study, settings: SiteSettings, training: int, largest_gib: float | None
) -> Findings:
    """Compare the required memory with the machine's.

    Parameters
    ----------
    training : training patients of this site.
    largest_gib : of the largest patient, None where no image could be read.
    """
    there = memory_there()
    for kind in study.networks if training else ():
        needed = _PROCESS + training_bytes(kind, study.network(kind), study.network_outputs)
        yield _compared(f"training {kind}", needed, _memory_of_device(settings, there))
    if largest_gib is not None:
        yield from _preparing(settings, largest_gib, there)
    elif study.needs_images:
        yield Finding(MEMORY, "not checked", "preparing images", "no image could be looked at")
    else:
        yield ok(MEMORY, f"{size(there)} there; the study reads no images")


def _memory_of_device(settings: SiteSettings, there: int) -> int:
    from client.training.device import find_compute

    with suppress(InputError):  # the check of the device reports a missing one
        return find_compute(settings.device).memory or there
    return there


def _preparing(settings: SiteSettings, largest_gib: float, there: int) -> Findings:
    needed = int(largest_gib * _GIB)
    if needed > settings.memory_gib * _GIB:
        yield warning(
            MEMORY,
            "preparing images",
            f"the largest patient takes {size(needed)}, memory_gib allows {settings.memory_gib:g}"
            " GiB; it will be prepared alone",
            "raise memory_gib in site.toml if the machine has more",
        )
    bound = max(needed, int(settings.memory_gib * _GIB))
    if needed > there or bound <= there:
        yield _compared("preparing images", needed, there)
        return
    yield warning(
        MEMORY,
        "preparing images",
        f"memory_gib allows {settings.memory_gib:g} GiB, the machine has {size(there)}",
        "lower memory_gib in site.toml, so that patients side by side do not use up all",
    )


def _compared(where: str, needed: int, there: int) -> Finding:
    what = f"about {size(needed)} needed, {size(there)} there"
    if needed > there:
        remedy = "use a machine with more memory, or ask for smaller batches in the study"
        return problem(MEMORY, where, what, remedy)
    return ok(MEMORY, what, where)


DISK, PRIVATE = "machine.disk", "machine.private"
FLOAT32, FLOAT64 = 4, 8
# entries of the cache carry names of features, and a file system allocates whole blocks
_ENTRY = 64 * 1024
# a completely full disk stops more than the study
_ROOM = 1.5


@dataclass(frozen=True)
class Room:
    """Bytes needed in a folder, and their purpose."""

    folder: Path
    needed: int
    what: str


def needed_in_cache(study: Study, patients: int, contours: int) -> int:
    """Return the bytes of crops and features.

    Parameters
    ----------
    contours : of all readings.
    """
    total = 0
    if study.networks:
        # an entry of the cache holds both, whichever network there is
        voxels = sum(crop_voxels(name, study.imaging) for name in NETWORKS)
        total += patients * (FLOAT32 * voxels + _ENTRY)
    if "radiomics" in study.tables:
        total += contours * (FLOAT64 * study.radiomics.expected_features + _ENTRY)
    return total


def needed_in_work(study: Study, patients: int) -> int:
    """Return the bytes of a run's tables: outputs of networks on every patient, fold by fold."""
    total = 0
    for name in study.networks:
        row = FLOAT64 * (width_of(study.network(name)) + 1)
        total += (study.folds + 2) * (patients * row + _ENTRY)
    return total


def check_disk(study: Study, settings: SiteSettings, patients: int, contours: int) -> Findings:
    """Compare the space needed, minus what the cache holds already, with the free space."""
    cache = max(needed_in_cache(study, patients, contours) - _held(settings.cache), 0)
    work = needed_in_work(study, patients)
    rooms = [
        Room(settings.cache, cache, "crops and features"),
        Room(settings.work, work, "tables of a run"),
    ]
    if _device(settings.cache) == _device(settings.work):
        rooms = [Room(settings.cache, cache + work, "crops, features and tables of a run")]
    for room in rooms:
        free = shutil.disk_usage(_existing(room.folder)).free
        what = f"{size(free)} free, {size(room.needed)} needed for {room.what}"
        remedy = "free space, or name another disk in site.toml (cache, work)"
        if free < room.needed:
            yield problem(DISK, str(room.folder), what, remedy)
        elif free < _ROOM * room.needed:
            yield warning(DISK, str(room.folder), what, remedy)
        else:
            yield ok(DISK, what, str(room.folder))


@check("site")
def check_privacy(settings: SiteSettings) -> Findings:
    """Check whether other users of this machine can access the folders with patients' data."""
    found = []
    for folder in (settings.work, settings.cache):
        if not folder.is_dir() or not (mode := exposed_mode(folder)):
            continue
        what = f"other users of this machine can get into this folder (mode {mode:04o})"
        own = folder.stat().st_uid == os.geteuid()
        blamed = warning if own else problem
        remedy = f"chmod 700 {folder}" if own else "name a folder of this user's own in site.toml"
        found.append(blamed(PRIVATE, str(folder), what, remedy))
    yield from or_ok(found, {PRIVATE: "work and cache are for this user alone"})


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest existing parent."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _device(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def _held(cache: Path) -> int:
    """Return the bytes in the cache; those of another study count too."""
    return sum(file.stat().st_size for file in cache.rglob("*.npz")) if cache.is_dir() else 0


PACKAGE = "fedlnm"
VERSIONS, FLOWER = "software.versions", "software.flower"


RELEASE = "software.release"


@check("site")
def check_release(study_file: Path) -> Findings:
    """Compare the release that prepared the study with the one installed here."""
    own = own_release()
    if (other := other_release(study_file)) is not None:
        yield warning(RELEASE, study_file.name, *other)
    elif marked_release(study_file):
        theirs = marked_release(study_file)
        same = "as is" if theirs == own else f"which works with release {own}, as is"
        yield ok(RELEASE, f"prepared with release {theirs}, {same} installed here", study_file.name)
    else:
        yield from not_checked((RELEASE,), "no coordinator has prepared this study file")


@check("site")
def check_software() -> Findings:
    """Check every requirement of the release, and the Flower functions that the gate uses."""
    yield from _versions()
    yield from _flower()


def _versions() -> Findings:
    try:
        asked = [Requirement(text) for text in metadata.requires(PACKAGE) or ()]
    except metadata.PackageNotFoundError:
        why = f"{PACKAGE} is not installed as a package, so it says nothing of what it asks for"
        yield from not_checked((VERSIONS,), why, "install the release with pip")
        return
    found = [
        problem(
            VERSIONS,
            "installation",
            f"{name} is {there}, this release asks for {wanted}",
            f'install "{name}{wanted}", as all sites have it',
        )
        for name, there, wanted in _unmet(asked)
    ]
    known = software()
    facts = ", ".join(f"{name} {known[name]}" for name in ("fedlnm", "python", "flwr", "torch"))
    yield from or_ok(found, {VERSIONS: facts})


def _unmet(asked: list[Requirement]) -> Iterator[tuple[str, str, str]]:
    """Yield names, installed and required versions of unmet requirements."""
    for one in asked:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            there = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            yield one.name, "missing", str(one.specifier)
            continue
        # a local version label, such as torch's for CPU (2.13.0+cpu), is no other version
        if not one.specifier.contains(there.partition("+")[0], prereleases=True):
            yield one.name, there, str(one.specifier)


def _flower() -> Findings:
    from common.flower.supernode import check_seam

    try:
        check_seam()
    except StudyError as error:
        yield problem_of(FLOWER, error)
    else:
        yield ok(FLOWER, "the gate fits the installed Flower")


CLOCK = "machine.clock"
REMEDY = "let this machine set its clock from a time server"
# a file server's clock may be a little ahead
_SLACK_SECONDS = 300.0
_WORTH_SAYING = 30.0


@check("site")
def check_clock(settings: SiteSettings, contact: Contact | None) -> Findings:
    """Compare clocks; `contact` is None where no coordinator was visited."""
    future = [path for path, then in _written(settings) if then > time.time() + _SLACK_SECONDS]
    if future:
        names = ", ".join(sorted({path.name for path in future}))
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        what = f"the clock says {now}, but these were written later: {names}"
        yield problem(CLOCK, "", what, REMEDY)
    else:
        yield ok(CLOCK, "later than all that was written here")
    if contact is None:
        yield from not_applicable((CLOCK,), NO_DEPLOYMENT)
    elif contact.ahead is None:
        yield from not_checked(
            (CLOCK,), "not against the coordinator's, which did not tell the time"
        )
    else:
        yield _against_coordinator(contact.ahead)


def _written(settings: SiteSettings) -> Iterator[tuple[Path, float]]:
    """Yield files with their last modification: the program, the cohort, the site's records."""
    for path in (
        Path(client.__file__),
        settings.data / "cohort.csv",
        site_db(settings.work).path,
        ledger_path(settings.work),
    ):
        if path.is_file():
            yield path, path.stat().st_mtime


def _against_coordinator(ahead: float) -> Finding:
    from common.flower.internals import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

    facts = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the coordinator's"
    # a SuperNode signs the time, and a SuperLink accepts no future or old one
    latest, earliest = SYSTEM_TIME_TOLERANCE, -(TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE)
    if not earliest < ahead < latest:
        what = f"{facts}: its messages would be refused"
        return problem(CLOCK, "", what, REMEDY)
    if not -_WORTH_SAYING < ahead < latest / 2:
        return warning(CLOCK, "", facts, REMEDY)
    return ok(CLOCK, "agrees with the coordinator's")
