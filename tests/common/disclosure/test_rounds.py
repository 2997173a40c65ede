"""Rules for one round of a training: rounds that the study has, over enough patients."""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from client.training.batches import Crops, batches_an_epoch, training_draws
from common.disclosure.foretelling import foretell
from common.disclosure.rounds import check_drawn, check_plan, fewest_drawn
from common.messages.exchanges import RoundPlan
from common.statistics.base import Rows
from common.study.model import Study
from common.study.networks import NetworkSettings
from tests import builders

PLAN = RoundPlan(1, 0.1, excluded_fold=-1, total=100, keep=False)


def study_with(**network: Any) -> Study:
    block = {"input_size": 16, "norm": "group", **network}
    return builders.study(base_models=["clinical", "dl2d", "dl3d"], dl2d=block, dl3d=block)


def rows_of(n: int, folds: int = 5) -> Rows:
    return Rows(
        values=np.zeros((n, 1)),
        columns=("x",),
        label=(np.arange(n) % 2).astype(np.float64),
        fold=np.arange(n) % folds,
    )


@given(
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=25),
    positives=st.integers(0, 2**25),
    batch=st.integers(2, 9),
    steps=st.integers(0, 8),
    epochs=st.integers(1, 2),
    sampling=st.sampled_from(["shuffled", "balanced"]),
    seed=st.integers(0, 2**20),
)
def test_no_round_draws_fewer_patients_than_foreseen(
    counts: list[int],
    positives: int,
    batch: int,
    steps: int,
    epochs: int,
    sampling: str,
    seed: int,
) -> None:
    settings = NetworkSettings(
        batch_size=batch, local_steps=steps, sampling=sampling, augment=False, input_size=16
    )
    crops, label = np.array(counts), np.array([positives >> k & 1 for k in range(len(counts))])
    patient = np.repeat(np.arange(len(counts)), crops)
    images = np.zeros((len(patient), 16, 16), dtype=np.float32)
    own = Crops(images, patient, label[patient].astype(np.float32))
    taken = steps or epochs * batches_an_epoch(len(patient), batch)
    generator = torch.Generator().manual_seed(seed)
    draws = list(islice(training_draws(own, settings, generator), taken))
    drawn = {int(patient[k]) for draw in draws for k in draw.chosen}
    assert len(drawn) >= fewest_drawn(label.astype(float), crops, settings, epochs)


@pytest.mark.parametrize(
    ("settings", "fewest"),
    [
        ({"batch_size": 8}, 40),
        ({"batch_size": 2, "local_steps": 1}, 2),
        ({"batch_size": 2, "local_steps": 5}, 10),
        ({"batch_size": 2, "local_steps": 500}, 40),
        ({"batch_size": 13}, 39),  # a last batch of one crop is left out
        ({"batch_size": 8, "sampling": "balanced"}, 30),  # ten of one class, twenty of thirty
    ],
)
def test_so_many_are_drawn_of_one_crop_each(settings: dict[str, Any], fewest: int) -> None:
    label = (np.arange(40) < 10).astype(float)
    one = np.ones(40, dtype=np.int64)
    assert fewest_drawn(label, one, NetworkSettings(**settings), 1) == fewest


def test_several_crops_may_be_of_few_patients() -> None:
    settings = NetworkSettings(batch_size=8, local_steps=2)
    label = np.zeros(40)
    assert fewest_drawn(label, np.full(40, 5), settings, 1) == 4
    assert fewest_drawn(label, np.array([16] + [1] * 39), settings, 1) == 1


def test_a_round_of_few_steps_is_refused_and_one_of_enough_is_not() -> None:
    rows = rows_of(60)
    for steps, refused in ((1, True), (4, True), (5, False), (0, False)):
        study = study_with(batch_size=2, local_steps=steps)
        found = check_drawn(rows, (-1, -1), "dl3d", study, study.privacy)
        assert [one.rule for one in found] == (["drawn"] if refused else [])


def test_several_slices_of_a_patient_count_once() -> None:
    study = study_with(batch_size=16, local_steps=5)
    assert study.imaging.crop2d_slices_each_side == 6  # 13 slices a patient: 80 are of 7
    found = {n: check_drawn(rows_of(60), (-1, -1), n, study, study.privacy) for n in study.networks}
    assert [one.rule for one in found["dl2d"]] == ["drawn"]
    assert found["dl3d"] == ()


def test_the_folds_left_out_do_not_count() -> None:
    study, rows = study_with(batch_size=8), rows_of(14)
    assert check_drawn(rows, (-1, -1), "dl3d", study, study.privacy) == ()
    assert check_drawn(rows, (0, 1), "dl3d", study, study.privacy)


def test_with_noise_the_number_is_left_to_chance() -> None:
    study = study_with(batch_size=2, local_steps=1)
    noisy = study.differential_privacy.model_copy(update={"noise_multiplier": 1.0})
    private = study.model_copy(update={"differential_privacy": noisy})
    assert check_drawn(rows_of(60), (-1, -1), "dl3d", study, study.privacy)
    assert check_drawn(rows_of(60), (-1, -1), "dl3d", private, study.privacy) == ()


def test_it_is_foretold_at_enrolment() -> None:
    for steps, expected in ((1, {"drawn"}), (5, set())):
        study = study_with(batch_size=2, local_steps=steps)
        study = study.model_copy(update={"base_models": ("clinical", "dl3d")})
        found = foretell(study, study.privacy, {"train": rows_of(200)}, {})
        assert {one.rule for one in found.stops} == expected


BEST = {"select": "best", "rounds": 3}
OURS: list[tuple[str, dict[str, Any]]] = [
    ("final", {}),
    ("final", {"round": 2}),
    ("fold1", {"excluded_fold": 1, "validation_fold": 2}),
    ("fold4", {"excluded_fold": 4, "validation_fold": 0}),
    ("fold1", {"excluded_fold": 1, "validation_fold": 2, "epochs": 0, "round": 3}),
    ("fold1", {"excluded_fold": 1, "epochs": 0, "keep": True, "round": 3}),
    ("final", {"epochs": 0, "keep": True}),
]
NOT_OURS: list[tuple[str, dict[str, Any]]] = [
    ("fold5", {"excluded_fold": 5, "validation_fold": 1}),
    ("other", {}),
    ("fold-1", {}),
    ("final", {"round": 3}),
    ("final", {"round": -1}),
    ("final", {"epochs": 2}),
    ("final", {"epochs": 1, "keep": True}),
    ("final", {"excluded_fold": 0}),
    ("final", {"validation_fold": 0}),
    ("fold1", {"excluded_fold": 1}),
    ("fold1", {"excluded_fold": 2, "validation_fold": 3}),
    ("fold1", {"excluded_fold": 1, "validation_fold": 2, "epochs": 0, "round": 4}),
]


@pytest.mark.parametrize(("variant", "change"), OURS)
def test_the_studys_own_rounds_pass(variant: str, change: dict[str, Any]) -> None:
    study, plan = study_with(**BEST), dataclasses.replace(PLAN, **change)
    assert check_plan("dl3d", variant, plan, study, study.privacy) == ()


@pytest.mark.parametrize(("variant", "change"), NOT_OURS)
def test_any_other_round_is_refused(variant: str, change: dict[str, Any]) -> None:
    study, plan = study_with(**BEST), dataclasses.replace(PLAN, **change)
    (found,) = check_plan("dl3d", variant, plan, study, study.privacy)
    assert found.rule == "update"


def test_a_network_that_the_study_does_not_train_is_refused() -> None:
    study = study_with()
    only = study.model_copy(update={"base_models": ("clinical", "dl3d")})
    assert check_plan("dl2d", "final", PLAN, study, study.privacy) == ()
    assert check_plan("dl2d", "final", PLAN, only, study.privacy)
