"""Ask once which column of the hospital's table is which; the answers go into import.toml."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from client.importing.mapping import ImportMapping
from client.importing.pairing import Match
from client.importing.pseudonyms import same_person
from client.importing.survey import Survey
from client.importing.table import known_values, unknown_codes, wanted_columns
from common.study.model import Study
from common.utils.text_file import number, plain_text, skeleton, spelt_alike

Ask = Callable[[str, Sequence[str], str], str]
"""Asks a question with its possible answers and the most likely one; "" is an answer, too."""
MATCHES: tuple[Match, ...] = ("PatientID", "AccessionNumber")
_ENOUGH_COMMON = 1
_MOST_ROIS = 40


def completed(
    mapping: ImportMapping, frame: pd.DataFrame, found: Survey, study: Study, ask: Ask
) -> ImportMapping:
    """Return the mapping with everything answered that it leaves open.

    Parameters
    ----------
    found : the column of ids, and what they match, are guessed from it.
    """
    headings = tuple(map(str, frame.columns))
    if not mapping.id:
        column, match = _likely(frame, found)
        question = "column that identifies a person or an examination, as in the images"
        column = ask(question, headings, column)
        match = _fitting(frame[column], found) or match
        question = f"{column} is in the images the element"
        update = {"id": column, "match": ask(question, MATCHES, match)}
        mapping = mapping.model_copy(update=update)
    drawn = _rois(found)
    if study.needs_images and not (mapping.roi or mapping.choices) and drawn:
        question = "name of the ROI of the study (- = another one in each patient)"
        said = ask(question, (*drawn, "-"), "")
        mapping = mapping.model_copy(update={"roi": () if said == "-" else (said,)})
    columns, constants = dict(mapping.columns), dict(mapping.constants)
    for name in wanted_columns(study):
        if name in columns or name in constants:
            continue
        likely = _only(one for one in headings if skeleton(one) == skeleton(name))
        fixed = tuple(f"={value}" for value in known_values(study, name))
        question = f"column of the table for {name}"
        question += f" (or {' or '.join(fixed)} for all rows)" if fixed else ""
        said = ask(question, (*headings, *fixed), likely)
        if said.startswith("="):
            constants[name] = said[1:]
        else:
            columns[name] = said
    mapping = mapping.model_copy(update={"columns": columns, "constants": constants})
    codes = {name: dict(known) for name, known in mapping.codes.items()}
    for name, value in list(unknown_codes(frame, mapping, study)):
        known = known_values(study, name)
        question = f'"{value}" in the column {mapping.columns[name]} means for {name} (- = missing)'
        said = ask(question, (*known, "-"), _same_word(value, known))
        codes.setdefault(name, {})[value] = "" if said == "-" else said
    return mapping.model_copy(update={"codes": codes})


def _rois(found: Survey) -> tuple[str, ...]:
    """Return the names of all ROIs, the most frequent first, if a file holds several.

    With one a file there is nothing to choose, whatever their names.
    """
    names = [{plain_text(name) for name in one.rois.values()} for one in found.contours]
    if all(len(own) < 2 for own in names):
        return ()
    counts = Counter(name for own in names for name in own - {"", "-"})
    return tuple(name for name, _ in counts.most_common(_MOST_ROIS))


def _same_word(value: str, known: Sequence[str]) -> str:
    """Return the level that a code is spelt like, which who presses Enter takes; or none.

    Likeness is not enough: "ano" is Czech for yes, and "inactive" is not "active". Numbers mean
    what the hospital's own list of codes says.
    """
    return _only(k for k in known if spelt_alike(k, value)) if number(value) is None else ""


def _only(fitting: Iterable[str]) -> str:
    found = list(fitting)
    return found[0] if len(found) == 1 else ""


def _likely(frame: pd.DataFrame, found: Survey) -> tuple[str, Match]:
    """Return the column that has most ids in common with the images, and what they are there."""
    best, column, match = 0, str(frame.columns[0]), MATCHES[0]
    for name in map(str, frame.columns):
        for one in MATCHES:
            common = len(_ids(frame[name]) & _in_images(found, one))
            if common > best:
                best, column, match = common, name, one
    return column, match


def _fitting(cells: Iterable[object], found: Survey) -> Match | None:
    shared = {one: len(_ids(cells) & _in_images(found, one)) for one in MATCHES}
    best = max(MATCHES, key=lambda one: shared[one])
    return best if shared[best] >= _ENOUGH_COMMON else None


def _ids(cells: Iterable[object]) -> set[str]:
    return {same_person(str(cell)) for cell in cells} - {""}


def _in_images(found: Survey, match: Match) -> set[str]:
    stored = [one for own in found.series.values() for one in own.slices]
    stored += [one.stored for one in found.contours]
    texts = (one.patient if match == "PatientID" else one.accession for one in stored)
    return _ids(texts)
