from __future__ import annotations

from fractions import Fraction

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from common.evaluation.release_audit import determined_patients, smallest_set

SETS = st.lists(st.frozensets(st.sampled_from("abcdef")), max_size=7)


def rank(rows: list[list[int]]) -> int:
    """Return the rank by elimination in exact fractions."""
    left = [[Fraction(one) for one in row] for row in rows]
    found = 0
    for column in range(6):
        pivot = next((row for row in left if row[column]), None)
        if pivot is None:
            continue
        left.remove(pivot)
        found += 1
        left = [
            [a - b * row[column] / pivot[column] for a, b in zip(row, pivot, strict=True)]
            for row in left
        ]
    return found


@settings(max_examples=100, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(SETS)
def test_a_patient_is_determined_if_the_own_equation_adds_no_rank(
    sets: list[frozenset[str]],
) -> None:
    rows = [[int(name in one) for name in "abcdef"] for one in sets]
    expected = {
        name
        for i, name in enumerate("abcdef")
        if rank([*rows, [int(i == k) for k in range(6)]]) == rank(rows)
    }
    assert determined_patients(sets) == expected


def test_folds_and_subsets_determine_nobody_and_a_set_without_one_patient_does() -> None:
    patients = [f"p{i}" for i in range(50)]
    folds = [frozenset(patients[k::5]) for k in range(5)]
    honest = [frozenset(patients), *folds]
    assert not determined_patients(honest)
    assert determined_patients([*honest, frozenset(patients[1:])]) == {"p0"}
    assert smallest_set(honest) == 10


def test_a_patient_hidden_in_every_set_is_found_by_combining_three() -> None:
    sets = [frozenset("abc"), frozenset("abd"), frozenset("abcde"), frozenset("ab")]
    assert determined_patients(sets) == frozenset("cde")
    assert not determined_patients([]) and not smallest_set([frozenset()])
