"""Networks of different folds: what each says is put on one scale before it is pooled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from common.statistics.base import Rows
from common.study.model import Study
from common.transforms.views import materialise
from server.phases.networks import network_model, variants
from tests import builders

N, FOLDS = 200, 5
TRAINED: Any = {"final": SimpleNamespace(width=4, origin="made up")}


@pytest.fixture
def study() -> Study:
    return builders.study(
        base_models=["dl3d"],
        tests={"t": ("external_test", "abc")},
        privacy={"masking": "off"},
    )


def patients() -> tuple[Any, Any, Any]:
    """Return what a perfect network would say, outcomes that follow it, and folds."""
    random = np.random.default_rng(5)
    truth = random.normal(size=N)
    label = (truth + random.normal(size=N) > 0.3).astype(float)
    return truth, label, np.arange(N) % FOLDS


def hospitals(study: Study, said: dict[str, Any]) -> dict[str, dict[str, Rows]]:
    """Three hospitals that have kept what each network says of their patients."""
    _, label, fold = patients()
    sites: dict[str, dict[str, Rows]] = {}
    for variant, own in said.items():
        name = f"dl3d/{variant}/probability"
        split = builders.split(own[:, None], label, fold, table=name, columns=["dl3d"])
        for site, tables in split.items():
            sites.setdefault(site, {}).update(tables)
    return sites


def out_of_fold(study: Study, said: dict[str, Any]) -> Any:
    sites = hospitals(study, said)
    federation = builders.federation(sites, study)
    model = network_model(federation, "dl3d", TRAINED)
    return np.concatenate(
        [
            materialise(model.out_of_fold, builders.Memory(own), "train").values[:, 0]
            for own in sites.values()
        ]
    )


def test_networks_that_speak_on_scales_of_their_own_are_pooled_on_one(study: Study) -> None:
    truth, label, fold = patients()
    alike = {variant: expit(truth) for variant in variants(study)}
    found = out_of_fold(study, alike)
    # the same order of patients, but another level and spread in every fold
    shifted = {
        variant: 0.15 + 0.1 * k + (0.5 - 0.08 * k) * expit(truth)
        for k, variant in enumerate(variants(study))
    }
    np.testing.assert_allclose(out_of_fold(study, shifted), found, atol=1e-6)
    assert abs(found.mean() - label.mean()) < 0.01  # Platt's scaling
    assert np.corrcoef(found, truth)[0, 1] > 0.9
    assert fold.max() == FOLDS - 1


def test_a_network_that_says_the_same_of_everybody_is_no_obstacle(study: Study) -> None:
    found = out_of_fold(study, {variant: np.full(N, 0.4) for variant in variants(study)})
    assert np.ptp(found) < 1e-6
