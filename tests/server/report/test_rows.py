"""Small counts of a set do not stand in the results, whoever holds it."""

from __future__ import annotations

import pytest

from server.report.rows import shown_counts


@pytest.mark.parametrize(
    ("n", "positives", "shown"),
    [
        (30, 12, (30, 12)),
        (30, 0, (30, 0)),
        (30, 1, (30, None)),
        (30, 29, (30, None)),
        (1, 1, (None, None)),
        (1, 0, (None, None)),
        (2, 1, (None, None)),
        (0, 0, (0, 0)),
    ],
)
def test_one_or_two_patients_are_not_told_of(
    n: int, positives: int, shown: tuple[int | None, int | None]
) -> None:
    assert tuple(shown_counts(n, positives, 3).values()) == shown


def test_a_minimum_of_nothing_withholds_nothing() -> None:
    assert shown_counts(1, 1, 0) == {"n": 1, "positives": 1}
