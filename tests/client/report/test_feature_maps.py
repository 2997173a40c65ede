"""Maps, orders and standardised blocks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from client.report.feature_maps import clustered, perplexity_for, standardised, tsne


@pytest.mark.parametrize(("n", "wanted"), [(5, 4 / 3), (31, 10.0), (91, 30.0), (300, 30.0)])
def test_perplexity_fits_few_patients(n: int, wanted: float) -> None:
    assert perplexity_for(n) == pytest.approx(wanted)
    assert perplexity_for(n) < n


def two_groups(n: int, p: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(n, p))
    values[n // 2 :] += 6.0
    return values


def test_neighbours_on_the_map_are_of_the_same_group_and_it_is_always_the_same() -> None:
    values = two_groups(40, 100)
    places = tsne(values)
    _, near = NearestNeighbors(n_neighbors=2).fit(places).kneighbors(places)
    group = np.arange(40) >= 20
    assert (group[near[:, 1]] == group).all()
    assert np.array_equal(places, tsne(values))


@pytest.mark.parametrize("shape", [(5, 1), (5, 300), (6, 2)])
def test_five_patients_and_one_feature_have_a_map_too(shape: tuple[int, int]) -> None:
    places = tsne(np.random.default_rng(1).normal(size=shape))
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()


def test_groups_stand_together_in_the_order_of_the_clustering() -> None:
    values = two_groups(20, 30)[np.random.default_rng(2).permutation(20)]
    _, order = clustered(values)
    high = values[order].mean(axis=1) > 3
    assert np.abs(np.diff(high.astype(int))).sum() == 1


def test_gaps_get_the_median_and_constants_go() -> None:
    values = np.array(
        [[1.0, 7.0, np.nan], [2.0, 7.0, np.nan], [np.nan, 7.0, np.nan], [6.0, 7.0, np.nan]]
    )
    made, kept, gaps = standardised(values)
    assert kept.tolist() == [True, False, False]
    filled = np.array([1.0, 2.0, 2.0, 6.0])
    assert made[:, 0] == pytest.approx((filled - filled.mean()) / filled.std())
    assert gaps == pytest.approx(5 / 12)
