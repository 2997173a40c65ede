from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from common.messages.codec import decode, encode
from common.statistics.base import Rows
from common.transforms import KernelMap, Select
from common.transforms.views import materialise, table

NAMES = ("a", "b", "c", "d")


class Tables:
    """A base table of fifteen patients."""

    def __init__(self) -> None:
        self.values = np.random.default_rng(0).normal(size=(15, 4))

    def read(self, name: str, subset: str) -> Rows:
        return Rows(
            values=self.values, columns=NAMES, label=np.arange(15) % 2.0, fold=np.arange(15) % 5
        )


@pytest.fixture
def step() -> KernelMap:
    random = np.random.default_rng(1)
    return KernelMap(
        columns=NAMES,
        landmarks=random.normal(size=(6, 4)),
        gamma=0.3,
        projection=random.normal(size=(6, 3)),
        names=("k0", "k1", "k2"),
    )


def test_features_are_projected_similarities_to_the_landmarks(step: KernelMap) -> None:
    tables = Tables()
    rows = materialise(table("base").then(step), tables, "train")
    expected = rbf_kernel(tables.values, step.landmarks, gamma=0.3) @ step.projection
    assert rows.columns == step.outputs() == ("k0", "k1", "k2")
    np.testing.assert_allclose(rows.values, expected, rtol=1e-10)


def test_narrowing_keeps_every_value_and_all_inputs(step: KernelMap) -> None:
    wide = materialise(table("base").then(step), Tables(), "train")
    view = table("base").then(step).restrict(("k2", "k0"))
    rows = materialise(view, Tables(), "train")
    assert rows.columns == ("k2", "k0")
    np.testing.assert_allclose(rows.values, wide.values[:, [2, 0]], rtol=1e-12)
    assert step.restrict(("k1",))[1] == NAMES
    with pytest.raises(ValueError, match="unknown column 'k9'"):
        step.restrict(("k9",))


def test_it_survives_a_message(step: KernelMap) -> None:
    view = table("base").then(step)
    back = decode(encode(view))
    np.testing.assert_array_equal(
        materialise(back, Tables(), "train").values, materialise(view, Tables(), "train").values
    )


def test_a_missing_value_stays_missing_and_no_rows_give_no_rows(step: KernelMap) -> None:
    values = np.zeros((2, 4))
    values[1, 2] = np.nan
    rows = Rows(values=values, columns=NAMES, label=np.zeros(2), fold=np.zeros(2, dtype=np.int64))
    found: Any = step.apply(rows).values
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    none = Rows(
        values=values[:0], columns=NAMES, label=np.zeros(0), fold=np.zeros(0, dtype=np.int64)
    )
    assert step.apply(none).values.shape == (0, 3)


def test_other_columns_are_refused(step: KernelMap) -> None:
    view = table("base").then(Select(columns=("b", "a", "c", "d")), step)
    with pytest.raises(ValueError, match="KernelMap: the columns are not those it was fitted on"):
        materialise(view, Tables(), "train")
