"""Rules for matrices of products: no column that is nearly constant, no value without bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.disclosure.asked import Asked
from common.disclosure.refusing import Refusals
from common.disclosure.training import check_fold_classes
from common.statistics.base import Float, Rows
from common.statistics.fold_histogram import Support
from common.statistics.histogram import cell_counts
from common.statistics.rank_gram import RankGram, ranks_tell
from common.transforms import Clip, KernelMap, NormalScores, Project, Select, Standardise
from common.transforms.views import ByFold, Joined, View


def check_fold_gram(asked: Asked) -> Refusals:
    """Check X'X and X'y in every fold."""
    return (
        *check_fold_classes(asked.rows, asked.study.folds, asked.privacy),
        *check_bounded(asked),
        *_check_scored(asked, by_fold=True),
        *_check_support(asked, by_fold=True),
    )


def check_gram(asked: Asked) -> Refusals:
    """Check X'X over all rows."""
    return (
        *check_bounded(asked),
        *_check_scored(asked, by_fold=False),
        *_check_support(asked, by_fold=False),
    )


def check_rank_gram(asked: Asked) -> Refusals:
    """Check X'X of ranks, which are bounded by themselves, and the counts behind the ranks."""
    return (
        *_check_rank_cells(asked),
        *_check_ranks(asked),
        *_check_support(asked, by_fold=False),
    )


def check_bounded(asked: Asked) -> Refusals:
    """Check in guarded mode that columns end in values limited by the study's clipping.

    One site cannot see that the scale under the clipping is the deviation over all sites.
    """
    clip = asked.study.selection.clip
    if asked.privacy.mode == "guarded" and not bounded(asked.view, clip):
        return asked.refuse("bounded", "columns that are not clipped")
    return ()


def bounded(view: View, clip: float) -> bool:
    """Return whether a view ends in values limited to at most `clip` deviations."""
    for step in reversed(view.transforms):
        if isinstance(step, Clip | NormalScores):
            return step.limit <= clip
        if not isinstance(step, Select | KernelMap):
            return False
    parts: tuple[Any, ...] = ()
    if isinstance(view.source, Joined | ByFold):
        parts = view.source.parts
    return bool(parts) and all(bounded(part, clip) for part in parts)


def plain_columns(view: View) -> set[str]:
    """Return the columns of a view that are neither normal scores nor made of them."""
    plain, renamed = set(view.outputs()), False
    for step in reversed(view.transforms):
        if isinstance(step, NormalScores | KernelMap):
            return set()
        if not isinstance(step, Clip | Select | Standardise | Project):
            return plain
        renamed |= isinstance(step, Project)
    if not isinstance(view.source, Joined | ByFold):
        return plain
    before = {name for part in view.source.parts for name in plain_columns(part)}
    if renamed:
        return plain if before else set()
    return plain & before


def _check_scored(asked: Asked, *, by_fold: bool) -> Refusals:
    """Refuse in guarded mode too many columns of non-normal shape for the number of rows.

    More of them would let a search find the rows behind the matrix. The counts that come with the
    question give the least number of rows.
    """
    if asked.privacy.mode != "guarded" or asked.rows.p <= asked.privacy.max_plain_columns:
        return ()
    support: Support | None = asked.statistic.support
    apart = np.zeros((1, 1)) if support is None else support.apart
    rows = apart.max(axis=1).min() if by_fold else apart.sum(axis=0).max()
    most = max(float(asked.privacy.max_plain_columns), float(rows))
    plain = plain_columns(asked.view) | _tied(asked.rows)
    if len(plain) > most:
        return asked.refuse("scored", "many columns that are not scores")
    return ()


def _tied(rows: Rows) -> set[str]:
    """Return columns where over half of the rows share a value, which no scores make normal."""
    if rows.n == 0:
        return set()
    # such a value stands in the middle of the sorted rows
    middle = np.partition(rows.values, rows.n // 2, axis=0)[rows.n // 2]
    most = (rows.values == middle).sum(axis=0) > rows.n / 2
    return {name for name, tied in zip(rows.columns, most, strict=True) if tied}


def _check_ranks(asked: Asked) -> Refusals:
    """Require normal scores in guarded mode for ranks of few rows in many columns."""
    gram: RankGram = asked.statistic
    rows = float(gram.counts[0].sum()) if asked.rows.p else 0.0
    if asked.privacy.mode == "guarded" and not gram.normal and ranks_tell(rows, asked.rows.p):
        return asked.refuse("ranks", "rows of all sites under a matrix of ranks")
    return ()


def _check_support(asked: Asked, *, by_fold: bool) -> Refusals:
    """Check the question's counts of rows apart, and the site's own against them."""
    fewest = asked.privacy.min_category
    if fewest == 0 or asked.rows.p == 0:
        return ()
    support: Support | None = asked.statistic.support
    folds, p = asked.study.folds, asked.rows.p
    if support is None or not _fits(support, folds, p):
        return asked.refuse("support", "columns without counts of rows apart")
    apart: Float = support.apart if by_fold else support.apart.sum(axis=0, keepdims=True)
    short = (apart < fewest - 0.5).any(axis=0)
    if short.any():
        name = asked.rows.columns[int(np.argmax(short))]
        return asked.refuse("support", f"rows that differ in column {name}")
    beyond = (support.of(asked.rows, folds) > support.apart + 0.5).any(axis=0)
    if beyond.any():
        name = asked.rows.columns[int(np.argmax(beyond))]
        return asked.refuse("support", f"counts that leave out rows of column {name}")
    return ()


def _fits(support: Support, folds: int, p: int) -> bool:
    same = support.low.shape == support.high.shape == (p,)
    return same and support.apart.shape == (folds, p)


def _check_rank_cells(asked: Asked) -> Refusals:
    """Check that every published cell holds none or enough rows, also without the site's own."""
    everyone, privacy = asked.statistic.counts, asked.privacy
    if ((everyone > 0.5) & (everyone < privacy.min_rank_cell - 0.5)).any():
        return asked.refuse("rank_cells", "rows of all sites in a cell")
    if asked.alone:
        return ()
    edges = asked.statistic.edges
    own = np.array([cell_counts(x, e) for x, e in zip(asked.rows.values.T, edges, strict=True)])
    others = everyone - own.reshape(everyone.shape)
    if ((others > 0.5) & (others < privacy.min_rank_others - 0.5)).any():
        return asked.refuse("rank_others", "rows of the other sites in a cell")
    return ()
