"""Show a prediction: on screen, and as JSON, a table, a page a patient and its PDF.

The page is self-contained HTML: no script, no request to anywhere.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from client.predict.pictures import Pictures, pictures_of
from client.predict.predicting import RESEARCH, Outcome
from client.predict.scoring import Prediction, Predictor, Score
from common.errors import InputError
from common.html import pages
from common.html.pages import Block, Cell, Line
from common.models import MODELS, label_of, labels_of
from common.study.model import Study
from common.utils.csv_file import write_csv
from common.utils.durable import make_folder
from common.utils.processes import kept


def show(outcome: Outcome, console: Console) -> None:
    """Print every patient with every model, and all that must be read with it."""
    opened = outcome.opened
    console.print(f"[bold red]{RESEARCH}[/bold red]", highlight=False)
    line = f"study {opened.study.name}, {opened.study.outcome}; bundle {opened.digest[:16]}"
    console.print(escape(line), highlight=False)
    if opened.signed_by:
        console.print(f"signature verified, key {opened.signed_by}", highlight=False)
    for warning in outcome.warnings:
        console.print(f"[bold red]warning[/bold red] {escape(warning)}", highlight=False)
    for prediction in outcome.predictions:
        _show_patient(prediction, console)
    for problem in outcome.problems:
        console.print(f"[red]refused[/red] {escape(str(problem))}", highlight=False)
    counts = outcome.counts
    if counts["read"] > 1:
        line = ", ".join(f"{number} {what}" for what, number in counts.items())
        console.print(f"patients: {line}", highlight=False)


def _show_patient(prediction: Prediction, console: Console) -> None:
    table = Table(title=escape(prediction.case.patient_id), title_justify="left")
    for name in ("model", "probability", "cut-off", "risk"):
        table.add_column(name, justify="right" if name in ("probability", "cut-off") else "left")
    for score in prediction.scores:
        cut = f"{score.cutoff:.4f}"
        if score.probability is None:
            table.add_row(label_of(score.model), "-", cut, f"no {', no '.join(score.lacks)}")
            continue
        colour = "red" if score.group == "high" else "blue"
        group = f"[{colour}]{score.group}[/{colour}]"
        table.add_row(label_of(score.model), f"{score.probability:.4f}", cut, group)
    console.print(table)
    for one in prediction.outside:
        console.print(f"[yellow]outside[/yellow] {escape(str(one))}", highlight=False)
    for note in prediction.notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)


MOST_LISTED = 8


def render(outcome: Outcome, prediction: Prediction, pictures: Pictures, when: datetime) -> str:
    """Return the whole page as text."""
    study = outcome.opened.study
    imaging = study.imaging
    return pages.render(
        "client.predict",
        "prediction.html",
        patient=prediction.case.patient_id,
        endpoint=study.outcome,
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
    """Return the last model that could be used: the fusions stand last."""
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
        "looks_at": MODELS[score.model].looks_at if score.model in MODELS else "",
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


_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 60


def find_browser() -> str | None:
    """Return the path of a browser that prints, None where there is none."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def print_page(browser: str, page: Path) -> Path | None:
    """Write the PDF beside a page; return None where the browser did not."""
    made = page.with_suffix(".pdf")
    # the browser's sandbox cannot be set up by root; the page is ours, without script or requests
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", *alone, "--disable-gpu", "--no-pdf-header-footer"]
        command += [f"--user-data-dir={profile}", f"--print-to-pdf={made}", page.resolve().as_uri()]
        try:
            # no shell; the program was found on the path, and the file is ours
            subprocess.run(kept(command), capture_output=True, timeout=_SECONDS, check=True)  # noqa: S603
        except (OSError, subprocess.SubprocessError):
            return None
    return made if made.is_file() else None


Tell = Callable[[str], None]


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not empty: pages of other patients must not be mixed in."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("not an empty folder", where=str(folder), remedy="choose another one")


@dataclass(frozen=True)
class Wish:
    """Options of the pages.

    Parameters
    ----------
    saliency_steps : of the map of the 3D network; 0 = no map.
    pdf : print each page too, where the machine has a browser.
    dicom : write each patient's prediction and ROI as DICOM, too.
    """

    saliency_steps: int
    pdf: bool
    dicom: bool = False


def write(outcome: Outcome, predictor: Predictor, folder: Path, wish: Wish, tell: Tell) -> None:
    """Write everything into a folder that only this user may read."""
    make_folder(folder)
    text = json.dumps(outcome.as_dict(), indent=1, allow_nan=False)
    (folder / "prediction.json").write_text(text + "\n", encoding="utf-8")
    names = _page_names(outcome)
    _write_table(outcome, names, folder / "predictions.csv")
    browser = find_browser() if wish.pdf else None
    if wish.pdf and browser is None:
        tell("no PDF: install chromium, or print the page from a browser")
    when = datetime.now().astimezone()
    for name, prediction in zip(names, outcome.predictions, strict=True):
        page = folder / name
        pictures = pictures_of(prediction, predictor, wish.saliency_steps)
        page.write_text(render(outcome, prediction, pictures, when), encoding="utf-8")
        printed = print_page(browser, page) if browser else None
        if browser and printed is None:
            tell("no PDF: the browser could not print the page")
        tell(f"written: {page}{f' and {printed.name}' if printed else ''}")
        if wish.dicom:
            _write_dicom(prediction, outcome, page, when, tell)


def _write_dicom(
    prediction: Prediction, outcome: Outcome, page: Path, when: datetime, tell: Tell
) -> None:
    """Write the DICOM objects of a patient into a folder beside the page."""
    from client.predict.dicom_objects import write_dicom

    folder = page.with_suffix(".dicom")
    make_folder(folder)
    written = write_dicom(prediction, outcome.opened, folder, when)
    tell(f"written: {written.report} and {written.segmentation.name}, to be sent by you")


def _page_names(outcome: Outcome) -> list[str]:
    """Number the pages, as an id may hold anything; predictions.csv says whose is whose."""
    if len(outcome.predictions) == 1 and not outcome.problems:
        return ["report.html"]
    return [f"report-{number:04d}.html" for number in range(1, len(outcome.predictions) + 1)]


def _write_table(outcome: Outcome, names: list[str], path: Path) -> None:
    head = ["patient_id", "model", "probability", "cutoff", "risk", "outside", "page"]
    rows: list[list[object]] = [[*head, "research_use_only"]]
    for name, prediction in zip(names, outcome.predictions, strict=True):
        for score in prediction.scores:
            probability = "" if score.probability is None else repr(score.probability)
            cells = [score.model, probability, repr(float(score.cutoff)), score.group or ""]
            outside = sum(score.model in one.models for one in prediction.outside)
            rows.append([prediction.case.patient_id, *cells, outside, name, "yes"])
    write_csv(path, rows)
