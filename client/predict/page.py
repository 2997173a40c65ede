"""The page of one patient: self-contained HTML, no script, no request to anywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from client.predict.outcome import Outcome
from client.predict.scoring import Prediction, Score
from client.predict.words import label_of, labels_of
from common.html import pages
from common.html.tables import Block, Cell, Line
from common.study.model import Study

MOST_LISTED = 8
_LOOKS_AT = {
    "clinical": "clinical data",
    "radiomics": "texture and shape in CT",
    "dl2d": "axial slices",
    "dl3d": "the whole volume",
    "fusion_feature": "inputs of those above",
    "fusion_decision": "answers of the first four",
}


@dataclass(frozen=True)
class Pictures:
    """PNGs as data URIs; empty where there is none.

    Parameters
    ----------
    crop : three planes with the contour.
    saliency : the same planes with the map of the 3D network.
    side_mm : of the crop.
    explained : share of the network's answer that the map accounts for; NaN = unknown.
    """

    crop: str = ""
    saliency: str = ""
    side_mm: float = 0.0
    explained: float = math.nan


def render(outcome: Outcome, prediction: Prediction, pictures: Pictures, when: datetime) -> str:
    """The whole page as text."""
    study = outcome.opened.study
    imaging = study.imaging
    return pages.render(
        "client.predict",
        "prediction.html",
        patient=prediction.case.patient_id,
        endpoint=study.endpoint,
        study=study.name,
        when=f"{when:%Y-%m-%d %H:%M}",
        warnings=outcome.warnings,
        headline=_headline(prediction.scores),
        rows=[_row(score) for score in prediction.scores],
        notes=[note.replace("_", " ") for note in prediction.notes],
        **_outside(prediction),
        limit=f"{study.selection.clip:g}",
        crop=pictures.crop,
        saliency=pictures.saliency,
        side=f"{pictures.side_mm:.0f}",
        low=f"{imaging.level - imaging.window / 2:g}".replace("-", "\N{MINUS SIGN}"),
        high=f"{imaging.level + imaging.window / 2:g}",
        explained=_explained(pictures.explained),
        clinical=_clinical(prediction, study),
        **_origin(outcome),
    )


def _headline(scores: tuple[Score, ...]) -> dict[str, str] | None:
    """The last model that could be used: the fusions stand last."""
    usable = [score for score in scores if score.probability is not None]
    if not usable:
        return None
    row, whole = _row(usable[-1]), usable[-1] is scores[-1]
    side = "at or above" if row["group"] == "high" else "below"
    note = "" if whole else f"{label_of(scores[-1].model)} could not be used, see below."
    return {**row, "side": side, "note": note}


def _row(score: Score) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": label_of(score.model),
        "looks_at": _LOOKS_AT.get(score.model, ""),
        "group": score.group,
        "lacks": " and no ".join(score.lacks),
    }
    if score.probability is not None:
        row |= {
            "probability": f"{score.probability:.3f}",
            "cutoff": f"{score.cutoff:.3f}",
            "percent": f"{100 * score.probability:.2f}",
            "cut_percent": f"{100 * min(max(score.cutoff, 0), 1):.2f}",
        }
    return row


def _outside(prediction: Prediction) -> dict[str, Any]:
    found = prediction.outside
    lines = tuple(
        Line(
            # names of radiomics features stay as they are: they are looked up by them
            one.column.replace("_", " ") if one.table == "clinical" else one.column,
            (Cell(one.value), Cell(one.usual), Cell(labels_of(one.models) or "no model")),
        )
        for one in found[:MOST_LISTED]
    )
    columns = ("Input", "This patient", "Training patients", "Used by")
    left = len(found) - MOST_LISTED
    more = f"{left} more stand in prediction.json." if left > 0 else ""
    case = prediction.case
    checked = [
        *(["clinical data"] if case.clinical is not None else []),
        *(["features of the image that a model uses"] if case.image is not None else []),
    ]
    listed = Block("", "", columns, lines)
    return {"outside": listed, "more": more, "checked": ", ".join(checked)}


def _explained(share: float) -> str:
    if math.isnan(share) or abs(share - 1) < 0.1:
        return ""
    return (
        f"The map accounts for {100 * share:.0f} % of the network's answer (100 % would be"
        " complete): read it with caution."
    )


def _clinical(prediction: Prediction, study: Study) -> list[tuple[str, str]]:
    values = prediction.case.clinical
    if values is None:
        return []
    shown = []
    for column in study.clinical:
        value = values[column.name]
        text = "missing" if math.isnan(value) else f"{value:g} {column.unit}".strip()
        if column.levels and not math.isnan(value):
            text = column.levels[round(value)].replace("_", " ")
        shown.append((column.name.replace("_", " "), text))
    return shown


def _origin(outcome: Outcome) -> dict[str, str]:
    signed = outcome.opened.signed_by
    verified = f"signature verified, key {signed}" if signed else "NOT VERIFIED"
    software = ", ".join(f"{name} {version}" for name, version in outcome.software.items())
    return {"verified": verified, "digest": outcome.opened.digest, "software": software}
