"""Items of a reporting guideline, and the answer to each from a run and from its authors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from common.html.pages import Block, Cell, Line
from common.study.reporting import title_of
from server.report.schema import Results

Fact = Callable[[Results], str]
PLACES = {
    **{"summary": "summary", "patients": "participants", "Table 1": "table1"},
    **{"hospitals": "per-site", "calibration": "calibration", "subgroups": "strata"},
    **{"features": "selection", "networks": "training", "fusion": "fusion"},
    **{"settings": "settings", "versions": "facts"},
}
"""Parts of the report by the name that an item calls them, as `report, features`."""


class Source(StrEnum):
    """Origin of the answer to an item."""

    RUN = "the run"
    PART = "the run, in part"
    AUTHORS = "the authors"
    BOTH = "the run and the authors"
    WRITE = "to be written"
    NONE = "does not apply"


@dataclass(frozen=True)
class Item:
    """An item of a guideline.

    Parameters
    ----------
    number : official, such as "12c".
    section, topic : in our words; the guideline has the full text.
    facts : what the run knows; an empty text = nothing.
    fields : of the block [reporting] of the study, for what it cannot know.
    where : place in the report or the run's folder.
    optional : the run's facts suffice where the authors write nothing.
    """

    number: str
    section: str
    topic: str
    facts: tuple[Fact, ...] = ()
    fields: tuple[str, ...] = ()
    where: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Answer:
    """An item with its answer, who gave it, and the fields that are still empty."""

    item: Item
    text: str
    source: Source
    missing: tuple[str, ...]


def answer(items: Sequence[Item], results: Results, fields: Mapping[str, str]) -> list[Answer]:
    """Answer every item.

    Parameters
    ----------
    fields : texts of the authors by field; a field without a text is missing.
    """
    return [_answer(item, results, fields) for item in items]


def _answer(item: Item, results: Results, fields: Mapping[str, str]) -> Answer:
    known = [text for text in (fact(results) for fact in item.facts) if text]
    written = [fields[name] for name in item.fields if fields.get(name)]
    missing = tuple(name for name in item.fields if not fields.get(name))
    if item.optional and (known or written):
        missing = ()
    text = " ".join([*written, *known])
    return Answer(item, text, _source(bool(known), bool(written), missing, item), missing)


def _source(known: bool, written: bool, missing: tuple[str, ...], item: Item) -> Source:
    if missing and not written and not known:
        return Source.WRITE
    if written:
        return Source.BOTH if known else Source.AUTHORS
    if known:
        return Source.PART if missing else Source.RUN
    return Source.WRITE if item.fields else Source.NONE


def block(title: str, note: str, answers: Sequence[Answer]) -> Block:
    """Return the checklist as a table; what is still to be written stands out."""
    lines = tuple(
        Line(one.item.number, (Cell(one.item.topic, one.item.section), *_cells(one)))
        for one in answers
    )
    columns = ("Item", "Topic", "Answer", "Where", "Answered by")
    widths = (0.06, 0.18, 0.48, 0.15, 0.13)
    return Block(title, note, columns, lines, sortable=False, widths=widths)


def _cells(one: Answer) -> tuple[Cell, ...]:
    asked = "; ".join(f"{name} ({title_of(name)})" for name in one.missing)
    open_ = f"Still to be written: {asked}." if asked else ""
    shown = one.text or ("" if asked else "Does not apply.")
    return (
        Cell(shown, open_),
        Cell(one.item.where, link=_link(one.item.where)),
        Cell(one.source, strong=bool(one.missing)),
    )


def _link(where: str) -> str:
    """Return the address of a part of the report, from the manuscript's folder."""
    page = "../report/index.html"
    names = [name for name in PLACES if f"report, {name}" in where]
    return f"{page}#{PLACES[names[0]]}" if names else page if where == "report" else ""


def missing_fields(answers: Sequence[Answer]) -> tuple[str, ...]:
    """Return the fields that some item still waits for, each once, in order."""
    return tuple(dict.fromkeys(name for one in answers for name in one.missing))


COLUMNS = ("item", "section", "topic", "answer", "where", "answered_by", "missing_fields")


def rows(answers: Sequence[Answer]) -> list[list[str]]:
    """Return the checklist as lines of a CSV file, headings first."""
    body = [
        [
            *(one.item.number, one.item.section, one.item.topic, one.text),
            *(one.item.where, str(one.source), " ".join(one.missing)),
        ]
        for one in answers
    ]
    return [list(COLUMNS), *body]
