"""What several sums over sites tell together: a few sites' own numbers, by adding and subtracting.

Over the same patients a sum is a row of zeros and ones, with a column a site. Whatever can be had
of all sums by adding and subtracting is a vector of the space that the rows span; where it is zero
outside a few sites, it is made of these sites' numbers alone. Pairs of sums are not enough to look
at: seven sums over three of seven sites each, any two of which differ by four, give every site.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from common.errors import InputError
from common.study.model import Study
from common.study.sums import masked_over

Names = tuple[str, ...]
Group = frozenset[str]


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
    """One or two sites of which sums tell together; empty where it takes three or more."""
    return _few_told(frozenset(frozenset(one) for one in sums))


@lru_cache(maxsize=1024)
def _few_told(sums: frozenset[Group]) -> Names:
    """By what every vector of the space is at right angles to: the numbers that add up to nothing.

    A vector of one site is there where all of these have a zero for it; one of two sites where the
    two have numbers in the same proportion in all of them.
    """
    sites = sorted(frozenset().union(*sums))
    alike: dict[tuple[Fraction, ...], str] = {}
    for site, numbers in zip(sites, _at_right_angles(sites, sums), strict=True):
        first = next((number for number in numbers if number), None)
        if first is None:
            return (site,)
        proportion = tuple(number / first for number in numbers)
        if proportion in alike:
            return (alike[proportion], site)
        alike[proportion] = site
    return ()


def _at_right_angles(sites: Sequence[str], sums: Iterable[Group]) -> list[list[Fraction]]:
    """A row a site, a column for every vector of a basis of what is at right angles to all sums."""
    rows = [[Fraction(site in members) for site in sites] for members in sorted(sums, key=sorted)]
    pivots = _reduce(rows, len(sites))
    free = [column for column in range(len(sites)) if column not in pivots]
    found = [[Fraction(column == other) for other in free] for column in range(len(sites))]
    for row, pivot in enumerate(pivots):
        found[pivot] = [-rows[row][column] for column in free]
    return found


def _reduce(rows: list[list[Fraction]], columns: int) -> list[int]:
    """Bring rows to reduced echelon form, exactly and in place; the column of each pivot."""
    pivots: list[int] = []
    for column in range(columns):
        rank = len(pivots)
        at = next((index for index in range(rank, len(rows)) if rows[index][column]), None)
        if at is None:
            continue
        rows[rank], rows[at] = rows[at], rows[rank]
        pivot = rows[rank] = [number / rows[rank][column] for number in rows[rank]]
        for index, row in enumerate(rows):
            if index != rank and row[column]:
                factor = row[column]
                rows[index] = [a - factor * b for a, b in zip(row, pivot, strict=True)]
        pivots.append(column)
    return pivots


def check_test_sets_apart(study: Study, *, where: str) -> None:
    """InputError when sums over test sets would give a few sites away by subtraction."""
    found = sets_too_close(study)
    if found is None:
        return
    sets, sites = (_listed(names) for names in found)
    kind = "" if "train" in found[0] else "test sets "
    words = f"hold the same patients but for those of {sites}: their sums would give these away"
    if len(found[0]) > 2:
        words = f"hold the same patients in part: their sums would give those of {sites} away"
    raise InputError(
        f"{kind}{sets} {words} by subtraction",
        where=where,
        remedy="keep one of the two sets, or let them differ by three sites or by all"
        if len(found[0]) == 2
        else "keep fewer of these sets: equal ones, and ones without a common site, are no risk",
    )


def sets_too_close(study: Study) -> tuple[Names, Names] | None:
    """Masked sums over the same patients that tell of too few sites together, and of which.

    Site by site the patients of a split are the same in every set that names it.
    """
    for split in dict.fromkeys(("train", *(test.split for test in study.test_sets))):
        found = told_together(masked_over(study, split))
        if found is not None:
            return found
    return None


def _listed(names: Names) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
