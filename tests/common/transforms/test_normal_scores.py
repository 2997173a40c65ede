from __future__ import annotations

import numpy as np
import pytest

from common.messages.codec import decode, encode
from common.statistics.base import Rows
from common.transforms import NormalScores

STEP = NormalScores(
    columns=("a", "b"),
    knots=np.array([[0.0, 1.0, 5.0], [-2.0, 0.0, 2.0]]),
    scores=np.array([-2.0, 0.0, 2.0]),
)
ROWS = Rows(
    values=np.array([[-9.0, 1.0], [0.5, 9.0], [3.0, np.nan]]),
    columns=("a", "b"),
    label=np.zeros(3),
    fold=np.zeros(3, dtype=np.int64),
)


def test_values_move_along_lines_between_knots_and_stop_at_the_ends() -> None:
    done = STEP.apply(ROWS).values
    assert done[:, 0].tolist() == [-2.0, -1.0, 1.0]
    assert done[:2, 1].tolist() == [1.0, 2.0]
    assert STEP.bound(np.inf) == 2.0


def test_missing_values_stay_missing_and_no_rows_give_none() -> None:
    assert np.isnan(STEP.apply(ROWS).values[2, 1])
    assert STEP.of(np.empty((0, 2))).shape == (0, 2)


def test_narrowing_keeps_values_and_other_columns_are_refused() -> None:
    small, needed = STEP.restrict(("b",))
    only = Rows(ROWS.values[:, 1:], ("b",), ROWS.label, ROWS.fold)
    assert needed == ("b",)
    np.testing.assert_array_equal(small.apply(only).values[:, 0], STEP.apply(ROWS).values[:, 1])
    with pytest.raises(ValueError, match="NormalScores: the columns are not those"):
        small.apply(ROWS)


def test_it_survives_a_message() -> None:
    again = decode(encode(STEP))
    np.testing.assert_array_equal(again.apply(ROWS).values, STEP.apply(ROWS).values)
