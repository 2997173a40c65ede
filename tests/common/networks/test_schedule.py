"""Learning rate by round."""

from __future__ import annotations

import itertools

import pytest

from common.networks.schedule import averaged_rounds, learning_rate_at
from common.study.model import NetworkSettings


def settings(**changes: object) -> NetworkSettings:
    return NetworkSettings.model_validate({"rounds": 10, "learning_rate": 0.4} | changes)


def test_constant_stays() -> None:
    assert {learning_rate_at(settings(), r) for r in range(10)} == {0.4}


def test_cosine_falls_from_the_full_rate_and_never_reaches_zero() -> None:
    rates = [learning_rate_at(settings(schedule="cosine"), r) for r in range(10)]
    assert rates[0] == 0.4
    assert rates[5] == pytest.approx(0.2)
    assert all(a > b for a, b in itertools.pairwise(rates))
    assert rates[-1] > 0


def test_warm_up_rises_linearly_to_the_full_rate() -> None:
    rates = [learning_rate_at(settings(schedule="cosine", warmup_rounds=3), r) for r in range(10)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rates[4] < 0.4


def test_warm_up_longer_than_the_study_still_gives_rates() -> None:
    one = settings(rounds=1, warmup_rounds=5)
    assert learning_rate_at(one, 0) == 0.4


@pytest.mark.parametrize("index", [-1, 10])
def test_round_outside_the_study_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="the study has 10"):
        learning_rate_at(settings(), index)


@pytest.mark.parametrize(("share", "rounds"), [(0.0, 1), (0.05, 1), (0.3, 3), (1.0, 10)])
def test_share_of_averaged_rounds(share: float, rounds: int) -> None:
    assert averaged_rounds(settings(average_last=share)) == rounds
