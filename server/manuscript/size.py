"""Sample size: what development would need, what there is, and the precision that was reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from common.evaluation.sample_size import expected_width, patients_to_develop
from common.html.pages import Block, Cell, Line
from common.models import MODELS
from server.report import words
from server.report.performance_records import Performance
from server.report.reading import headline_model, main_run, set_label
from server.report.schema import RecordedSettings, Results

COLUMNS = (
    *("model", "set", "patients", "events", "candidate_parameters", "events_per_parameter"),
    *("needed_shrinkage", "needed_optimism", "needed_risk", "auc", "width", "expected_width"),
)
FEW_EVENTS = 100
"""Events and non-events that an evaluation should have (Collins 2016, Stat Med 35:214-226)."""


@dataclass(frozen=True)
class Size:
    """Sample size of one model on one set; None = unknown, or a question of the other kind."""

    model: str
    set: str
    patients: int | None
    events: int | None
    candidate_parameters: int | None = None
    events_per_parameter: float | None = None
    needed_shrinkage: int | None = None
    needed_optimism: int | None = None
    needed_risk: int | None = None
    auc: float | None = None
    width: float | None = None
    expected_width: float | None = None


def candidates(settings: RecordedSettings, model: str) -> int | None:
    """Return the candidate predictor parameters of a model, None where counting says nothing.

    A level but the first counts as one. Weights of networks are no predictors, and a fusion reads
    other models.
    """
    if model == "clinical":
        ordered = ("continuous", "ordinal")
        return sum(1 if c.kind in ordered else len(c.levels) - 1 for c in settings.clinical)
    if model == "radiomics":
        return int(str(settings.radiomics["expected_features"]))
    return None


def sizes(results: Results) -> list[Size]:
    """Return a line for each model and set of the main run."""
    run = main_run(results)
    return [_size(results, row) for row in results.performance if row.run == run]


def _size(results: Results, row: Performance) -> Size:
    known = Size(row.model, row.set, row.n, row.positives)
    if row.set == "train":
        return _development(results, row, known)
    width = None if row.ci_low is None or row.ci_high is None else row.ci_high - row.ci_low
    return Size(**{**vars(known), "auc": row.auc, "width": width, "expected_width": _expected(row)})


def _expected(row: Performance) -> float | None:
    """Return the width to expect of so many patients at this AUC, by Hanley and McNeil."""
    if row.auc is None or row.positives is None or row.negatives is None:
        return None
    if not 0 < row.auc < 1 or min(row.positives, row.negatives) < 1:
        return None
    return expected_width(row.auc, row.positives, row.negatives)


def _development(results: Results, row: Performance, known: Size) -> Size:
    number = None if results.settings is None else candidates(results.settings, row.model)
    if not number or not row.n or not row.positives or row.positives == row.n:
        return known
    needed = patients_to_develop(number, row.positives / row.n)
    fewer = min(row.positives, row.n - row.positives)
    return Size(
        **{
            **vars(known),
            "candidate_parameters": number,
            "events_per_parameter": fewer / number,
            "needed_shrinkage": needed.shrinkage,
            "needed_optimism": needed.optimism,
            "needed_risk": needed.risk,
        }
    )


def reached(results: Results) -> str:
    """Say how many patients each candidate predictor has, and how precise the evaluation is."""
    found = [
        f"{words.lowered(MODELS[one.model].label)} {words.compact(one.events_per_parameter)}"
        for one in sizes(results)
        if one.events_per_parameter is not None
    ]
    first = (
        f"Patients of the rarer outcome for each candidate: {', '.join(found)}. " if found else ""
    )
    model = headline_model(results)
    widths = [
        f"{set_label(one.set)} {words.auc(one.width)}"
        for one in sizes(results)
        if one.model == model and one.width is not None
    ]
    if not widths:
        return first.strip()
    return f"{first}Width of the 95% CI of the AUC of the main model: {', '.join(widths)}."


def rows(results: Results) -> list[list[object]]:
    """Return the table as lines of a CSV file, headings first."""
    body = [[getattr(one, column) for column in COLUMNS] for one in sizes(results)]
    return [list(COLUMNS), *body]


def block(results: Results) -> Block:
    """Return the table of sample sizes."""
    lines = tuple(
        Line(MODELS[one.model].label if one.model in MODELS else one.model, tuple(_cells(one)))
        for one in sizes(results)
    )
    note = (
        "Development: patients that Riley's three criteria ask for (shrinkage of at least 0.9,"
        " optimism of at most 0.05 in Nagelkerke's R2, risk within 0.05), if the candidates"
        " explained 15 % of the largest possible R2; they are made for regression, and penalties,"
        " filters and networks need them no less. Events each: patients of the rarer class for each"
        " candidate. Evaluation:"
        f" at least {FEW_EVENTS} patients of each class are advised; the width of the 95 %"
        " interval of the AUC, and in brackets that which Hanley and McNeil expect."
    )
    columns = ("Model", "Set", "Patients", "Events", "Candidates", "Events each", "Needed", "Width")
    return Block("Sample size and precision", note, columns, lines, sortable=False)


def _cells(one: Size) -> Iterator[Cell]:
    yield Cell(set_label(one.set))
    yield Cell("withheld" if one.patients is None else str(one.patients))
    yield Cell("withheld" if one.events is None else str(one.events))
    yield Cell("" if one.candidate_parameters is None else str(one.candidate_parameters))
    each = one.events_per_parameter
    yield Cell("" if each is None else words.compact(each))
    needed = (one.needed_shrinkage, one.needed_optimism, one.needed_risk)
    yield Cell("" if None in needed else ", ".join(map(str, needed)))
    width = "" if one.width is None else words.auc(one.width)
    yield Cell(width, "" if one.expected_width is None else f"({words.auc(one.expected_width)})")
