"""What a study may not ask of its sites, seen before anything runs."""

from __future__ import annotations

from itertools import combinations

from common.errors import InputError
from common.study import FEWEST_MASKED, Study


def check_maskable(study: Study, *, where: str) -> None:
    """InputError when sums that must be masked have too few sites for it."""
    for subset in study.too_few_to_mask():
        members = study.members(subset)
        what = "training" if subset == "train" else f"test set {subset}"
        raise InputError(
            f"{what} has {len(members)} site(s), and masking takes {FEWEST_MASKED}: of two sites"
            " each could take its own numbers off the sum",
            where=where,
            remedy="add a site, or say openly under [privacy] that sums go unmasked: masking ="
            ' "off" ("where_possible" masks all sums over three sites and more)',
        )


def check_test_sets_apart(study: Study, *, where: str) -> None:
    """InputError when sums over two test sets would give a few sites away by subtraction."""
    for one, other in combinations(study.test_sets, 2):
        apart = set(one.sites) ^ set(other.sites)
        shared = one.split == other.split and set(one.sites) & set(other.sites)
        masked = study.masked(one.name) and study.masked(other.name)
        if shared and masked and 0 < len(apart) < FEWEST_MASKED:
            raise InputError(
                f"test sets {one.name} and {other.name} hold the same patients but for those of"
                f" {', '.join(sorted(apart))}: their sums would give these away by subtraction",
                where=where,
                remedy="keep one of the two sets, or let them differ by three sites or by all",
            )
