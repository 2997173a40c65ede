"""Values that count as outside the training range."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from client.predict.scoring import TrainingRanges
from common.bundle.bundle import Bundle, TrainingColumns
from common.study.model import Study, load_study
from common.transforms import Linear, NormalScores, Project, Select, Standardise
from common.transforms.views import Joined, View, table

FEATURES = ("f1", "f2")


@pytest.fixture
def study(tabular_master: Path) -> Study:
    return load_study(tabular_master / "study.toml")


def scaled(name: str, columns: tuple[str, ...] = FEATURES) -> View:
    step = Standardise(columns=columns, mean=np.array([10.0, 0.0]), scale=np.array([2.0, 1.0]))
    return table(name).then(Select(columns=columns), step)


def scores() -> NormalScores:
    knots = np.array([[-1.0, 0.0, 2.0], [-5.0, 0.0, 5.0]])
    return NormalScores(columns=FEATURES, knots=knots, scores=np.array([-3.0, 0.0, 3.0]))


def ranges(study: Study, models: dict[str, View]) -> TrainingRanges:
    clinical = TrainingColumns(
        columns=("age", "stage", "sex=male"),
        mean=np.array([60.0, 0.2, 0.5]),
        deviation=np.array([10.0, 0.3, 0.5]),
    )
    bundle = Bundle(
        study=study.digest(),
        models=models,
        networks={},
        cutoffs={},
        software={},
        settings=study.canonical(),
        training={"clinical": clinical},
    )
    return TrainingRanges(bundle, study)


def test_numbers_and_orders_are_held_against_three_deviations(study: Study) -> None:
    view = table("clinical").then(
        Standardise(columns=("age",), mean=np.array([60.0]), scale=np.array([10.0]))
    )
    one = ranges(study, {"clinical": view})
    given = {"marker": 99.0, "age": 91.0, "sex": 1.0, "stage": 2.0}
    age, stage = one.clinical(given)
    assert str(age) == (
        "age 91 years is outside the training range 30 to 90 years; used by Clinical"
    )
    assert str(stage) == "stage 3 is outside the training range 1 to 2; used by no model"
    assert not one.clinical({**given, "age": 90.0, "stage": 1.0})
    assert not one.clinical({**given, "age": math.nan, "stage": math.nan})


def test_columns_and_levels_that_make_no_difference_are_told(study: Study) -> None:
    one = ranges(study, {})
    assert one.unused({"marker": 1.0, "age": 60.0, "sex": 1.0, "stage": 0.0}) == [
        "No model uses marker: too few training patients differed in this."
    ]
    one.known["clinical"].pop("sex=male")
    assert "sex" in one.unused({"marker": math.nan, "age": 60.0, "sex": 1.0})[0]


def test_a_feature_is_held_against_its_outer_knots_or_three_deviations(study: Study) -> None:
    plain = ranges(study, {"radiomics": scaled("radiomics")})
    # 10 +- 6, and 0 +- 3
    assert not plain.radiomics(FEATURES, np.array([16.0, -3.0]))
    assert [o.column for o in plain.radiomics(FEATURES, np.array([16.1, -3.1]))] == [*FEATURES]
    guarded = ranges(study, {"radiomics": scaled("radiomics").then(scores())})
    # 10 + 2 * (-1 .. 2), and -5 .. 5
    assert not guarded.radiomics(FEATURES, np.array([14.0, 5.0]))
    (low,) = guarded.radiomics(FEATURES, np.array([7.9, 0.0]))
    assert (low.usual, low.models) == ("8 to 14", ("radiomics",))


def test_features_that_no_model_uses_are_not_looked_at(study: Study) -> None:
    view = scaled("radiomics").restrict(("f2",))
    one = ranges(study, {"radiomics": view})
    assert not one.radiomics(FEATURES, np.array([1e9, 0.0]))


def test_inputs_of_a_fusion_are_found_below_its_own_steps(study: Study) -> None:
    parts = Joined(parts=(scaled("radiomics"), scaled("dl3d/final/features", ("dl3d_0", "dl3d_1"))))
    again = Standardise(columns=("f1",), mean=np.zeros(1), scale=np.ones(1))
    head = Linear(columns=("f1",), weights=np.ones(1), intercept=0.0, name="fusion_feature")
    fusion = View(source=parts, transforms=(Select(columns=("f1",)), again, head))
    one = ranges(study, {"fusion_feature": fusion})
    assert not one.radiomics(FEATURES, np.array([15.0, 0.0]))
    (found,) = one.radiomics(FEATURES, np.array([17.0, 0.0]))
    assert found.models == ("fusion_feature",)


def test_features_of_a_network_are_counted(study: Study) -> None:
    columns = ("dl3d_0", "dl3d_1")
    step = Project(columns=columns, mean=np.zeros(2), axes=np.eye(2), names=("pc1", "pc2"))
    one = ranges(study, {"fusion_feature": scaled("dl3d/final/features", columns).then(step)})
    (found,) = one.network("dl3d", columns, np.array([99.0, 0.0]))
    assert str(found) == (
        "3D network: 1 of 2 image features are outside the training range; used by Feature fusion"
    )
    assert not one.network("dl3d", columns, np.array([10.0, 0.0]))
