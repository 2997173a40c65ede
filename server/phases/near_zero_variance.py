"""Leave columns that hardly vary out of every matrix of products; counts find them.

In such a matrix a column in which one patient differs from all others is that patient's whole row.
The matrices are made by fold, and whoever has two training sets that differ by a fold has that fold
by subtraction. So the rule holds for each fold: none of its rows differ, or at least
`privacy.min_category`. Then whatever is made of whole folds is about none or about enough; the most
that can be known of a rare level is the summed row of so many patients of all sites together.
Sites deal their folds by the counts of all of them, so that rare levels fill some folds and leave
the others empty, see `client.data.folds`; where that falls short, the level is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.errors import StudyError
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.fold_histogram import (
    FoldHistogram,
    FoldHistogramResult,
    Support,
    enough,
)
from common.statistics.rank_gram import first_edges
from common.study.model import ClinicalColumn, Study
from common.transforms.views import View

Names = tuple[str, ...]
Mask = NDArray[np.bool_]
# coarse on purpose: values next to each other, seen from an outlier, are one usual value
CELLS = 16


def fold_histograms(study: Study, views: Sequence[View]) -> list[SumItem]:
    """Ask for coarse histograms of standardised views, which `frequent` reads."""
    return [
        SumItem(
            FoldHistogram(folds=study.folds, edges=first_edges(len(view.outputs()), CELLS)),
            view,
            "train",
        )
        for view in views
    ]


def variance_asks(study: Study, width: int, tables: int = 1) -> Disclosure:
    """Declare a question for such histograms."""
    edges = np.zeros((width, CELLS + 1))
    return sum_disclosure(
        study, FoldHistogram(folds=study.folds, edges=edges), width, tables=tables
    )


def scaled_edges(mean: Float, deviation: Float) -> Float:
    """Return the same cells (p, cells + 1) for columns that are not standardised."""
    edges = first_edges(mean.size, CELLS)
    edges[:, 1:-1] = mean[:, None] + deviation[:, None] * edges[:, 1:-1]
    return edges


def frequent(study: Study, support: Support) -> Mask:
    """Find columns (p,) in which enough rows lie apart from the usual value, in folds with any."""
    return enough(support.apart, study.privacy.min_category)


def frequent_in_all(study: Study, support: Support) -> Mask:
    """Find columns (p,) in which enough rows of all folds together lie apart."""
    return np.asarray(support.apart.sum(axis=0) > study.privacy.min_category - 0.5)


def frequent_alone(study: Study, names: Names, found: FoldHistogramResult) -> Mask:
    """Find clinical columns (p,) in which enough rows differ: of a 0/1 column either value."""
    fewest = study.privacy.min_category
    stays = frequent(study, found.support())
    rows, ones = rows_and_ones(found)
    for column in study.clinical:
        levels = _levels(column)
        flags = {f"{name}:missing" for name in (column.name, *levels)}
        coded = [i for i, name in enumerate(names) if name in levels or name in flags]
        stays[coded] &= enough(ones[:, coded], fewest) & enough((rows - ones)[:, coded], fewest)
    return stays


def frequent_clinical(study: Study, names: Names, found: FoldHistogramResult) -> Mask:
    """Find the clinical columns (p,) that stay; a level left out joins the reference level.

    The patients at the reference level are those whose level columns are all 0, so when they are
    few the rarest level joins them.
    """
    fewest = study.privacy.min_category
    stays = frequent_alone(study, names, found)
    rows, ones = rows_and_ones(found)
    for column in study.clinical:
        levels = _levels(column)
        at = np.array([i for i, name in enumerate(names) if name in levels], dtype=np.int64)
        while (kept := at[stays[at]]).size:
            reference = rows[:, kept[0]] - ones[:, kept].sum(axis=1)
            if enough(reference, fewest):
                break
            stays[kept[np.argmin(ones[:, kept].sum(axis=0))]] = False
    return stays


def _levels(column: ClinicalColumn) -> set[str]:
    return {f"{column.name}={level}" for level in column.levels}


def rows_and_ones(found: FoldHistogramResult) -> tuple[Float, Float]:
    """Count rows, and rows with a 1 in each 0/1 column, by fold (K, p)."""
    # standardised, 1 lies above zero and 0 below
    return found.counts.sum(axis=2), found.counts[:, :, CELLS // 2 :].sum(axis=2)


def split(names: Names, stays: Mask) -> tuple[Names, Names]:
    """Return the names of the columns that stay, and of the rest.

    Raises
    ------
    StudyError : none stays.
    """
    kept = tuple(name for name, good in zip(names, stays, strict=True) if good)
    if names and not kept:
        raise StudyError(
            "every column is nearly constant, so that none may enter a matrix of products",
            where="feature selection",
            remedy="bring more patients, or agree on a smaller min_category in study and sites",
        )
    return kept, tuple(name for name in names if name not in kept)
