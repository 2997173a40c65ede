"""The forest as a fitted step."""

from __future__ import annotations

import numpy as np
import pytest

from common.messages.codec import decode, encode
from common.statistics.base import Rows
from common.transforms import Forest

FOREST = Forest(
    columns=("a", "b"),
    feature=np.array([[0], [1]]),
    threshold=np.array([[0.5], [0.3]]),
    value=np.array([[0.4, 0.1, 0.7], [0.4, 0.2, 0.9]]),
    name="m",
)


def rows_of(values: list[list[float]], columns: tuple[str, ...] = ("a", "b")) -> Rows:
    n = len(values)
    return Rows(
        values=np.array(values, dtype=np.float64).reshape(n, 2),
        columns=columns,
        label=np.zeros(n),
        fold=np.zeros(n, dtype=np.int64),
    )


def test_a_probability_is_the_mean_over_the_trees() -> None:
    done = FOREST.apply(rows_of([[0.4, 0.2], [0.5, 0.2], [0.6, 0.3]]))
    assert done.columns == FOREST.outputs() == ("m",)
    np.testing.assert_allclose(done.values[:, 0], [0.15, 0.45, 0.8])


def test_a_missing_value_gives_no_probability_and_no_rows_give_none() -> None:
    assert np.isnan(FOREST.apply(rows_of([[np.nan, 0.2], [0.4, 0.2]])).values).tolist() == [
        [True],
        [False],
    ]
    assert FOREST.apply(rows_of([])).values.shape == (0, 1)


def test_it_needs_all_its_columns_and_survives_a_message() -> None:
    assert FOREST.restrict(("m",)) == (FOREST, ("a", "b"))
    with pytest.raises(ValueError, match="Forest: the columns are not those"):
        FOREST.apply(rows_of([[0.4, 0.2]], ("b", "a")))
    again = decode(encode(FOREST))
    table = rows_of([[0.4, 0.9], [0.9, 0.1]])
    np.testing.assert_array_equal(again.apply(table).values, FOREST.apply(table).values)
