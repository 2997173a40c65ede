"""A site's prepared images for a study: crops for the networks, radiomics tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from client.data.cohort import Patient
from client.imaging.cache import ContentCache
from client.imaging.preparation import PatientJob, PatientProblem, Preparation, look_first, prepare
from client.imaging.workers import BoundedPool
from client.site import SiteSettings
from common.models import NetworkName, network_input
from common.statistics.base import Float
from common.study.model import Study

Progress = Callable[[int, int, str], None]


class PreparedImages:
    """Crops and features by patient id, read from the site's cache."""

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation

    @property
    def has_features(self) -> bool:
        """True if radiomics features were extracted."""
        return self._preparation.radiomics is not None

    def files_of(self, patient: Patient) -> dict[str, str]:
        """Return a digest of the current image and contour by reading; known files are not read."""
        if patient.image is None:
            return {}
        return {
            reading: self._preparation.files_key(patient.image, mask)
            for reading, mask in sorted(patient.masks.items())
        }

    def features(self, reading: str, patients: Sequence[str]) -> tuple[tuple[str, ...], Float]:
        """Return names, and values (patients, features) with NaN rows for missing readings."""
        return self._preparation.features(reading, patients)

    def slices(self, patients: Sequence[str]) -> Float:
        """Count the axial slices of each patient, (patients,)."""
        return np.array([len(one) for one in self._preparation.crops2d(patients)], dtype=float)

    def crops(
        self, name: NetworkName, patients: Sequence[str]
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
        """Return mapped crops (S, S, S) or (S, S), and the index in `patients` of each (n,)."""
        if network_input(name).dimensions == 3:
            return self._preparation.crops3d(patients), np.arange(len(patients), dtype=np.int64)
        stacks = self._preparation.crops2d(patients)
        index = np.repeat(np.arange(len(stacks)), [len(stack) for stack in stacks])
        return [patch for stack in stacks for patch in stack], index.astype(np.int64)


def header_problems(
    patients: Sequence[Patient], settings: SiteSettings
) -> tuple[PatientProblem, ...]:
    """Return the faults in the headers of these patients' images, in the order of the cohort."""
    known = ContentCache(settings.cache).known
    found = look_first(jobs_of(patients), known, settings.preparation_workers)
    known.save()
    return found


def jobs_of(patients: Sequence[Patient]) -> list[PatientJob]:
    """Return the files of the patients who have an image."""
    return [
        PatientJob(p.patient_id, p.image, p.masks, p.confirmed)
        for p in patients
        if p.image is not None
    ]


def prepare_images(
    patients: Sequence[Patient],
    settings: SiteSettings,
    study: Study,
    progress: Progress | None = None,
    pool: BoundedPool | None = None,
) -> tuple[PreparedImages, tuple[PatientProblem, ...]]:
    """Prepare the images that the study needs and the cache lacks."""
    preparation = prepare(
        jobs_of(patients),
        imaging=study.imaging if study.networks else None,
        radiomics=study.radiomics if "radiomics" in study.tables else None,
        window=study.radiomics_window,
        cache=ContentCache(settings.cache),
        workers=settings.preparation_workers,
        memory_gib=settings.memory_gib,
        engine=settings.engine,
        progress=progress,
        pool=pool,
    )
    return PreparedImages(preparation), preparation.problems
