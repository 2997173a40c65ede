"""The site's patients one by one: each model's prediction, and the crop it saw."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from client.data.cohort import Patient
from client.report.site_run import SiteRun
from common.models import in_order

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

    The other models' are worked out for the coordinator's question only and are not kept here.
    """
    found: dict[str, dict[str, float]] = {}
    for network in run.study.networks:
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
