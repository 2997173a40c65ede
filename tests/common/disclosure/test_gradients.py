"""Gradients are counted by the tables they read, against what the study's own models need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.disclosure.gradients import check_rounds, machine_views, machines_at_once, tables_read
from common.disclosure.rule import stricter
from common.statistics.svm import SvmGradient
from common.study.model import PrivacySettings, Study
from common.transforms import Clip, Select
from common.transforms.views import ByFold, Joined, Paired, Table, View, table
from tests import builders

TABULAR = {"base_models": ["clinical", "radiomics"], "fusion_models": None}
RBF = {"svm": {"kernel": "rbf", "gammas": [0.5, 1.0]}}


def gradient(problems: int = 1) -> SvmGradient:
    return SvmGradient(
        weights=np.zeros((problems, 2)),
        excluded=np.zeros((problems, 5)),
        validation=np.zeros(problems, dtype=np.int64),
    )


def rules(study: Study, asked: dict[str, int], privacy: Any = None, problems: int = 1) -> Any:
    found = check_rounds(gradient(problems), asked, study, privacy or study.privacy)
    return [(refusal.rule, refusal.threshold) for refusal in found]


def test_a_table_is_found_below_whatever_is_laid_over_it() -> None:
    clinical = table("clinical").then(Select(columns=("x",)), Clip(limit=3.0))
    network = table("dl3d/outer2/features")
    paired = View(source=Paired(Table("radiomics:r1"), Table("radiomics:r2")))
    assert tables_read(clinical.then(Clip(limit=2.9))) == {"clinical"}
    assert tables_read(table("coded")) == {"clinical"}
    assert tables_read(View(source=Joined(parts=(clinical, network)))) == {"clinical", "dl3d"}
    assert tables_read(View(source=ByFold(parts=(paired, clinical)))) == {"clinical", "radiomics"}


@pytest.mark.parametrize(
    ("blocks", "views"),
    [
        ({}, {"clinical": 1, "radiomics": 0, "dl3d": 0}),
        (TABULAR, {"clinical": 2, "radiomics": 2, "dl2d": 0}),
        (builders.ALL_MODELS, {"clinical": 7, "radiomics": 7, "dl2d": 6, "dl3d": 6, "scores": 0}),
        (RBF, {"clinical": 12, "radiomics": 0}),
        (builders.ALL_MODELS | RBF, {"clinical": 24, "radiomics": 24, "dl3d": 12}),
    ],
)
def test_views_are_those_of_the_models_that_read_the_table(
    blocks: dict[str, Any], views: dict[str, int]
) -> None:
    study = builders.study(**blocks)
    assert {base: machine_views(study, base) for base in views} == views


def test_more_questions_than_the_models_need_at_most_are_refused() -> None:
    one, all_models = builders.study(), builders.study(**builders.ALL_MODELS)
    assert rules(one, {"clinical": 60}) == []
    assert rules(one, {"clinical": 61}) == [("svm_rounds", 60)]
    assert rules(all_models, {"clinical": 420, "dl3d": 360}) == []
    assert rules(all_models, {"clinical": 1, "dl3d": 361}) == [("svm_rounds", 60)]
    tight = stricter(one.privacy, PrivacySettings(max_svm_rounds=10))
    assert rules(one, {"clinical": 11}, tight) == [("svm_rounds", 10)]


def test_a_table_that_no_machine_of_the_study_reads_gives_none() -> None:
    assert rules(builders.study(), {"radiomics": 1}) == [("svm_rounds", 60)]


def test_one_question_is_about_no_more_machines_than_the_study_has() -> None:
    study = builders.study()
    assert machines_at_once(study) == 3 * 31
    assert rules(study, {"clinical": 1}, problems=93) == []
    assert rules(study, {"clinical": 1}, problems=94) == [("svm_rounds", 60)]
