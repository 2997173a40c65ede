"""Order statistics and sums against numpy's, where only some bins are sorted."""

from __future__ import annotations

import numpy as np
import pytest

from client.imaging.radiomics.firstorder import PERCENTILES, pairwise_sums, percentiles, sum_apart

MANY = 40_001


def drawn(name: str) -> np.ndarray:
    random = np.random.default_rng(0)
    return {
        "noise": random.normal(40, 90, MANY),
        "a heavy tail": np.exp(random.normal(0, 4, MANY)),
        "whole numbers": random.integers(-3, 4, MANY).astype(np.float64),
        "one value": np.full(MANY, 40.5),
        "two values": np.where(np.arange(MANY) % 3 == 0, 1.0, -1.0),
        "a range too small to divide": np.where(np.arange(MANY) % 3 == 0, 5e-324, 0.0),
        "few": random.normal(40, 90, 21),
        "a few hundred": random.normal(40, 90, 333),
    }[name]


NAMES = (
    "noise",
    "a heavy tail",
    "whole numbers",
    "one value",
    "two values",
    "a range too small to divide",
    "few",
    "a few hundred",
)


@pytest.mark.parametrize("name", NAMES)
def test_percentiles_are_numpys_to_the_last_bit(name):
    values = drawn(name)
    expected = np.percentile(values, PERCENTILES)
    expected[PERCENTILES.index(50)] = np.median(values)
    assert [percentiles(values)[q] for q in PERCENTILES] == expected.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_sums_are_numpys_to_the_last_bit(name):
    values = drawn(name)
    low, high = np.percentile(values, [10, 90])
    mean, within = values.mean(), (values >= low) & (values <= high)
    step = values - mean
    square = step * step
    terms = ((values + 7) ** 2, np.abs(step), square, square * step, square * square)
    robust = np.where(within, values, 0)
    expected = [float(np.sum(term)) for term in (*terms, robust, within.astype(float))]
    assert list(pairwise_sums(values, mean, 7.0, low, high, 0, len(values))) == expected
    apart = np.sum(np.where(within, np.abs(values - 3), 0))
    assert sum_apart(values, 3.0, low, high, 0, len(values)) == apart
