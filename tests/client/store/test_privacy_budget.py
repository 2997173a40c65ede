"""A budget is on disk before a reply leaves, and adds up as in Opacus' accountant."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant

from client.store.privacy_budget import Spending, epsilon_of
from client.store.site_db import Draft, SiteDb

DELTA = 1e-5
SETTINGS = st.tuples(st.sampled_from([0.7, 1.0, 2.5]), st.sampled_from([0.1, 0.25, 1.0]))


def stepwise(*parts: tuple[float, float, int]) -> float:
    """Epsilon of Opacus' accountant when it is given every step."""
    accountant = RDPAccountant()
    for noise, rate, steps in parts:
        for _ in range(steps):
            accountant.step(noise_multiplier=noise, sample_rate=rate)
    return float(accountant.get_epsilon(DELTA))


def test_nothing_spent_reveals_nothing() -> None:
    assert epsilon_of([], DELTA) == 0.0
    assert epsilon_of([Spending("dl3d", "final", 1.0, 0.1, 0)], DELTA) == 0.0


def test_rounds_add_up_to_opacus_own_epsilon() -> None:
    epsilon = epsilon_of([Spending("dl3d", "final", 1.1, 0.2, 5)] * 6, DELTA)
    assert epsilon == pytest.approx(stepwise((1.1, 0.2, 30)), abs=1e-9)
    assert epsilon == pytest.approx(7.5727544077738305, abs=1e-9), "as Opacus 1.6.0 says"


def test_variants_and_networks_of_other_noise_and_rate_add_up() -> None:
    spent = [
        Spending("dl3d", "fold0", 1.0, 0.25, 7),
        Spending("dl2d", "fold0", 0.8, 0.5, 3),
        Spending("dl3d", "final", 1.0, 0.2, 9),
        Spending("dl3d", "fold0", 1.0, 0.25, 2),
    ]
    expected = stepwise((1.0, 0.25, 9), (0.8, 0.5, 3), (1.0, 0.2, 9))
    assert epsilon_of(spent, DELTA) == pytest.approx(expected, abs=1e-9)
    assert expected > stepwise((1.0, 0.25, 9))


@limits(max_examples=10)
@given(st.lists(st.tuples(SETTINGS, st.integers(1, 5)), min_size=1, max_size=5), st.randoms())
def test_any_order_of_spending_is_the_same_and_more_is_never_less(parts, random) -> None:  # type: ignore[no-untyped-def]
    spendings = [Spending("dl2d", "final", *setting, steps) for setting, steps in parts]
    mixed = random.sample(spendings, len(spendings))
    total = epsilon_of(spendings, DELTA)
    assert epsilon_of(mixed, DELTA) == pytest.approx(total, rel=1e-12)
    assert epsilon_of(spendings[1:], DELTA) <= total


def test_without_noise_there_is_no_promise() -> None:
    spent = [Spending("dl3d", "fold0", 1.0, 0.1, 1), Spending("dl3d", "final", 0.0, 0.1, 1)]
    assert epsilon_of(spent, DELTA) == math.inf


def test_one_step_of_everybody_is_the_gaussian_mechanism() -> None:
    """Its Rényi divergence of order a is a / (2 sigma^2) (Mironov 2017, proposition 7)."""
    sigma = 4.0
    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
    bound = min(
        a / (2 * sigma**2) + math.log((a - 1) / a) - (math.log(DELTA) + math.log(a)) / (a - 1)
        for a in orders
    )
    assert epsilon_of([Spending("dl3d", "final", sigma, 1.0, 1)], DELTA) == pytest.approx(bound)


@pytest.mark.parametrize(
    "numbers", [(-1.0, 0.1, 1), (math.nan, 0.1, 1), (math.inf, 0.1, 1), (1.0, 0.0, 1)]
)
def test_numbers_of_no_training_cannot_be_spent(numbers: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match=r"noise|rate"):
        Spending("dl3d", "final", *numbers)


@pytest.mark.parametrize("numbers", [(1.0, 1.1, 1), (1.0, 0.5, -1)])
def test_rates_and_steps_out_of_range_are_refused(numbers: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match=r"rate|steps"):
        Spending("dl3d", "final", *numbers)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0])
def test_delta_is_a_probability(delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        epsilon_of([], delta)


def pay(draft: Draft, spending: Spending) -> None:
    """As a reply does whose release is remembered."""
    draft.spend("r", spending)
    draft.remember()


def test_threads_lose_no_spending(tmp_path: Path) -> None:
    one = Spending("dl2d", "f", 1.0, 1 / 3, 2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: pay(Draft(tmp_path), one), range(40)))
    assert SiteDb(tmp_path).spendings("r") == (one,) * 40


def test_a_run_pays_for_itself_alone_and_for_the_reply_under_way(tmp_path: Path) -> None:
    first, second = (Spending("dl3d", "final", 1.0, 0.1, steps) for steps in (1, 2))
    draft = Draft(tmp_path)
    pay(draft, first)
    draft.spend("r", second)
    assert draft.spendings("r") == (first, second)
    assert draft.spendings("another") == draft.spendings("") == ()
    assert draft.spendings("r2") == Draft(tmp_path).spendings("r-") == ()
    draft.drop()
    assert draft.spendings("r") == (first,)
