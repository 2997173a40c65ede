"""Rules for the one exchange of rows: out-of-fold probabilities, in a sum that names no site."""

from __future__ import annotations

from collections.abc import Mapping

from common.disclosure.rule import Refusals, Rule, declare, refusal
from common.disclosure.training import smaller_class
from common.masking import FEWEST
from common.messages.exchanges import Refusal
from common.statistics.base import Rows
from common.study.model import PrivacySettings, Study

MOST_ROWS = 1_000_000
_OTHER_SITES = "rows of other numbers of patients than train"


def check_out_of_fold_rows(rows: Rows, privacy: PrivacySettings) -> Refusals:
    """Check a site's part of the pooled rows: enough rows and enough of each class."""
    found: list[Refusal] = []
    if rows.n < privacy.min_oof_rows:
        found.append(refusal("out_of_fold_rows", privacy, "training rows"))
    if smaller_class(rows) < privacy.min_per_class:
        found.append(refusal("class", privacy, "training rows of one class"))
    return tuple(found)


def check_pooling(study: Study, privacy: PrivacySettings) -> Refusals:
    """Refuse to pool rows of two sites: each knows its own, and the rest are the other's."""
    if study.fusion.pooling == "rows" and len(study.training_sites) == 2:
        return (refusal("pooled_rows", privacy, "rows of two training sites"),)
    return ()


def check_places(
    site: str, n: int, counts: Mapping[str, int], study: Study, privacy: PrivacySettings
) -> Refusals:
    """Check that every site that trains has as many places as patients, as far as this one knows.

    Parameters
    ----------
    n : training patients of this site.
    counts : places by site, as the coordinator asks for them.
    """
    others = set(counts) == set(study.training_sites) and min(counts.values()) > 0
    if others and counts[site] == n and sum(counts.values()) <= MOST_ROWS:
        return ()
    return (refusal("pooled_rows", privacy, _OTHER_SITES),)


declare(
    Rule(
        name="out_of_fold_rows",
        protects="single patients among the pooled predictions",
        text=(
            "The study's one exchange of rows: probability and outcome of each training patient,"
            " without identifiers and hospital, rounded. It takes at least this many patients of"
            " each hospital."
        ),
        setting="min_oof_rows",
        decided_here=True,
        place=210,
    )
)

declare(
    Rule(
        name="pooled_rows",
        protects="the hospital that a row is from",
        text=(
            "Rows leave as one masked sum, in which every hospital writes its own into places that"
            " only hospitals know. That takes three: of two, each knows its own rows, and the"
            " others are the other's."
        ),
        fixed=FEWEST,
        subjects=(_OTHER_SITES,),
        decided_here=True,
        of_all=True,
        remedy='write pooling = "bins" under [fusion] of the study, or add a site that trains',
        remedy_here='ask the coordinator for a study with pooling = "bins"',
        place=212,
    )
)

declare(
    Rule(
        name="rows_once",
        protects="patients whose rows of several models would be compared",
        text=(
            "A hospital gives its out-of-fold rows once a study. The same question again has the"
            " same answer; rows of other models are refused."
        ),
        fixed=1.0,
        remedy="make a study of another name, which every hospital approves anew",
        place=214,
    )
)
