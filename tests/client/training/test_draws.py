"""Draws of a round: the same for the same round, and nobody's without the site's secret."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from client.training.draws import Draws

DRAWS = Draws(b"secret", "run", "dl3d", "fold0", seed=1, round=4)
OTHERS = [
    {"secret": b"other"},
    {"run": "another"},
    {"network": "dl2d"},
    {"variant": "fold1"},
    {"seed": 2},
    {"round": 5},
    # the same letters, cut elsewhere
    {"run": "rundl3d", "network": ""},
]


def numbers(draws: Draws, *purpose: str) -> list[float]:
    return torch.rand(8, generator=draws.generator(*purpose)).tolist()  # type: ignore[no-any-return]


def test_the_same_round_draws_the_same_again() -> None:
    assert numbers(DRAWS, "batches") == numbers(dataclasses.replace(DRAWS), "batches")


@pytest.mark.parametrize("change", OTHERS, ids=str)
def test_anything_else_draws_other_numbers(change: dict[str, Any]) -> None:
    assert numbers(DRAWS, "batches") != numbers(dataclasses.replace(DRAWS, **change), "batches")


def test_purposes_draw_independently() -> None:
    drawn = [numbers(DRAWS, *p) for p in (("a",), ("b",), ("a", "b"), ("ab",), ())]
    assert len({tuple(own) for own in drawn}) == len(drawn)
    first, second = (
        torch.randn(50_000, generator=DRAWS.generator(name)).numpy() for name in ("a", "b")
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02


def test_the_whole_state_of_the_generator_is_set_and_not_a_seed_of_32_bits() -> None:
    words = DRAWS.generator("noise").get_state()[24 : 24 + 8 * 624].numpy().view(np.uint64)
    assert len(set(words.tolist())) > 600
    assert words.max() < 2**32
    # what follows from 32 bits: each word from the one before (Matsumoto, Nishimura 1998)
    seeded = torch.Generator().manual_seed(5).get_state()[24:5016].numpy().view(np.uint64)
    for state, expected in ((seeded, True), (words, False)):
        before, after = int(state[0]), int(state[1])
        follows = (1812433253 * (before ^ (before >> 30)) + 1) % 2**32 == after
        assert follows is expected


def test_the_numbers_are_uniform() -> None:
    uniform = torch.rand(100_000, generator=DRAWS.generator("batches"))
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(uniform.std()) == pytest.approx(12**-0.5, abs=0.01)
