"""Patients whose image or contour is unlike the others' of the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.data.cohort import Patient
from client.imaging.errors import PatientError
from client.imaging.reading import read_image, read_mask
from client.workspace import Progress
from common.statistics.base import Float

MOST_DEVIATIONS = 3.0
TO_DEVIATION = 1.4826  # of a normal distribution's median absolute deviation
LEAST_SHARE = 0.01  # of the median: where most patients are the same, this much is still usual
MEASURES = {
    "volume": "volume of the ROI, cm3",
    "in_plane": "voxel in plane, mm",
    "between": "distance of slices, mm",
    "mean": "mean of the ROI, HU",
    "sd": "SD of the ROI, HU",
}
Measures = Mapping[str, float]


@dataclass(frozen=True)
class Outlier:
    """One measure of one patient, more than three robust SD from the site's median."""

    patient: str
    measure: str
    value: float
    median: float
    deviations: float


def measure_all(
    patients: Sequence[Patient], progress: Progress | None = None
) -> dict[str, Measures]:
    """Measure every patient; whoever has no image or an unreadable one is left out."""
    found: dict[str, Measures] = {}
    for place, patient in enumerate(patients, 1):
        if patient.image is not None and "r1" in patient.masks:
            try:
                found[patient.patient_id] = _measured(patient)
            except PatientError:  # such patients have their own list
                continue
        if progress is not None:
            progress(place, len(patients), patient.patient_id)
    return found


def _measured(patient: Patient) -> Measures:
    if patient.image is None:
        raise ValueError("a patient without an image")
    image = read_image(patient.image)
    mask = read_mask(patient.masks["r1"], image, confirmed=patient.confirmed)
    inside = sitk.GetArrayViewFromImage(mask) > 0
    values = sitk.GetArrayViewFromImage(image)[inside].astype(np.float64)
    spacing = image.GetSpacing()
    return {
        "volume": float(inside.sum() * np.prod(spacing) / 1000.0),
        "in_plane": float(max(spacing[:2])),
        "between": float(spacing[2]),
        "mean": float(values.mean()),
        "sd": float(values.std()),
    }


def outliers(measured: Mapping[str, Measures]) -> list[Outlier]:
    """Return measures beyond three robust SD from the median, the furthest first."""
    found: list[Outlier] = []
    names = list(measured)
    for key, words in MEASURES.items():
        values = np.array([measured[name][key] for name in names])
        if values.size == 0:
            continue
        median, away = robust(values)
        far = np.flatnonzero(np.abs(away) > MOST_DEVIATIONS)
        found += [Outlier(names[i], words, float(values[i]), median, float(away[i])) for i in far]
    return sorted(found, key=lambda one: -abs(one.deviations))


def robust(values: Float) -> tuple[float, Float]:
    """Return the median, and each distance from it in SD (1.4826 median absolute deviations).

    A robust SD is at least 1 % of the median: where most values are the same, rounding is no news.
    """
    median = float(np.median(values))
    spread = TO_DEVIATION * float(np.median(np.abs(values - median)))
    away: Float = (values - median) / max(spread, LEAST_SHARE * abs(median), 1e-9)
    return median, away
