"""Write the site's report from what the run left at the hospital, for its owner's eyes alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from matplotlib.image import imsave
from numpy.typing import NDArray

from client.data.cohort import Patient
from client.imaging.errors import PatientError
from client.imaging.reading import read_image, read_mask
from client.report.feature_maps import (
    blocks_of,
    correlation_of,
    correlations_of,
    heatmap_of,
    map_of,
)
from client.report.roc import SiteCurve, curves_of, roc_of
from client.report.site_run import SiteRun, title_of
from client.report.timed import followed_of
from client.workspace import Progress
from common.html import pages
from common.html.drawing import Drawing
from common.html.pages import Block, Cell, Line
from common.models import MODELS, in_order, label_of
from common.statistics.base import Float
from common.utils.durable import make_folder, write_durably

PIXELS = 112  # of a crop on the page


@dataclass(frozen=True)
class PatientRow:
    """One patient of one set.

    Parameters
    ----------
    probabilities : by model; None where the site has none.
    crop : PNG as a data address, "" where the study has no crops.
    """

    patient: str
    positive: bool
    probabilities: dict[str, float | None]
    crop: str

    @property
    def error(self) -> float:
        """Distance from the truth of the last model that has a probability."""
        said = [value for value in self.probabilities.values() if value is not None]
        return abs(float(self.positive) - said[-1]) if said else -1.0


def models_of(run: SiteRun) -> tuple[str, ...]:
    """Return the study's models, base models first."""
    return in_order((*run.study.base_models, *run.study.fusion_models))


def rows_of(run: SiteRun, subset: str) -> list[PatientRow]:
    """Return the patients of a subset, those first that were judged worst."""
    patients = run.patients(subset)
    said = _out_of_fold(run, patients) if subset == "train" else _scores(run, subset)
    crops = _crops(run, patients)
    rows = [
        PatientRow(
            patient=p.patient_id,
            positive=p.label == 1,
            probabilities={m: said.get(m, {}).get(p.patient_id) for m in models_of(run)},
            crop=crops.get(p.patient_id, ""),
        )
        for p in patients
    ]
    return sorted(rows, key=lambda row: -row.error)


def _scores(run: SiteRun, subset: str) -> dict[str, dict[str, float]]:
    scores = run.table("scores", subset)
    if scores is None:
        return {}
    columns = enumerate(scores.columns)
    return {
        m: dict(zip(scores.patients, scores.values[:, i].tolist(), strict=True)) for i, m in columns
    }


def _out_of_fold(run: SiteRun, patients: list[Patient]) -> dict[str, dict[str, float]]:
    """Return, for each network, each patient's score by the training without the patient.

    Those of machines are worked out for the coordinator's question only and are not kept here.
    """
    found: dict[str, dict[str, float]] = {}
    for network in (n for n in run.study.networks if not run.study.fits_machine(n)):
        for fold in {p.fold for p in patients}:
            table = run.table(f"{network}/fold{fold}/probability", "train")
            if table is None:
                continue
            own = {p.patient_id for p in patients if p.fold == fold}
            pairs = zip(table.patients, table.values[:, 0].tolist(), strict=True)
            found.setdefault(network, {}).update({p: v for p, v in pairs if p in own})
    return found


def _crops(run: SiteRun, patients: list[Patient]) -> dict[str, str]:
    """Return the middle slice that the 2D network saw, else that of the 3D network's cube."""
    kinds = list(run.study.networks)
    if run.images is None or not kinds:
        return {}
    images, index = run.images.crops(kinds[0], [p.patient_id for p in patients])
    found = {}
    for place, patient in enumerate(patients):
        own = [images[i] for i in np.flatnonzero(index == place)]
        patch = own[len(own) // 2]
        found[patient.patient_id] = png(patch[len(patch) // 2] if patch.ndim == 3 else patch)
    return found


def png(patch: NDArray[Any]) -> str:
    """Return grey values in [0, 1], (S, S), as a data address, thinned out to the page's pixels."""
    step = max(1, -(-patch.shape[0] // PIXELS))
    file = io.BytesIO()
    imsave(file, np.asarray(patch)[::step, ::step], cmap="gray", vmin=0.0, vmax=1.0, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


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


def write_page(run: SiteRun, folder: Path, progress: Progress | None = None) -> Path:
    """Write `index.html` (0600) into a folder that its owner alone may enter; return its path."""
    make_folder(folder)
    path = folder / "index.html"
    write_durably(path, render(run, progress).encode())
    return path


def render(run: SiteRun, progress: Progress | None = None) -> str:
    """Return the page as text."""
    blocks = blocks_of(run)
    timed = run.study.follow_up is not None
    curves, without = ([], []) if timed else curves_of(run)
    followed, without = followed_of(run) if timed else ([], without)
    measured = measure_all(_all_patients(run), progress) if run.study.needs_images else {}
    return pages.render(
        "client.report",
        "site_report.html",
        site=run.settings.name,
        study=run.study.name,
        run=run.name,
        endpoint=run.study.endpoint,
        counts=_counts(run),
        excluded=run.excluded,
        confirmed=run.confirmed,
        measured=len(measured),
        outliers=_outlier_table(outliers(measured)),
        curves=_by_set(curves),
        followed=followed,
        without=without,
        maps=[map_of(block) for block in blocks],
        heatmaps=[heatmap_of(block) for block in blocks],
        correlations=[correlation_of(one, title_of(one.subset)) for one in correlations_of(run)],
        gaps=[
            f"{block.title}: {100 * block.gaps:.1f} % of the values were missing; the feature's"
            " median stands in."
            for block in blocks
            if block.gaps
        ],
        patients=[(title_of(subset), rows_of(run, subset)) for subset in run.subsets],
        label=label_of,
    )


def _all_patients(run: SiteRun) -> list[Patient]:
    found = {p.patient_id: p for subset in run.subsets for p in run.patients(subset)}
    return list(found.values())


def _counts(run: SiteRun) -> str:
    parts = []
    for subset in run.subsets:
        patients = run.patients(subset)
        positives = sum(patient.label for patient in patients)
        parts.append(f"{title_of(subset)}: {len(patients)} patients, {positives} with the finding")
    return "; ".join(parts)


def _by_set(curves: Sequence[SiteCurve]) -> list[tuple[str, str, list[Drawing]]]:
    parts = []
    for subset, group in groupby(curves, key=lambda one: one.subset):
        found = list(group)
        note = f"{found[0].n} patients, {found[0].positives} with the finding."
        drawings = [roc_of(one, MODELS[one.model].label) for one in found]
        parts.append((title_of(subset), note, drawings))
    return parts


def _outlier_table(found: Sequence[Outlier]) -> Block:
    lines = tuple(
        Line(
            one.patient,
            (
                Cell(one.measure),
                Cell(f"{one.value:.4g}"),
                Cell(f"{one.median:.4g}"),
                Cell(f"{one.deviations:+.1f}"),
            ),
        )
        for one in found
    )
    return Block("", "", ("Patient", "What", "Value", "Median here", "Robust SD away"), lines)
