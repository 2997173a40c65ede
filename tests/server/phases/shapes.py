"""Columns of many shapes, as laboratories and registries deliver them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator, int, float], Any]


def lognormal(sigma: float) -> Draw:
    return lambda rng, n, shift: rng.lognormal(shift * sigma, sigma, n)


def with_first(value: float) -> Draw:
    def draw(rng: np.random.Generator, n: int, shift: float) -> Any:
        values = rng.normal(50 + 3 * shift, 5, n)
        values[0] = value
        return values

    return draw


def zeros_and_exponential(rng: np.random.Generator, n: int, shift: float) -> Any:
    return np.where(rng.random(n) < 0.55, 0.0, rng.exponential(30 + 20 * shift, n))


def two_humps(rng: np.random.Generator, n: int, shift: float) -> Any:
    return np.where(rng.random(n) < 0.4, rng.normal(shift, 1, n), rng.normal(1e4, 1, n))


def at_least(limit: float) -> Draw:
    return lambda rng, n, shift: np.maximum(rng.lognormal(shift, 2, n), limit)


# name: recorded decimals, draw(generator, n, shift of the set)
SHAPES: dict[str, tuple[int | None, Draw]] = {
    "lognormal_half": (None, lognormal(0.5)),
    "lognormal_one": (None, lognormal(1.0)),
    "lognormal_two": (None, lognormal(2.0)),
    "lognormal_two_and_half": (None, lognormal(2.5)),
    "lognormal_four": (None, lognormal(4.0)),
    "gamma": (None, lambda rng, n, shift: rng.gamma(0.3, 10 + 5 * shift, n)),
    "pareto_without_variance": (None, lambda rng, n, shift: rng.pareto(1.1, n) + 1 + shift),
    "pareto_without_mean": (None, lambda rng, n, shift: rng.pareto(0.5, n) + shift),
    "weibull": (None, lambda rng, n, shift: (1 + shift) * rng.weibull(0.4, n)),
    "zeros_and_exponential": (None, zeros_and_exponential),
    "detection_limit": (None, at_least(0.5)),
    "detection_limit_of_a_third": (None, at_least(1 / 3)),
    "upper_limit": (None, lambda rng, n, shift: np.minimum(rng.lognormal(shift, 1, n), 1.5)),
    "two_humps": (None, two_humps),
    "outlier": (None, with_first(1e6)),
    "absurd_outlier": (None, with_first(1e30)),
    "outlier_near_zero": (None, with_first(1e-6)),
    "negative": (None, lambda rng, n, shift: -rng.lognormal(2 + shift, 2, n)),
    "cauchy": (None, lambda rng, n, shift: rng.standard_cauchy(n) + shift),
    "all_equal": (None, lambda rng, n, shift: np.full(n, 4.2)),
    "all_a_third": (None, lambda rng, n, shift: np.full(n, 1 / 3)),
    "two_values": (None, lambda rng, n, shift: rng.choice([1.3, 7.0], n, p=[0.7, 0.3])),
    "counts": (None, lambda rng, n, shift: rng.poisson(6 + 2 * shift, n).astype(float)),
    "tiny_beside_its_mean": (None, lambda rng, n, shift: 1e9 + rng.normal(shift, 1, n)),
    "small": (None, lambda rng, n, shift: 1e-15 * rng.lognormal(shift, 1, n)),
    "crp": (1, lambda rng, n, shift: np.round(rng.lognormal(2.5 + shift, 1.6, n), 1)),
    "psa": (2, lambda rng, n, shift: np.round(rng.lognormal(1.5 + shift, 1.8, n), 2)),
    "afp": (0, lambda rng, n, shift: np.round(rng.lognormal(5 + shift, 3, n))),
    "age": (0, lambda rng, n, shift: np.round(rng.normal(62 + 4 * shift, 9, n))),
    "platelets": (0, lambda rng, n, shift: np.round(rng.normal(250_000, 60_000, n))),
}
