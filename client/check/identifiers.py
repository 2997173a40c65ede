"""Does a text tell of a person? Rules of thumb, so that a human looks where a machine cannot know.

Dates, long numbers (hospital, insurance and accession numbers have seven digits and more, study
pseudonyms seldom), and words that may be a first name and a surname. A pseudonym can be hit by
accident, and a name of one word is not found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

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
# words that stand in names of files and ids, and are nobody's
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
    """What a text seems to hold of a person; empty when nothing.

    Parameters
    ----------
    known : words (lower case) that are nobody's name here, beside `COMMON`.
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
        # ids are often made of words and a number: only what is written like a name counts
        pairs = (match.group() for match in _TWO_CAPITALS.finditer(text))
        return any(len(uncommon(pair)) == 2 for pair in pairs)
    words = uncommon(text)
    return 2 <= len(words) <= 4 and min(map(len, words)) >= 3


def plain_id(patient: str) -> str:
    """An id without case, punctuation and leading zeros."""
    parts = re.findall(r"[0-9]+|[^\W\d_]+", patient.casefold())
    return "-".join(part.lstrip("0") or part[:1] for part in parts)


def shared_words(texts: Sequence[str]) -> frozenset[str]:
    """Words (lower case) that stand in at least half of the texts: they tell nobody apart."""
    if len(texts) < 4:
        return frozenset()
    counts = Counter(word for text in texts for word in set(_WORD.findall(text.casefold())))
    return frozenset(word for word, n in counts.items() if 2 * n >= len(texts))


def naming_column(name: str) -> bool:
    """Whether a column of this name is made to hold who somebody is."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold()
    return bool(_NAMING_COLUMNS.search(re.sub(r"[^a-z0-9]+", "_", plain)))
