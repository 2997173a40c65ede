"""Findings that a hospital may overrule for one patient, by a word in cohort.csv."""

from __future__ import annotations

from common.errors import InputError

COLUMN = "confirmed"
FRAME_OF_REFERENCE = "frame_of_reference"
WORDS = (FRAME_OF_REFERENCE,)
NOTHING: frozenset[str] = frozenset()


def confirmed_words(cell: str, where: str = f"column {COLUMN}") -> frozenset[str]:
    """Return the words of a cell of the column `confirmed`; spaces or semicolons part them.

    Raises
    ------
    InputError : an unknown word.

    Examples
    --------
    >>> sorted(confirmed_words("frame_of_reference"))
    ['frame_of_reference']
    """
    words = frozenset(cell.replace(";", " ").split())
    unknown = sorted(words - set(WORDS))
    if unknown:
        raise InputError(
            f'unknown word "{unknown[0]}"',
            where=where,
            remedy=f"write {', '.join(WORDS)} where you have looked and it is right, else nothing",
        )
    return words
