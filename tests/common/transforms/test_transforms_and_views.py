"""Views: nesting, narrowing, out-of-fold, and that narrowing changes no value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.messages.codec import decode, encode
from common.statistics.base import Rows
from common.transforms import (
    Clip,
    Impute,
    Linear,
    Project,
    Select,
    Sigmoid,
    Stack,
    Standardise,
)
from common.transforms.views import ByFold, Joined, Paired, Table, View, materialise, table

NAMES = tuple(f"x{i}" for i in range(6))


class Tables:
    """Two base tables of twelve patients in three folds."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.values = {"base": rng.normal(size=(12, 6)), "other": rng.normal(size=(12, 6))}
        self.values["gaps"] = np.where(rng.random((12, 6)) < 0.3, np.nan, self.values["base"])

    def read(self, name: str, subset: str) -> Rows:
        assert subset == "train"
        return Rows(
            values=self.values[name],
            columns=NAMES,
            label=np.arange(12) % 2.0,
            fold=np.arange(12) % 3,
        )


@pytest.fixture
def tables() -> Tables:
    return Tables()


def standardise(tables: Tables, name: str = "base") -> Standardise:
    values = tables.values[name]
    return Standardise(columns=NAMES, mean=values.mean(axis=0), scale=values.std(axis=0))


def projection(tables: Tables) -> Project:
    axes = np.linalg.qr(np.random.default_rng(4).normal(size=(6, 3)))[0]
    mean = tables.values["base"].mean(axis=0)
    return Project(columns=NAMES, mean=mean, axes=axes, names=("pc1", "pc2", "pc3"))


@given(st.permutations(NAMES).flatmap(lambda order: st.integers(1, 6).map(lambda k: order[:k])))
@settings(max_examples=40)
def test_narrowing_a_chain_keeps_every_value(wanted: list[str]) -> None:
    tables = Tables()
    impute = Impute(columns=NAMES, fill=np.arange(6.0), indicators=("x1", "x4"))
    names = impute.outputs()
    scale = Standardise(columns=names, mean=np.arange(8.0), scale=np.arange(1.0, 9.0))
    view = table("gaps").then(impute, scale, Clip(limit=2.0))
    wide = materialise(view, tables, "train")
    columns = (*wanted, "x4:missing")
    narrow = materialise(view.restrict(columns), tables, "train")
    assert narrow.columns == columns
    at = [wide.columns.index(name) for name in columns]
    np.testing.assert_array_equal(narrow.values, wide.values[:, at])


def test_narrowing_joined_parts_drops_what_is_not_needed(tables: Tables) -> None:
    first = table("base").then(projection(tables))
    second = table("other").then(standardise(tables, "other"))
    view = View(source=Joined(parts=(first, second)))
    wide = materialise(view, tables, "train")
    assert wide.columns == ("pc1", "pc2", "pc3", *NAMES)
    narrow = view.restrict(("x2", "pc3"))
    rows = materialise(narrow, tables, "train")
    assert rows.columns == ("x2", "pc3")
    np.testing.assert_allclose(rows.values, wide.values[:, [5, 2]], rtol=1e-12)
    assert len(view.restrict(("x2",)).source.parts) == 1


def test_out_of_fold_rows_come_from_their_own_folds_view(tables: Tables) -> None:
    parts = tuple(
        table("base").then(
            Linear(columns=NAMES, weights=np.full(6, float(k)), intercept=float(k), name="m")
        )
        for k in range(3)
    )
    rows = materialise(View(source=ByFold(parts=parts)), tables, "train")
    total = tables.values["base"].sum(axis=1)
    fold = np.arange(12) % 3
    np.testing.assert_allclose(rows.values[:, 0], fold * total + fold)


def test_a_second_reading_gets_the_same_steps(tables: Tables) -> None:
    view = View(source=Paired(first=Table(name="base"), second=Table(name="other")))
    step = standardise(tables)
    rows = materialise(view.then(Select(columns=NAMES), step), tables, "train")
    assert rows.paired is not None
    np.testing.assert_allclose(rows.paired, (tables.values["other"] - step.mean) / step.scale)


def test_platts_sigmoid_does_not_overflow() -> None:
    rows = Rows(
        values=np.array([[-1e6], [0.0], [1e6]]),
        columns=("m",),
        label=np.zeros(3),
        fold=np.zeros(3, dtype=np.int64),
    )
    assert Sigmoid(a=-1.0, b=0.0).apply(rows).values.ravel().tolist() == pytest.approx([0, 0.5, 1])


def test_columns_that_were_not_fitted_on_are_refused(tables: Tables) -> None:
    view = table("base").then(Select(columns=("x1", "x0")), standardise(tables))
    with pytest.raises(ValueError, match="Standardise: the columns are not those it was fitted on"):
        materialise(view, tables, "train")
    with pytest.raises(ValueError, match="unknown column 'y'"):
        materialise(table("base").then(Select(columns=("y",))), tables, "train")


def test_a_view_survives_a_message(tables: Tables) -> None:
    view = table("base").then(projection(tables), Clip(limit=1.0)).restrict(("pc2",))
    back = decode(encode(view))
    np.testing.assert_array_equal(
        materialise(back, tables, "train").values, materialise(view, tables, "train").values
    )


def test_a_stacker_of_a_type_that_is_not_trusted_is_refused(tables: Tables) -> None:
    from functools import partial

    from skops.io import dumps

    blob = np.frombuffer(dumps(partial(print, "never")), dtype=np.uint8)
    view = table("base").then(Stack(columns=NAMES, blob=blob, name="s"))
    with pytest.raises(ValueError, match="not trusted"):
        materialise(view, tables, "train")


def test_a_stacker_scores_as_the_estimator_it_holds(tables: Tables) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from skops.io import dumps

    forest = RandomForestClassifier(n_estimators=5, random_state=0)
    forest.fit(tables.values["base"], np.arange(12) % 2)
    blob = np.frombuffer(dumps(forest), dtype=np.uint8)
    rows = materialise(table("other").then(Stack(NAMES, blob, "s")), tables, "train")
    expected = forest.predict_proba(tables.values["other"])[:, 1]
    np.testing.assert_array_equal(rows.values[:, 0], expected)
