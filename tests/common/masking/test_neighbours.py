"""Masks along a graph: equal neighbours at both ends, and the colluders that it stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.masking.neighbours import degree_of_step, mask_colluders_stood, neighbours
from common.masking.pairwise import mask_vector
from common.masking.step import hide_step, open_step, step_keys
from common.study.training import colluders_stood

CONTEXT = b"c" * 32


def names(count: int) -> list[str]:
    return [f"site {i}" for i in range(count)]


def graph(sites: Collection[str], degree: int) -> dict[str, set[str]]:
    return {site: set(neighbours(site, list(sites), degree)) for site in sites}


def connected(edges: Mapping[str, set[str]], left: Collection[str]) -> bool:
    """Tell whether the graph among the sites that are left is in one piece."""
    inside, found, waiting = set(left), set(), [min(left)]
    while waiting:
        site = waiting.pop()
        if site not in found:
            found.add(site)
            waiting += edges[site] & inside
    return found == inside


def secret(one: str, other: str) -> bytes:
    return "|".join(sorted((one, other))).encode().ljust(32, b".")


def pairs(site: str, partners: Collection[str]) -> dict[str, bytes]:
    return {other: secret(site, other) for other in partners}


@given(st.integers(3, 70), st.integers(1, 10).map(lambda half: 2 * half))
@settings(max_examples=60)
def test_a_site_is_the_neighbour_of_its_neighbours(count: int, degree: int) -> None:
    edges = graph(names(count), degree)
    for site, others in edges.items():
        assert len(others) == min(degree, count - 1)
        assert site not in others
        assert all(site in edges[other] for other in others)


@given(st.permutations(names(20)))
@settings(max_examples=10)
def test_the_order_in_which_sites_are_named_does_not_matter(order: list[str]) -> None:
    assert graph(order, 6) == graph(names(20), 6)


@pytest.mark.parametrize(("count", "degree"), [(9, 4), (12, 4), (10, 6), (14, 4)])
def test_whichever_colluders_the_graph_stands_the_others_stay_in_one_piece(
    count: int, degree: int
) -> None:
    sites = names(count)
    edges, stood = graph(sites, degree), mask_colluders_stood(count, degree)
    assert stood == degree - 1
    for gone in combinations(sites, stood):
        assert connected(edges, set(sites) - set(gone))
    # one more can be one too many: the neighbours of a site know all of its masks
    assert not connected(edges, set(sites) - edges[sites[0]])


@given(st.integers(18, 64), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_of_many_sites_fifteen_colluders_learn_nothing_but_the_total(count: int, rng: Any) -> None:
    sites = names(count)
    edges = graph(sites, 16)
    assert connected(edges, set(sites) - set(rng.sample(sites, mask_colluders_stood(count, 16))))


@pytest.mark.parametrize("count", [3, 5, 17, 18, 40])
def test_masks_of_neighbours_cancel_in_the_sum(count: int) -> None:
    sites = names(count)
    total = np.zeros(50, dtype=np.uint64)
    for i, site in enumerate(sites):
        plain = np.full(50, i, dtype=np.uint64)
        own = pairs(site, neighbours(site, sites, 16))
        masked = mask_vector(plain, own, site, CONTEXT)
        assert not np.any(masked == plain)
        total += masked
    assert np.array_equal(total, np.full(50, sum(range(count)), dtype=np.uint64))


@pytest.mark.parametrize(("count", "quorum"), [(7, 4), (12, 7), (20, 11), (20, 18)])
def test_a_sum_over_a_quorum_opens_with_the_neighbours_keys(count: int, quorum: int) -> None:
    sites = names(count)
    degree = degree_of_step(count, quorum, colluders_stood(quorum, count), 4)
    keys, vectors = {}, {}
    for i, site in enumerate(sites):
        partners = neighbours(site, sites, degree)
        keys[site] = step_keys(site.encode().ljust(32), pairs(site, partners), CONTEXT)
        vectors[site] = {"x": np.full(5, i, dtype=np.uint32)}
        hide_step(vectors[site], keys[site], site, CONTEXT)
    opened = sites[:quorum]
    total = {"x": sum((vectors[site]["x"] for site in opened), np.zeros(5, dtype=np.uint32))}
    open_step(total, {site: keys[site].revealed(opened) for site in opened}, CONTEXT)
    assert total["x"].tolist() == [sum(range(quorum))] * 5


@pytest.mark.parametrize(("count", "quorum"), [(10, 6), (12, 8), (13, 7)])
def test_sites_left_out_and_colluders_together_leave_the_others_in_one_piece(
    count: int, quorum: int
) -> None:
    sites, stood = names(count), colluders_stood(quorum, count)
    edges = graph(sites, degree_of_step(count, quorum, stood, 4))
    for gone in combinations(sites, min(count - quorum + stood, count - 2)):
        assert connected(edges, set(sites) - set(gone))


@pytest.mark.parametrize("degree", [0, 1, 3, -2])
def test_an_odd_or_tiny_number_of_neighbours_is_refused(degree: int) -> None:
    with pytest.raises(ValueError, match="even and at least 2"):
        neighbours("a", ("a", "b", "c"), degree)


def test_a_site_that_takes_no_part_has_no_neighbours() -> None:
    with pytest.raises(ValueError, match="not among the participants"):
        neighbours("d", ("a", "b", "c"), 4)
