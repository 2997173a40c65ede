"""Views have the forms of fitted models; what is made up to aim at a patient has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.disclosure.forms import FormError, check_form, check_models, check_out_of_fold
from common.disclosure.gradients import machine_views
from common.learning.normal_scores import score_grid
from common.study.model import Study
from common.transforms import (
    Clip,
    EventRisk,
    Forest,
    Impute,
    InLevel,
    Linear,
    NormalScores,
    Project,
    Select,
    Sigmoid,
    Standardise,
)
from common.transforms.views import ByFold, Joined, View, table
from tests import builders
from tests.fixtures.models import clinical_decision, clinical_probability, out_of_fold

X = ("x",)
ONE, ZERO = np.ones(1), np.zeros(1)
FILL = Impute(columns=X, fill=ZERO)
CHAIN: Any = type(FILL.restrict(X)[0])
SCALE = Standardise(columns=X, mean=ZERO, scale=ONE)
SCORES = NormalScores(columns=X, knots=score_grid(3.0)[None], scores=score_grid(3.0))
CLIP = Clip(limit=3.0)
LINE = Linear(columns=X, weights=ONE, intercept=0.0, name="d")
SURE = Sigmoid(a=-1.0, b=0.0)
RAW = table("clinical").then(Select(columns=X))
WOODS = Forest(
    columns=X,
    feature=np.full((1, 1), -1),
    threshold=np.zeros((1, 1)),
    value=np.zeros((1, 3)),
    name="fusion_decision",
)


@pytest.fixture
def study(study: Callable[..., Study]) -> Study:
    return study()


def features() -> View:
    axes = Project(columns=X, mean=ZERO, axes=np.ones((1, 1)), names=("pc",))
    return table("dl3d/final/features").then(Select(columns=X), SCALE, SCORES, axes)


@pytest.mark.parametrize(
    "view",
    [
        RAW,
        RAW.then(FILL).restrict(X).then(SCALE).restrict(X).then(CLIP, LINE, SURE),
        View(source=Joined(parts=(RAW.then(FILL, SCALE), features()))).then(SCALE, CLIP, LINE),
        View(source=ByFold(parts=(RAW.then(SCALE, LINE),) * 5)).then(SURE),
        View(source=Joined(parts=(RAW.then(SCALE, LINE, SURE), RAW.then(LINE)))).then(WOODS),
        View(
            source=ByFold(
                parts=(View(source=Joined(parts=(RAW.then(LINE, SURE),))).then(WOODS),) * 5
            )
        ),
    ],
    ids=["table", "clinical", "feature fusion", "out of fold", "stacker", "stackers by fold"],
)
def test_what_models_are_made_of_is_answered(study: Study, view: View) -> None:
    check_form(view, study)


@pytest.mark.parametrize(
    "view",
    [
        RAW.then(SCALE, CLIP, SCALE),
        RAW.then(SCALE, SCALE),
        RAW.then(CLIP, CLIP),
        RAW.then(LINE, SCALE, CLIP),
        RAW.then(LINE, LINE),
        RAW.then(SURE, LINE),
        RAW.then(CHAIN(steps=(FILL, InLevel(column="x", level=1, columns=X)))),
        RAW.then(CHAIN(steps=(SCALE, CLIP))),
        RAW.then(SCALE, Clip(limit=1e-9)),
        RAW.then(NormalScores(columns=X, knots=np.zeros((1, 2)), scores=np.array([0.0, 1.0]))),
        RAW.then(Standardise(columns=X, mean=ZERO, scale=ZERO)),
        RAW.then(Standardise(columns=X, mean=ZERO * np.nan, scale=ONE)),
        RAW.then("a step that is none"),
        View(source=Joined(parts=(RAW.then(LINE),))).then(SCALE),
        View(source=ByFold(parts=(RAW.then(SCALE),) * 5)).then(CLIP),
        View(source=ByFold(parts=(View(source=ByFold(parts=(RAW,))),))),
        View(source="clinical"),
        View(source=Joined(parts=())),
    ],
)
def test_what_no_model_is_made_of_is_refused(study: Study, view: View) -> None:
    with pytest.raises(FormError):
        check_form(view, study)


def test_rows_are_the_studys_out_of_fold_probabilities(study: Study) -> None:
    check_out_of_fold({"clinical": out_of_fold(study, X)}, study)


@pytest.mark.parametrize("name", ["marker", "radiomics", "fusion_feature"])
def test_rows_of_a_model_that_the_study_has_not_are_refused(study: Study, name: str) -> None:
    with pytest.raises(FormError, match="does not have"):
        check_out_of_fold({name: out_of_fold(study, X)}, study)


def test_rows_that_are_no_probabilities_by_fold_are_refused(study: Study) -> None:
    decision = clinical_decision(study, X)
    few = View(source=ByFold(parts=(decision,) * (study.folds - 1)), transforms=(SURE,))
    other = table("radiomics").then(SCALE, LINE)
    for view in (
        RAW.then(FILL, SCALE, CLIP),
        clinical_probability(study, X),
        few,
        View(source=ByFold(parts=(decision,) * study.folds)),
        View(source=ByFold(parts=(RAW.then(FILL, SCALE, CLIP),) * study.folds), transforms=(SURE,)),
        View(source=ByFold(parts=(other,) * study.folds), transforms=(SURE,)),
    ):
        with pytest.raises(FormError):
            check_out_of_fold({"clinical": view}, study)


def test_rows_of_a_network_are_its_own_probabilities_on_one_scale(study: Study) -> None:
    study = study.model_copy(update={"base_models": ("dl2d",)})
    scale = Linear(columns=("dl2d",), weights=np.ones(1), intercept=-0.5, name="dl2d")

    def own(variant: str, what: str = "probability") -> View:
        return table(f"dl2d/{variant}/{what}").then(Select(columns=("dl2d",)))

    def by_fold(*steps: Any, what: str = "probability", first: int = 0) -> View:
        parts = [own(f"fold{(k + first) % 5}", what).then(*steps) for k in range(5)]
        return View(source=ByFold(parts=tuple(parts)))

    check_out_of_fold({"dl2d": by_fold(scale).then(SURE)}, study)
    check_models({"dl2d": own("final").then(scale, SURE)}, study)
    for view in (
        by_fold(),
        by_fold(scale),
        by_fold().then(SURE),
        by_fold(scale, what="features").then(SURE),
        by_fold(scale, first=1).then(SURE),
    ):
        with pytest.raises(FormError):
            check_out_of_fold({"dl2d": view}, study)
    for view in (own("final"), own("final").then(scale), own("fold0").then(scale, SURE)):
        with pytest.raises(FormError):
            check_models({"dl2d": view}, study)


def test_a_networks_risk_is_a_cox_model_on_the_hazard_of_its_own_training() -> None:
    grid = {"ends": [6.0, 12.0, 24.0], "horizons": [12.0]}
    study = builders.study(base_models=["clinical", "dl2d"], follow_up=grid)
    line = Linear(columns=("dl2d",), weights=np.ones(1), intercept=0.0, name="dl2d")
    scale = Standardise(columns=("dl2d",), mean=np.zeros(1), scale=np.ones(1))
    steps, risk = (scale, Clip(limit=study.selection.clip), line), EventRisk(b=-1.0)

    def own(variant: str, what: str = "hazard") -> View:
        return table(f"dl2d/{variant}/{what}").then(Select(columns=("dl2d",)))

    check_models({"dl2d": own("final").then(*steps, risk)}, study)
    for view in (
        own("final"),
        own("final").then(*steps),
        own("fold0").then(*steps, risk),
        own("final", "probability").then(*steps, risk),
        table("clinical").then(Select(columns=("dl2d",)), *steps, risk),
    ):
        with pytest.raises(FormError):
            check_models({"dl2d": view}, study)
    assert machine_views(study, "dl2d") == machine_views(study, "clinical") == 1


def test_final_models_are_the_studys_and_end_in_a_probability(study: Study) -> None:
    check_models({"clinical": clinical_probability(study, X)}, study)
    for models in (
        {"clinical": clinical_decision(study, X)},
        {"clinical": RAW.then(SCALE, CLIP)},
        {f"threshold{k}": clinical_probability(study, X) for k in range(465)},
    ):
        with pytest.raises(FormError):
            check_models(models, study)
