"""Attack (s), continued: the means of single hospitals, from sums about all and about own means.

A study that harmonises asks for squares about the means of the hospitals, another study of the same
patients for squares about the mean of all. The difference is what the hospitals' means differ by:
with their weighted sum, two equations for the two means that one of three hospitals does not know.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.statistics.base import Float, Rows, add, zeros
from common.statistics.moments import CentredSquares, Means
from common.statistics.within_batches import WithinBatches

COLUMNS = 40


def rows_of(sizes: tuple[int, ...]) -> list[Rows]:
    random = np.random.default_rng(5)
    names = tuple(f"f{i}" for i in range(COLUMNS))
    return [
        Rows(
            random.lognormal(random.normal(size=COLUMNS), 1.0, (n, COLUMNS)),
            names,
            np.zeros(n),
            np.zeros(n, int),
        )
        for n in sizes
    ]


def total(statistic: object, sites: list[Rows]) -> object:
    found = zeros(statistic.shapes(COLUMNS))  # type: ignore[attr-defined]
    for rows in sites:
        found = add(found, statistic.from_rows(rows))  # type: ignore[attr-defined]
    return statistic.finalise(found)  # type: ignore[attr-defined]


def solved(sizes: tuple[int, ...], own: Float, mean: Float, between: Float) -> tuple[Float, Float]:
    """Return the two candidates (columns,) for the second hospital's means, by the first one."""
    first, second, third = sizes
    rest = sum(sizes) * mean - first * own
    # second (b - m)^2 + third (c - m)^2 = what is left, with second b + third c = rest
    left = between - first * (own - mean) ** 2
    middle = rest / (second + third)
    inside = left - (second + third) * (middle - mean) ** 2
    apart = np.sqrt(np.maximum(inside, 0.0) * third / (second * (second + third)))
    return middle - apart, middle + apart


def test_one_of_three_hospitals_finds_the_others_means_but_for_their_order() -> None:
    sizes = (60, 45, 40)
    sites = rows_of(sizes)
    mean = total(Means(), sites).mean  # type: ignore[attr-defined]
    deviation = total(CentredSquares(mean), sites).deviation  # type: ignore[attr-defined]
    within = total(WithinBatches(), sites).squares  # type: ignore[attr-defined]
    between = sum(sizes) * deviation**2 - within
    candidates = solved(sizes, sites[0].values.mean(axis=0), mean, between)
    true = sites[1].values.mean(axis=0)
    nearest = np.min([np.abs(one - true) / np.abs(true) for one in candidates], axis=0)
    assert (nearest < 1e-6).mean() > 0.9


@pytest.mark.parametrize(("fewest", "shows"), [(1, True), (10, False)])
def test_a_scanner_of_one_patient_shows_in_squares_by_scanner_only_where_it_is_not_joined(
    fewest: int, shows: bool
) -> None:
    """Squares about the hospitals' means, less those of the scanners', are its distance squared."""
    sites = rows_of((60, 45, 40))
    by_hospital = total(WithinBatches(), sites).squares  # type: ignore[attr-defined]
    scanner = np.repeat([0, 1], [59, 1])
    sites[0] = replace(sites[0], batch=scanner)
    by_scanner = total(WithinBatches(fewest=fewest), sites).squares  # type: ignore[attr-defined]
    values = sites[0].values
    distance = np.abs(values[-1] - values[:-1].mean(axis=0))
    found = np.sqrt(np.maximum(by_hospital - by_scanner, 0.0) * 60 / 59)
    assert bool((np.abs(found - distance) < 1e-6 * distance).mean() > 0.9) == shows
    assert shows or not found.any()


def test_the_only_hospital_with_two_scanners_shows_how_far_apart_their_means_are() -> None:
    """With as many patients as a scanner takes, of each feature but for its sign."""
    sites = rows_of((60, 45, 40))
    by_hospital = total(WithinBatches(), sites).squares  # type: ignore[attr-defined]
    sites[0] = replace(sites[0], batch=np.repeat([0, 1], [48, 12]))
    by_scanner = total(WithinBatches(fewest=10), sites).squares  # type: ignore[attr-defined]
    values = sites[0].values
    apart = np.abs(values[48:].mean(axis=0) - values[:48].mean(axis=0))
    found = np.sqrt((by_hospital - by_scanner) * 60 / (48 * 12))
    np.testing.assert_allclose(found, apart, rtol=1e-5)
