"""Limits on sums that a study file alone can break."""

from __future__ import annotations

from collections.abc import Iterable

from common.errors import InputError
from common.study.model import FEWEST_MASKED, Masking, Study

Names = tuple[str, ...]


def check_maskable(study: Study, *, where: str) -> None:
    """Raise InputError when sums that must be masked, or pooled rows, have too few sites for it."""
    for subset in study.too_few_to_mask():
        members = study.members(subset)
        what = "training" if subset == "train" else f"test set {subset}"
        why = (
            "a sum over one site is that site's own"
            if len(members) == 1
            else "of two sites each could take its own numbers off the sum"
        )
        raise InputError(
            f"{what} has {len(members)} site(s), and masking takes {FEWEST_MASKED}: {why}",
            where=where,
            remedy="add a site, or say openly under [privacy] that sums go unmasked: masking ="
            ' "off" ("where_possible" masks all sums over three sites and more)',
        )
    if study.fusion.pooling == "rows" and len(study.training_sites) == 2:
        raise InputError(
            f"rows are pooled over 2 sites, and it takes {FEWEST_MASKED} to hide whose they are",
            where=where,
            remedy='write pooling = "bins" under [fusion], or add a site that trains',
        )


def left_in_clear(study: Study, masking: Masking, subsets: Iterable[str]) -> Names:
    """Return the subsets whose sums a site wants masked and this study does not mask.

    Parameters
    ----------
    masking : the stricter of the study's setting and the site's own; the study's own alone is not
        checked here.
    """
    if masking == study.privacy.masking or masking == "off":
        return ()
    least = FEWEST_MASKED if masking == "where_possible" else 2
    return tuple(
        subset
        for subset in subsets
        if not study.masked(subset)
        and (len(study.members(subset)) >= least or (masking == "required" and subset == "train"))
    )


def subsets_of(study: Study, site: str) -> list[str]:
    """Return the subsets in which a site takes part."""
    training = ["train"] if site in study.training_sites else []
    return training + [test.name for test in study.test_sets if site in test.sites]


def masked_over(study: Study, split: str) -> dict[str, Names]:
    """Return sites by subset, of all subsets of a split whose sums are masked."""
    named = ["train"] if split == "train" else []
    named += [test.name for test in study.test_sets if test.split == split]
    return {name: study.members(name) for name in named if study.masked(name)}


def split_of(study: Study, subset: str) -> str:
    """Return the split that a subset is made of."""
    return "train" if subset == "train" else study.test_set(subset).split
