"""What the study keeps at a site: room for it on disk, and whether it is this user's alone."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from client.check.finding import Findings, ok, or_ok, problem, warning
from client.check.network_memory import crop_voxels
from client.site import SiteSettings
from common.dossier.markdown import size
from common.networks.size import width_of
from common.study.model import Study
from common.utils.durable import exposed_mode

KIND, PRIVATE = "machine.disk", "machine.private"
FLOAT32, FLOAT64 = 4, 8
# entries of the cache carry names of features, and a file system gives whole blocks
_ENTRY = 64 * 1024
# a disk that this fills to the brim holds up more than the study
_ROOM = 1.5


@dataclass(frozen=True)
class Room:
    """Bytes that are needed in a folder, and what for."""

    folder: Path
    needed: int
    what: str


def needed_in_cache(study: Study, patients: int, contours: int) -> int:
    """Bytes of crops and features.

    Parameters
    ----------
    contours : of all readings.
    """
    total = 0
    if {"dl2d", "dl3d"} & set(study.base_models):
        # an entry of the cache holds both, whichever network there is
        voxels = crop_voxels("dl2d", study.imaging) + crop_voxels("dl3d", study.imaging)
        total += patients * (FLOAT32 * voxels + _ENTRY)
    if "radiomics" in study.base_models:
        total += contours * (FLOAT64 * study.radiomics.expected_features + _ENTRY)
    return total


def needed_in_work(study: Study, patients: int) -> int:
    """Bytes of the tables that a run makes: what networks say of every patient, fold by fold."""
    total = 0
    for name, settings in (("dl2d", study.dl2d), ("dl3d", study.dl3d)):
        if name in study.base_models:
            row = FLOAT64 * (width_of(settings) + 1)
            total += (study.folds + 2) * (patients * row + _ENTRY)
    return total


def look_at_disk(study: Study, settings: SiteSettings, patients: int, contours: int) -> Findings:
    """Compare what is needed, less what the cache holds already, with what is free."""
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
            yield problem(KIND, str(room.folder), what, remedy)
        elif free < _ROOM * room.needed:
            yield warning(KIND, str(room.folder), what, remedy)
        else:
            yield ok(KIND, what, str(room.folder))


def look_at_privacy(settings: SiteSettings) -> Findings:
    """Whether other users of this machine can look into the folders with patients' data."""
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
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _device(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def _held(cache: Path) -> int:
    """Bytes in the cache; those of another study count too."""
    return sum(file.stat().st_size for file in cache.rglob("*.npz")) if cache.is_dir() else 0
