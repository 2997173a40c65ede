from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.store.cohorts import SMALLEST_CHANGE
from client.store.levels import moved_levels
from client.store.site_db import Draft

PATIENTS = [f"p{i}" for i in range(40)]


def asked(work: Path, *cuts: int) -> frozenset[str]:
    """Cut each of the columns a, b at so many patients; an answer leaves."""
    draft = Draft(work)
    codes = np.array([[float(i >= cut) for cut in cuts] for i in range(40)])
    found = moved_levels(draft, PATIENTS, "ab"[: len(cuts)], codes)
    draft.remember()
    return found


def test_a_cut_that_moves_few_patients_takes_the_column_away(tmp_path: Path) -> None:
    assert asked(tmp_path, 20, 20) == frozenset()
    assert asked(tmp_path, 20, 20) == frozenset()
    assert asked(tmp_path, 21, 20) == {"a"}
    assert asked(tmp_path, 20 - SMALLEST_CHANGE + 1, 18) == {"a", "b"}


def test_what_was_withheld_is_no_earlier_level_and_a_far_cut_is_one(tmp_path: Path) -> None:
    asked(tmp_path, 20)
    assert asked(tmp_path, 29) == {"a"}
    assert asked(tmp_path, 20 + SMALLEST_CHANGE) == frozenset()
    assert asked(tmp_path, 31) == {"a"}


@pytest.mark.parametrize("missing", [1, 2])
def test_a_level_that_is_known_later_counts_as_another(tmp_path: Path, missing: int) -> None:
    draft, codes = Draft(tmp_path), np.repeat([[0.0], [1.0]], 20, axis=0)
    codes[:missing] = np.nan
    assert not moved_levels(draft, PATIENTS, ["a"], codes)
    draft.remember()
    assert asked(tmp_path, 20) == {"a"}
