from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from common.disclosure.forms import FormError, check_form
from common.learning.combat import Common
from common.messages.codec import decode, encode
from common.statistics.base import Float, Rows
from common.transforms import Harmonise, Impute, InLevel, Project, Select, Standardise
from common.transforms.views import View, base_tables, leaves_rows_out, materialise, table
from tests import builders

RNG = np.random.default_rng(11)
COLUMNS = ("a", "b", "c")
SHARED = Common(
    centre=np.array([5.0, 0.0, -2.0]),
    scale=np.array([1.0, 2.0, 0.5]),
    slopes=np.zeros((0, 3)),
    covariates=np.zeros(0),
)
STEP = Harmonise(COLUMNS, COLUMNS, SHARED, None, fewest=5, unseen="reference")
AGE = table("clinical").then(Select(("age",)), Impute(("age",), fill=np.array([60.0])))
WITH_AGE = dataclasses.replace(
    STEP,
    common=dataclasses.replace(SHARED, slopes=np.full((1, 3), 0.1), covariates=np.array([60.0])),
    covariates=AGE,
)


def rows(values: Float, batch: Any = None, columns: tuple[str, ...] = COLUMNS) -> Rows:
    zeros = np.zeros(len(values))
    return Rows(values, columns, zeros, zeros.astype(int), batch=batch)


@dataclass
class Hospital:
    """Tables of one hospital by name and subset."""

    tables: Mapping[tuple[str, str], Rows]
    kept: Mapping[str, Any] = field(default_factory=dict)
    trains: bool = True

    def read(self, name: str, subset: str) -> Rows:
        return self.tables[name, subset]


def hospital(train: Rows | None, test: Rows, **more: Any) -> Hospital:
    known = {("radiomics", "test"): test}
    trains = test.at(np.arange(0)) if train is None else train
    known |= {("coded", "train"): trains, ("radiomics", "train"): trains}
    return Hospital(known, **{"trains": train is not None, **more})


TRAIN = rows(RNG.normal(SHARED.centre + 3.0, 2.0 * SHARED.scale, (30, 3)))
TEST = rows(RNG.normal(SHARED.centre + 3.0, 2.0 * SHARED.scale, (8, 3)))
VIEW = table("radiomics").then(Select(COLUMNS), STEP)
OWN = table("radiomics").then(Select(COLUMNS), dataclasses.replace(STEP, unseen="own"))


def test_test_patients_lose_the_effects_of_their_hospitals_training_patients() -> None:
    here = hospital(TRAIN, TEST)
    done = [materialise(VIEW, here, subset).values for subset in ("train", "test")]
    assert np.abs(done[0].mean(axis=0) - SHARED.centre).max() < 0.2
    assert np.abs(done[0].std(axis=0) / SHARED.scale - 1.0).max() < 0.2
    # one more test patient changes nothing of the others
    fewer = materialise(VIEW, hospital(TRAIN, TEST.at(np.arange(3))), "test").values
    np.testing.assert_array_equal(fewer, done[1][:3])
    effects = STEP.effects(TRAIN, None)
    wanted = SHARED.centre + SHARED.scale * (
        ((TEST.values - SHARED.centre) / SHARED.scale - effects.shift[0]) / effects.factor[0]
    )
    np.testing.assert_allclose(done[1], wanted, rtol=1e-12)


def test_a_hospital_that_does_not_train_keeps_its_values_or_takes_its_own_patients() -> None:
    there = hospital(None, TEST)
    np.testing.assert_array_equal(materialise(VIEW, there, "test").values, TEST.values)
    own = materialise(OWN, there, "test").values
    same = materialise(VIEW, hospital(TEST, TEST), "test").values
    np.testing.assert_allclose(own, same, rtol=1e-12)
    few = hospital(None, TEST.at(np.arange(4)))
    np.testing.assert_array_equal(materialise(OWN, few, "test").values, TEST.values[:4])


def test_rows_of_the_training_split_of_a_hospital_that_only_tests_are_no_training_rows() -> None:
    with_rows = hospital(TRAIN, TEST, trains=False)
    np.testing.assert_array_equal(materialise(VIEW, with_rows, "test").values, TEST.values)


def test_a_hospital_that_trains_never_takes_its_test_patients() -> None:
    np.testing.assert_array_equal(
        *(materialise(view, hospital(TRAIN, TEST), "test").values for view in (VIEW, OWN))
    )


def test_scanners_of_a_hospital_are_batches_and_one_without_training_patients_is_unseen() -> None:
    train = dataclasses.replace(TRAIN, batch=np.repeat([0, 1], 15))
    test = dataclasses.replace(TEST, batch=np.array([0, 1, 2, 2, 2, 2, 2, 2]))
    here = hospital(train, test)
    done, own = (materialise(view, here, "test").values for view in (VIEW, OWN))
    np.testing.assert_array_equal(done[2:], TEST.values[2:])
    np.testing.assert_array_equal(own[:2], done[:2])
    alone = materialise(OWN, hospital(None, rows(TEST.values[2:])), "test").values
    np.testing.assert_allclose(own[2:], alone, rtol=1e-12)
    for scanner in (0, 1):
        part = train.at(np.flatnonzero(train.batch == scanner))
        alone = materialise(VIEW, hospital(rows(part.values), TEST), "test").values
        np.testing.assert_allclose(done[scanner], alone[scanner], rtol=1e-12)


def test_effects_that_a_hospital_kept_take_the_place_of_training_patients() -> None:
    kept = {"radiomics": STEP.effects(TRAIN, None)}
    case = Hospital({("radiomics", "test"): TEST}, kept=kept)
    np.testing.assert_array_equal(
        materialise(VIEW, case, "test").values,
        materialise(VIEW, hospital(TRAIN, TEST), "test").values,
    )
    nothing = Hospital({("radiomics", "test"): TEST}, trains=False)
    np.testing.assert_array_equal(materialise(VIEW, nothing, "test").values, TEST.values)


def test_covariates_are_those_of_the_same_patients_and_are_read_beside() -> None:
    ages = [rows(RNG.normal(70, 9, (n, 1)), columns=("age",)) for n in (30, 8)]
    view = table("radiomics").then(Select(COLUMNS), WITH_AGE)
    here = hospital(TRAIN, TEST)
    here.tables = {
        **here.tables,
        ("clinical", "train"): ages[0],
        ("clinical", "test"): ages[1],
    }
    assert base_tables(view) == {"radiomics", "clinical"}
    done = materialise(view, here, "test").values
    effects = WITH_AGE.effects(TRAIN, ages[0].values)
    expected = SHARED.centre + 0.1 * (ages[1].values - 60.0)
    residuals = (TEST.values - expected) / SHARED.scale
    wanted = expected + SHARED.scale * (residuals - effects.shift[0]) / effects.factor[0]
    np.testing.assert_allclose(done, wanted, rtol=1e-12)
    with pytest.raises(ValueError, match="take the tables of a hospital"):
        WITH_AGE.apply(TEST)


def test_fewer_columns_come_out_the_same_and_it_still_reads_all_of_them() -> None:
    here = hospital(TRAIN, TEST)
    small = VIEW.restrict(("c", "a"))
    assert small.outputs() == ("c", "a")
    np.testing.assert_array_equal(
        materialise(small, here, "test").values, materialise(VIEW, here, "test").values[:, [2, 0]]
    )


def test_it_travels_without_any_number_of_a_hospital() -> None:
    again = decode(encode(VIEW))
    here = hospital(TRAIN, TEST)
    np.testing.assert_array_equal(
        materialise(again, here, "test").values, materialise(VIEW, here, "test").values
    )
    fields = {field.name for field in dataclasses.fields(Harmonise)}
    assert fields == {"columns", "kept", "common", "covariates", "fewest", "unseen"}


def test_it_stands_at_its_place_with_batches_that_are_no_single_patients() -> None:
    study = builders.study()
    scale = Standardise(COLUMNS, np.zeros(3), np.ones(3))
    check_form(VIEW.then(scale), study)
    check_form(table("radiomics").then(Select(COLUMNS), WITH_AGE, scale), study)
    one = dataclasses.replace(STEP, fewest=1)
    flat = dataclasses.replace(STEP, common=dataclasses.replace(SHARED, scale=np.zeros(3)))
    odd = dataclasses.replace(STEP, unseen="chosen")
    for step in (one, flat, odd):
        with pytest.raises(FormError, match="Harmonise with values that are not the study's"):
            check_form(table("radiomics").then(step), study)
    with pytest.raises(FormError, match="Harmonise at another place"):
        check_form(table("radiomics").then(scale, STEP), study)


def test_covariates_are_columns_of_a_table_and_of_all_patients() -> None:
    study = builders.study()
    project = Project(("age",), np.zeros(1), np.ones((1, 1)), ("pc",))
    deep = View(source=AGE.source, transforms=(*AGE.transforms, project))
    check_form(table("radiomics").then(dataclasses.replace(WITH_AGE, covariates=deep)), study)
    some = AGE.then(InLevel(columns=("age",), column="age", level=0))
    view = table("radiomics").then(dataclasses.replace(WITH_AGE, covariates=some))
    assert leaves_rows_out(view)
    with pytest.raises(FormError, match="Harmonise beside other columns than a table's"):
        check_form(view, study)
