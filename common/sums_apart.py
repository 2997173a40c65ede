"""What several sums over sites tell together: a few sites' own numbers, by adding and subtracting.

Over the same patients a sum is a row of zeros and ones, with a column a site. Whatever can be had
of all sums by adding and subtracting is a vector of the space that the rows span; where it is zero
outside a few sites, it is made of these sites' numbers alone. Pairs of sums are not enough to look
at: seven sums over three of seven sites each, any two of which differ by four, give every site.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

from common.masking import FEWEST

Names = tuple[str, ...]
Group = frozenset[str]
Vector = tuple[int, ...]


def told_together(sums: Mapping[str, Collection[str]]) -> tuple[Names, Names] | None:
    """Which sums tell of too few sites together, and of which; None where none do.

    Parameters
    ----------
    sums : sites by name of a sum over the same patients.
    """
    sites = few_told(sums.values())
    if not sites:
        return None
    names = list(sums)
    for name in list(names):  # what does not take part in it is not named
        without = [sums[other] for other in names if other != name]
        if fewer := few_told(without):
            names.remove(name)
            sites = fewer
    return tuple(names), sites


def few_told(sums: Collection[Collection[str]]) -> Names:
    """Fewer than three sites of which sums tell together; empty where every vector needs more."""
    return _few_told(frozenset(frozenset(one) for one in sums))


@lru_cache(maxsize=1024)
def _few_told(sums: frozenset[Group]) -> Names:
    """A vector has the same number for sites that stand in the same sums, so these go together."""
    alike: dict[Vector, list[str]] = {}
    ordered = sorted(sums, key=sorted)
    for site in sorted(frozenset().union(*sums)):
        pattern = tuple(int(site in members) for members in ordered)
        alike.setdefault(pattern, []).append(site)
    columns = list(alike)
    whole = _rank(columns)
    for few in _supports([len(alike[column]) for column in columns]):
        others = [column for index, column in enumerate(columns) if index not in few]
        if _rank(others) < whole:
            return tuple(sorted(site for index in few for site in alike[columns[index]]))
    return ()


def _supports(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Groups of columns, by number, of fewer sites than masks take; small ones first."""
    small = [index for index, size in enumerate(sizes) if size < FEWEST]
    for count in range(1, FEWEST):
        for chosen in combinations(small, count):
            if sum(sizes[index] for index in chosen) < FEWEST:
                yield chosen


def _rank(vectors: Sequence[Vector]) -> int:
    """Rank over the rationals, exactly."""
    rows = [[Fraction(number) for number in vector] for vector in vectors]
    rank = 0
    for column in range(len(vectors[0]) if vectors else 0):
        at = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if at is None:
            continue
        pivot = rows[at]
        rows[rank], rows[at] = pivot, rows[rank]
        for index in range(rank + 1, len(rows)):
            factor = rows[index][column] / pivot[column]
            if factor:
                rows[index] = [a - factor * b for a, b in zip(rows[index], pivot, strict=True)]
        rank += 1
    return rank
