from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.learning.combat import NEVER_SEEN, common_of, effects_of, join_small, shrunk
from common.statistics.base import Float, Rows
from common.statistics.within_batches import WithinBatches
from sim.equality.references import combat

NEUROCOMBAT = json.loads((Path(__file__).parent / "neurocombat.json").read_text(encoding="utf-8"))
VALUES, BATCH = np.array(NEUROCOMBAT["values"]), np.array(NEUROCOMBAT["batch"])
COVARIATES = np.array([NEUROCOMBAT["age"], NEUROCOMBAT["sex"]], dtype=np.float64).T
NONE = np.zeros((len(VALUES), 0))
CASES = [(NONE, "harmonised"), (COVARIATES, "with_covariates")]


def federated(values: Float, batch: NDArray[Any], covariates: Float) -> Float:
    """Harmonise as hospitals do: sums over them, then each its own effects."""
    count = covariates.shape[1]
    statistic, hospitals = WithinBatches(covariates=count), np.unique(batch)
    names = tuple(map(str, range(values.shape[1] + count)))
    parts = []
    for one in hospitals:
        own = np.hstack([values, covariates])[batch == one]
        zeros = np.zeros(len(own))
        parts.append(statistic.from_rows(Rows(own, names, zeros, zeros.astype(int))))
    total = {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}
    found = statistic.finalise(total)
    common = common_of(found.mean, found.squares, found.cross, found.products, found.n)
    done = np.empty_like(values)
    for one in hospitals:
        here = batch == one
        expected, codes = common.expected(covariates[here]), np.zeros(here.sum(), dtype=int)
        residuals = (values[here] - expected) / common.scale
        shift, factor = effects_of(residuals, codes, np.zeros(1, dtype=int)).of(codes)
        done[here] = expected + common.scale * (residuals - shift) / factor
    return done


@pytest.mark.parametrize(("covariates", "wanted"), CASES)
@pytest.mark.parametrize("way", [federated, combat])
def test_sums_over_hospitals_and_own_effects_give_the_numbers_of_neurocombat(
    way: Any, covariates: Float, wanted: str
) -> None:
    expected = np.array(NEUROCOMBAT[wanted])
    done = way(VALUES, BATCH, covariates)
    assert np.abs((done - expected) / VALUES.std(axis=0)).max() < 1e-9
    assert np.abs((VALUES - expected) / VALUES.std(axis=0)).max() > 0.3


@given(st.integers(0, 2**32 - 1), st.integers(0, 2), st.integers(2, 5))
def test_it_equals_the_published_formulas_on_all_patients_together(
    seed: int, q: int, batches: int
) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(6, 20, batches)
    batch = np.repeat(np.arange(batches), sizes)
    covariates = rng.normal(50, 10, (batch.size, q))
    values = rng.normal(0, 1, (batch.size, 7)) * rng.uniform(0.5, 2, (batches, 7))[batch]
    values += rng.normal(0, 1, (batches, 7))[batch] + covariates @ rng.normal(0, 0.1, (q, 7))
    values = (values + 10.0 ** rng.uniform(0, 4, 7)) * 10.0 ** rng.uniform(-6, 9, 7)
    pooled, apart = combat(values, batch, covariates), federated(values, batch, covariates)
    assert np.abs((pooled - apart) / values.std(axis=0)).max() < 1e-6


def test_what_covariates_explain_stays_where_they_differ_between_hospitals() -> None:
    rng = np.random.default_rng(3)
    batch = np.repeat([0, 1], 200)
    age = rng.normal(60, 5, 400) + 10 * batch
    values = age[:, None] * 0.5 + rng.normal(0, 1, (400, 3)) + 4.0 * batch[:, None]
    kept, lost = (
        federated(values, batch, beside) for beside in (age[:, None], age[:, None][:, :0])
    )
    gap = [(one[batch == 1] - one[batch == 0]).mean() for one in (values, kept, lost)]
    assert gap[0] == pytest.approx(9.0, abs=0.3)
    assert gap[1] == pytest.approx(5.0, abs=0.4)
    assert gap[2] == pytest.approx(0.0, abs=0.1)


def test_a_covariate_that_follows_from_others_or_varies_in_no_hospital_has_no_slope() -> None:
    rng = np.random.default_rng(4)
    age = rng.normal(60, 5, 24)
    beside = np.array([age, 2.0 * age - 3.0, BATCH.astype(float)]).T
    once, thrice = federated(VALUES, BATCH, age[:, None]), federated(VALUES, BATCH, beside)
    np.testing.assert_allclose(thrice, once, rtol=1e-9)


def test_a_column_that_is_constant_within_every_batch_has_scale_zero() -> None:
    values = np.array([0.1, 0.1, 0.1, 0.7, 0.7])[:, None]
    statistic = WithinBatches()
    total = statistic.from_rows(
        Rows(values, ("a",), np.zeros(5), np.zeros(5, int), batch=np.array([0, 0, 0, 1, 1]))
    )
    found = statistic.finalise(total)
    common = common_of(found.mean, found.squares, found.cross, found.products, found.n)
    assert common.scale.tolist() == [0.0]


def test_one_column_and_equal_deviations_are_not_shrunk_into_nan() -> None:
    one = np.random.default_rng(0).normal(size=(8, 1))
    location, variance = shrunk(one)
    assert location == one.mean() and variance == one.var(ddof=1)
    location, variance = shrunk(np.hstack([one, one + 1.0]))
    assert np.isfinite(location).all() and np.isfinite(variance).all()


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 12))
def test_small_batches_are_joined_within_their_hospital_and_none_is_too_small(
    codes: list[int], fewest: int
) -> None:
    code = np.array(codes, dtype=np.int64)
    hospital = code // 3
    batch = join_small(code, hospital, fewest)[code] if codes else code
    for number in np.unique(batch[batch != NEVER_SEEN]):
        assert (batch == number).sum() >= fewest
        assert np.unique(hospital[batch == number]).size == 1
    for one in np.unique(hospital):
        has = batch[hospital == one] != NEVER_SEEN
        assert has.all() == ((hospital == one).sum() >= fewest) and has.all() == has.any()


def test_rows_of_a_scanner_that_nobody_trained_on_have_no_effects() -> None:
    residuals = np.random.default_rng(1).normal(2.0, 1.0, (12, 3))
    codes = np.repeat([0, 2], 6)
    effects = effects_of(residuals, codes, join_small(codes, np.zeros(12, int), 6))
    shift, factor = effects.of(np.array([2, 1, 3]))
    assert effects.seen(np.array([2, 1, 3])).tolist() == [True, False, False]
    assert (shift[0] > 1.0).all() and not shift[1:].any() and (factor[1:] == 1.0).all()
