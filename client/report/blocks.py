"""Blocks of features: one matrix a block over all of the site's patients, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.report.source import SiteRun
from common.html.labels import MODEL_LABELS
from common.statistics.base import Float

Mask = NDArray[np.bool_]
FEWEST = 5  # patients that a map is drawn of


@dataclass(frozen=True)
class Block:
    """Standardised features of the site's patients.

    Parameters
    ----------
    values : (patients, features), mean 0 and SD 1, no gaps, no constant column.
    patients : ids, (patients,).
    positive, training : (patients,).
    gaps : share of the values that were missing; the feature's median stands in.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    values: Float
    patients: tuple[str, ...]
    positive: Mask
    training: Mask
    gaps: float


def blocks_of(run: SiteRun) -> list[Block]:
    """Clinical, radiomics and network features, as far as the study has them."""
    sources = {
        "clinical": "clinical",
        "radiomics": "radiomics",
        "dl2d": "dl2d/final/features",
        "dl3d": "dl3d/final/features",
    }
    found = (_block(run, name, table) for name, table in sources.items())
    return [block for block in found if block is not None]


def _block(run: SiteRun, name: str, table: str) -> Block | None:
    if name not in run.study.base_models:
        return None
    rows: dict[str, Float] = {}
    positive: dict[str, bool] = {}
    columns: tuple[str, ...] = ()
    training: set[str] = set()
    for subset in run.subsets:
        try:
            read = run.tables.read(table, subset)
        except KeyError:  # the run has not come so far
            continue
        columns = read.columns
        for patient, row in zip(run.patients(subset), read.values, strict=True):
            # nobody stands twice on a map, whatever sets they are in
            rows.setdefault(patient.patient_id, row)
            positive[patient.patient_id] = patient.label == 1
            if subset == "train":
                training.add(patient.patient_id)
    if len(rows) < FEWEST:
        return None
    values, kept, gaps = standardised(np.array(list(rows.values())))
    if not kept.any():
        return None
    return Block(
        name=name,
        title=MODEL_LABELS[name],
        columns=tuple(c for c, k in zip(columns, kept, strict=True) if k),
        values=values,
        patients=tuple(rows),
        positive=np.array([positive[patient] for patient in rows]),
        training=np.array([patient in training for patient in rows]),
        gaps=gaps,
    )


def standardised(values: Float) -> tuple[Float, Mask, float]:
    """Columns that vary, mean 0 and SD 1; which they are (columns,); the share of gaps.

    A gap gets the median of its column; a column of gaps alone is left out.
    """
    missing = ~np.isfinite(values)
    usable = ~missing.all(axis=0)
    filled = np.where(missing, np.nan, values)
    centre = np.zeros(values.shape[1])
    centre[usable] = np.nanmedian(filled[:, usable], axis=0)
    filled = np.where(missing, centre, filled)
    spread = filled.std(axis=0)
    kept: Mask = usable & (spread > 1e-9 * np.maximum(1.0, np.abs(centre)))
    part = filled[:, kept]
    return (part - part.mean(axis=0)) / part.std(axis=0), kept, float(missing.mean())
