"""Recognise texts that may name a person, and check ids, columns and files of cohort.csv."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import PurePath

import pandas as pd

from client.check.finding import Findings, listed, or_ok, warning
from client.data.cohort_file import row_number
from common.messages.exchanges import READINGS
from common.study.model import Study

FILE_COLUMNS = ("image", "mask", *(f"mask_{reading}" for reading in READINGS))
PSEUDONYMISE = "use a pseudonym of the study; nothing of it leaves, but logs and screens show it"
A_DATE, A_NUMBER, A_NAME = "a date", "a long number", "a person's name"
_YEAR, _MONTH, _DAY = r"(?:19|20)\d{2}", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_BETWEEN = r"[-_./ ]"
_DATES = (
    re.compile(r"(?<!\d)(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)"),
    re.compile(rf"(?<!\d){_YEAR}{_BETWEEN}{_MONTH}{_BETWEEN}{_DAY}(?!\d)"),
    re.compile(rf"(?<!\d){_DAY}{_BETWEEN}{_MONTH}{_BETWEEN}{_YEAR}(?!\d)"),
    re.compile(rf"(?<!\d){_MONTH}{_BETWEEN}{_DAY}{_BETWEEN}{_YEAR}(?!\d)"),
)
_LONG_NUMBER = re.compile(r"\d{7,}")
_WORD = re.compile(r"[^\W\d_]{2,}")
_DICOM_NAME = re.compile(r"[^\W\d_]{2,}(?:\^|, )[^\W\d_]{2,}")
_TWO_CAPITALS = re.compile(r"(?<![^\W\d_])[A-Z][a-z]{2,}[ _.-]+[A-Z][a-z]{2,}(?![^\W\d_])")
# words that occur in names of files and ids, and name nobody
_COMMON = """
abdomen anon anonymised anonymized anonymous arterial axial bone brain case centre center chest
contour contrast control ct data dataset dcm dicom export external file final first fixed gtv head
hospital id image images img internal itk kernel larynx left lesion lung mask masks mr neck nifti
nii node none nrrd original part pat patient patients phase plain portal post pre primary reader
reading reconstruction region repeat resampled right roi rtstruct sample scan second seg
segmentation series simpleitk site slice soft standard study sub subject test thin thorax tissue
train training tumor tumour unknown validation venous volume
"""
COMMON = frozenset(_COMMON.split())
_NAMING_COLUMNS = re.compile(
    r"(?:^|_)(?:name|names|surname|firstname|lastname|vorname|nachname|initials|dob|birth|birthdate"
    r"|birthday|geburtsdatum|mrn|ssn|nhs|nino|passport|insurance|address|street|postcode|zip|phone"
    r"|telephone|mobile|email|mail|accession|physician|doctor)(?:_|$)"
)


def reasons(text: str, known: Collection[str] = ()) -> tuple[str, ...]:
    """Return what a text seems to reveal about a person; empty for nothing.

    Parameters
    ----------
    known : words (lower case) that name nobody here, beside `COMMON`.
    """
    found = []
    dates = any(pattern.search(text) for pattern in _DATES)
    if dates:
        found.append(A_DATE)
    elif _LONG_NUMBER.search(text):
        found.append(A_NUMBER)
    if _DICOM_NAME.search(text) or _may_be_a_name(text, known):
        found.append(A_NAME)
    return tuple(found)


def _may_be_a_name(text: str, known: Collection[str]) -> bool:
    nobodys = {*COMMON, *known}

    def uncommon(part: str) -> list[str]:
        return [word for word in _WORD.findall(part) if word.casefold() not in nobodys]

    if any(character.isdigit() for character in text):
        # ids often consist of words and a number: only texts written like a name count
        pairs = (match.group() for match in _TWO_CAPITALS.finditer(text))
        return any(len(uncommon(pair)) == 2 for pair in pairs)
    words = uncommon(text)
    return 2 <= len(words) <= 4 and min(map(len, words)) >= 3


def plain_id(patient: str) -> str:
    """Return an id without case, punctuation and leading zeros."""
    parts = re.findall(r"[0-9]+|[^\W\d_]+", patient.casefold())
    return "-".join(part.lstrip("0") or part[:1] for part in parts)


def shared_words(texts: Sequence[str]) -> frozenset[str]:
    """Return words (lower case) in at least half of the texts: they identify nobody."""
    if len(texts) < 4:
        return frozenset()
    counts = Counter(word for text in texts for word in set(_WORD.findall(text.casefold())))
    return frozenset(word for word, n in counts.items() if 2 * n >= len(texts))


def naming_column(name: str) -> bool:
    """Return whether a column of this name is meant to identify a person."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold()
    return bool(_NAMING_COLUMNS.search(re.sub(r"[^a-z0-9]+", "_", plain)))


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
