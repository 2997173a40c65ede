"""The settings of differential privacy, and what they do not go with."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from common.study.networks import NetworkSettings
from common.study.private_training import DifferentialPrivacy, check_trains_privately


def test_it_is_off_unless_there_is_noise() -> None:
    assert not DifferentialPrivacy().on
    assert DifferentialPrivacy(noise_multiplier=0.1).on


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise_multiplier": -0.1},
        {"noise_multiplier": float("inf")},
        {"noise_multiplier": float("nan")},
        {"max_gradient_norm": 0.0},
        {"max_gradient_norm": float("inf")},
        {"delta": 0.0},
        {"delta": 1.0},
        {"epsilon": 1.0},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DifferentialPrivacy.model_validate(wrong)


@pytest.mark.parametrize(
    "fitting", [{"norm": "group"}, {"norm": "frozen", "pretrained": "weights.pth"}], ids=str
)
def test_norms_that_keep_patients_apart_are_accepted(fitting: dict[str, str]) -> None:
    check_trains_privately(NetworkSettings.model_validate(fitting))


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"norm": "batch"}, 'write norm = "group"'),
        ({"sampling": "balanced"}, 'write sampling = "shuffled"'),
        ({"gradient_clip": 1.0}, "write gradient_clip = 0"),
    ],
    ids=str,
)
def test_what_breaks_the_promise_is_refused_with_the_remedy(
    change: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(ValueError, match=remedy):
        check_trains_privately(NetworkSettings.model_validate({"norm": "group"} | change))
