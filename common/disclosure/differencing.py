"""Detect sums over sites that together reveal the numbers of a few sites.

Over the same patients a sum is a row of zeros and ones, with one column per site. Adding and
subtracting sums gives every vector of the space that the rows span; a vector that is zero outside a
few sites consists of these sites' numbers alone. Pairs of sums are not enough to look at: seven
sums over three of seven sites each, any two of which differ by four, reveal every site.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from common.errors import InputError
from common.study.model import FEWEST_MASKED, Study
from common.study.sums import masked_over

Names = tuple[str, ...]
Group = frozenset[str]


def told_together(sums: Mapping[str, Collection[str]]) -> tuple[Names, Names] | None:
    """Return sums that together reveal too few sites, and these sites; None where none do.

    Parameters
    ----------
    sums : sites by name of a sum over the same patients.
    """
    sites = few_told(sums.values())
    if not sites:
        return None
    names = list(sums)
    for name in list(names):  # a sum that takes no part in it is not named
        without = [sums[other] for other in names if other != name]
        if fewer := few_told(without):
            names.remove(name)
            sites = fewer
    return tuple(names), sites


def few_told(sums: Collection[Collection[str]]) -> Names:
    """Return one or two sites that the sums reveal together; empty where it takes three or more."""
    return _few_told(frozenset(frozenset(one) for one in sums))


def told_by_difference(now: Group, given: Iterable[Group], others: Iterable[Group]) -> bool:
    """Say whether a sum gives fewer sites away than masking takes, with others of its patients.

    Parameters
    ----------
    now : sites of the sum.
    given : sites of each sum that was given before.
    others : sites of further sums that were given, or are asked for too.
    """
    before = tuple(given)
    if any(0 < len(now ^ one) < FEWEST_MASKED for one in before):
        return True
    together = {now, *before, *others}
    return bool(few_told([sites for sites in together if len(sites) >= FEWEST_MASKED]))


def under_key(site: str, before: str | None, now: str | None) -> str:
    """Return what to call a site of an earlier sum: by its key, where it has another one now.

    Under another key anybody may answer, and a made-up answer is known and taken off.

    >>> under_key("a", "K1", "K1"), under_key("a", "K1", "K2"), under_key("a", None, "K2")
    ('a', 'a under its former key', 'a')
    """
    return f"{site} under its former key" if before and now and before != now else site


def few_patients_told(given: Iterable[Group], now: Group, fewest: int) -> bool:
    """Say whether totals over sets of patients reveal a new group of a few, with one over `now`.

    A set that was itself asked about counts for nothing: other rules look at its size.

    Examples
    --------
    >>> women, men = frozenset("abcd"), frozenset("fgh")
    >>> few_patients_told([women | men | {"e"}, women], men, 2)
    True
    >>> few_patients_told([women, men], women | men, 4)
    False
    """
    before = frozenset(one for one in given if one)
    if now in before or not any(now & one for one in before):
        return False
    return bool(_few_patients(before | {now}, fewest) - _few_patients(before, fewest))


@lru_cache(maxsize=64)
def _few_patients(sets: frozenset[Group], fewest: int) -> frozenset[Group]:
    """Return the groups of fewer than `fewest` patients that totals over the sets reveal.

    Nothing tells patients apart who are in the same sets. The groups they form are what the sites
    are to `_few_told`: one of them, or two together.
    """
    ordered = sorted(sets, key=sorted)
    groups: dict[tuple[bool, ...], set[str]] = {}
    for patient in frozenset().union(*sets):
        groups.setdefault(tuple(patient in one for one in ordered), set()).add(patient)
    names = {min(group): frozenset(group) for group in groups.values()}
    sums = [frozenset(name for name in names if name in one) for one in ordered]
    found: set[Group] = set()
    alike: dict[tuple[Fraction, ...], list[Group]] = {}
    numbers = _at_right_angles(list(names), sums)
    for group, own in zip(names.values(), numbers, strict=True):
        first = next((number for number in own if number), None)
        if first is None:
            found.add(group)
        else:
            alike.setdefault(tuple(number / first for number in own), []).append(group)
    for together in alike.values():
        small = sorted((group for group in together if len(group) < fewest), key=len)
        found |= {one | other for one, other in itertools.combinations(small, 2)}
    return frozenset(one for one in found - sets if len(one) < fewest)


@lru_cache(maxsize=1024)
def _few_told(sums: frozenset[Group]) -> Names:
    """Find revealed sites from the orthogonal complement of the sums' span.

    One site is revealed where all vectors of the complement are zero for it; two sites where their
    numbers are in the same proportion in all of them.
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
    """Return a basis of the orthogonal complement of all sums, one row per site."""
    rows = [[Fraction(site in members) for site in sites] for members in sorted(sums, key=sorted)]
    pivots = _reduce(rows, len(sites))
    free = [column for column in range(len(sites)) if column not in pivots]
    found = [[Fraction(column == other) for other in free] for column in range(len(sites))]
    for row, pivot in enumerate(pivots):
        found[pivot] = [-rows[row][column] for column in free]
    return found


def _reduce(rows: list[list[Fraction]], columns: int) -> list[int]:
    """Bring rows to reduced echelon form, exactly and in place; return the column of each pivot."""
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
    """Raise InputError when sums over test sets would reveal a few sites by subtraction."""
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
    """Return masked sums over the same patients that reveal too few sites, and these sites.

    At each site the patients of a split are the same in every set that names it.
    """
    splits = dict.fromkeys(("train", *(test.split for test in study.test_sets)))
    found = [told_together(masked_over(study, split)) for split in splits]
    return next((one for one in found if one is not None), None)


def _listed(names: Names) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
