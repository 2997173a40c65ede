"""The files of a prediction: prediction.json, predictions.csv, a page a patient, its PDF."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from client.predict.outcome import Outcome
from client.predict.page import render
from client.predict.pdf import find_browser, print_page
from client.predict.predicting import pictures_of
from client.predict.scoring import Predictor
from common.errors import InputError
from common.utils.durable import make_folder

Tell = Callable[[str], None]


def check_folder(folder: Path) -> None:
    """InputError unless it is empty or not there: pages of other patients must not be mixed in."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("not an empty folder", where=str(folder), remedy="choose another one")


@dataclass(frozen=True)
class Wish:
    """What the pages are to have.

    Parameters
    ----------
    saliency_steps : of the map of the 3D network; 0 = no map.
    pdf : print each page too, where the machine has a browser.
    """

    saliency_steps: int
    pdf: bool


def write(outcome: Outcome, predictor: Predictor, folder: Path, wish: Wish, tell: Tell) -> None:
    """Write everything into a folder that only this user may read.

    Parameters
    ----------
    tell : is given lines about what was written.
    """
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


def _page_names(outcome: Outcome) -> list[str]:
    """By number, as an id may hold anything; predictions.csv tells whose is whose."""
    if len(outcome.predictions) == 1 and not outcome.problems:
        return ["report.html"]
    return [f"report-{number:04d}.html" for number in range(1, len(outcome.predictions) + 1)]


def _write_table(outcome: Outcome, names: list[str], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        head = ["patient_id", "model", "probability", "cutoff", "risk", "outside", "page"]
        writer.writerow([*head, "research_use_only"])
        for name, prediction in zip(names, outcome.predictions, strict=True):
            for score in prediction.scores:
                probability = "" if score.probability is None else repr(score.probability)
                cells = [score.model, probability, repr(float(score.cutoff)), score.group or ""]
                outside = sum(score.model in one.models for one in prediction.outside)
                writer.writerow([prediction.case.patient_id, *cells, outside, name, "yes"])
