"""Check ids, columns and file names of cohort.csv for names of persons."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

import pandas as pd

from client.check.cohort import naming_column, plain_id, reasons, shared_words
from client.check.finding import Findings, or_ok, warning
from client.check.screen import listed
from client.data.cohort import READINGS
from client.data.cohort_file import row_number
from common.study.model import Study

FILE_COLUMNS = ("image", "mask", *(f"mask_{reading}" for reading in READINGS))
PSEUDONYMISE = "use a pseudonym of the study; nothing of it leaves, but logs and screens show it"


def check_names(frame: pd.DataFrame, site: str, study: Study) -> Findings:
    """Find texts that may name a person; report their rows, never the texts."""
    fine = {"identifiers.cohort": f"{len(frame)} rows", "identifiers.files": f"{len(frame)} rows"}
    found = (*_columns(frame, study), *_ids(frame, site), *_files(frame, site))
    return or_ok(found, fine)


def _columns(frame: pd.DataFrame, study: Study) -> Findings:
    read = {column.name for column in study.clinical}
    for name in frame.columns:
        if name not in read and naming_column(str(name)):
            yield warning(
                "identifiers.cohort",
                f"cohort.csv column {name}",
                "a column made for a person's data, which the study does not read",
                "keep it in the hospital's own key file",
            )


def _ids(frame: pd.DataFrame, site: str) -> Findings:
    if "patient_id" not in frame.columns:
        return
    ids = [str(patient).strip() for patient in frame["patient_id"]]
    known = shared_words(ids) | _words(site)
    for why, rows in _by_reason(((patient,) for patient in ids), known):
        yield warning(
            "identifiers.cohort",
            f"cohort.csv column patient_id, {_rows(frame, rows)}",
            f"ids that look like {why}",
            PSEUDONYMISE,
        )


def _files(frame: pd.DataFrame, site: str) -> Findings:
    for column in (name for name in FILE_COLUMNS if name in frame.columns):
        parts = [
            tuple(_stem(part) for part in PurePath(str(cell).strip().replace("\\", "/")).parts)
            for cell in frame[column]
        ]
        known = shared_words([" ".join(own) for own in parts]) | _words(site)
        own_ids = [plain_id(str(patient)) for patient in frame.get("patient_id", [""] * len(parts))]
        # ids are checked as ids
        others = (
            tuple(part for part in own if plain_id(part) != patient)
            for own, patient in zip(parts, own_ids, strict=True)
        )
        for why, rows in _by_reason(others, known):
            yield warning(
                "identifiers.files",
                f"cohort.csv column {column}, {_rows(frame, rows)}",
                f"names of files or folders that look like {why}",
                "rename them after the pseudonym",
            )


def _stem(part: str) -> str:
    return re.sub(r"\.(nii|gz|nrrd|mha|dcm)$", "", part.removesuffix(".gz"), flags=re.IGNORECASE)


def _words(site: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]+", site.casefold()))


def _by_reason(
    texts: Iterable[Sequence[str]], known: frozenset[str]
) -> Iterator[tuple[str, list[int]]]:
    """Yield reasons with the positions of the rows they apply to."""
    found: dict[str, list[int]] = defaultdict(list)
    for position, parts in enumerate(texts):
        for why in dict.fromkeys(why for part in parts for why in reasons(part, known)):
            found[why].append(position)
    yield from found.items()


def _rows(frame: pd.DataFrame, positions: Sequence[int]) -> str:
    numbers = [str(row_number(frame.index[position])) for position in positions]
    return f"row{'s' if len(numbers) > 1 else ''} {listed(numbers)}"
