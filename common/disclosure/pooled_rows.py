"""Rules for the one exchange of rows: out-of-fold probabilities, in a sum that names no site."""

from __future__ import annotations

from collections.abc import Mapping

from common.disclosure.rule import TRAIN, Refusals, Rule, declare, fall_short, refusal
from common.disclosure.training import smaller_class
from common.evaluation.linkage import count_cells
from common.masking import FEWEST
from common.statistics.base import Float, Int, Rows
from common.study.model import PrivacySettings, Study

MOST_ROWS = 1_000_000


def check_out_of_fold_rows(rows: Rows, privacy: PrivacySettings) -> Refusals:
    """Check a site's part of the pooled rows: enough rows and enough of each class."""
    found = {"out_of_fold_rows": rows.n, "class": smaller_class(rows)}
    return fall_short(privacy, TRAIN, found)


def check_pooling(study: Study, privacy: PrivacySettings) -> Refusals:
    """Refuse rows of two sites, as the rest are the other's, and to a study that shares none."""
    if study.fusion.pooling == "rows" and len(study.training_sites) != 2:
        return ()
    return (refusal("pooled_rows", privacy, TRAIN, "two training sites, or no rows to share"),)


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
    if others and counts.get(site) == n and sum(counts.values()) <= MOST_ROWS:
        return ()
    return (refusal("pooled_rows", privacy, TRAIN, "other numbers of patients than train"),)


def check_fitting(
    cells: Int, fitting: Float, counts: Mapping[str, int], study: Study, privacy: PrivacySettings
) -> Refusals:
    """Check that counts of all rows can be those of rows with this site's own among them.

    Parameters
    ----------
    cells : (n, m), of this site's patients, by model that reads clinical values alone.
    fitting : (m, cells), rows of all sites, as the coordinator states them.
    counts : rows by site.
    """
    own = count_cells(cells, study.fusion.row_decimals)
    if own.shape[0] == 0 and fitting.size == 0:
        return ()
    fits = own.shape == fitting.shape and bool((fitting >= own).all())
    if fits and (fitting.sum(axis=1) == sum(counts.values())).all():
        return ()
    return (refusal("pooled_rows", privacy, TRAIN, "counts that the rows do not have"),)


def check_unique_rows(unique: int, n: int, privacy: PrivacySettings) -> Refusals:
    """Refuse rows of which too large a share belongs to patients who have exactly one that fits."""
    if unique > privacy.max_unique_rows * n:
        return (refusal("unique_rows", privacy, TRAIN),)
    return ()


declare(
    Rule(
        name="out_of_fold_rows",
        protects="single patients among the pooled predictions",
        text="The study's one exchange of rows: probability and outcome of each training patient,"
        " without identifiers and hospital, rounded. It takes at least this many patients of each"
        " hospital.",
        setting="min_oof_rows",
        decided_here=True,
    ),
    Rule(
        name="pooled_rows",
        protects="the hospital that a row is from",
        text="Rows leave as one masked sum, in which every hospital writes its own into places"
        " that only hospitals know. That takes three: of two, each knows its own rows, and the"
        " others are the other's.",
        fixed=FEWEST,
        decided_here=True,
        remedy='write pooling = "bins" under [fusion] of the study, or add a site that trains',
        remedy_here='ask the coordinator for a study with pooling = "bins"',
    ),
    Rule(
        name="rows_once",
        protects="patients whose rows of several models would be compared",
        text="A hospital gives its out-of-fold rows once a study. The same question again has the"
        " same answer; rows of other models are refused.",
        fixed=1.0,
        remedy="make a study of another name, which every hospital approves anew",
    ),
    Rule(
        name="unique_rows",
        protects="patients whose row somebody finds who knows their clinical values",
        text="Who knows a patient's clinical values can compute what the clinical model says, and"
        " look for rows with this probability. A hospital counts its patients who have exactly one"
        " such row among those of all, and refuses if they are more than this share.",
        setting="max_unique_rows",
        remedy='round more (fewer "row_decimals" under [fusion]), or write pooling = "bins" there',
    ),
)
