"""Rules for matrices of products: no column that is nearly constant, no value without bounds."""

from __future__ import annotations

import dataclasses

import numpy as np

from common.disclosure.rule import Rule, SumQuery, declare
from common.disclosure.training import check_fold_classes
from common.statistics.base import Float, Rows
from common.statistics.fold_histogram import Support, enough
from common.statistics.histogram import cell_counts
from common.statistics.rank_gram import FEWEST_ROWS, RankGram, ranks_tell
from common.transforms import Transform
from common.transforms.views import ByFold, Joined, View


def check_classes(query: SumQuery) -> str:
    """Refuse sums of a class in every fold where one has few patients."""
    few = check_fold_classes(query.rows, query.study.folds, query.privacy)
    return "rows of a class in a fold" if few else ""


def check_bounded(query: SumQuery) -> str:
    """Refuse, in guarded mode, columns that do not end in values that the study limits.

    One site cannot see that the scale under the clipping is the deviation over all sites.
    """
    view, count = query.view, getattr(query.statistic, "covariates", None)
    if count == 0:
        return ""
    if count:
        parts = view.source.parts if isinstance(view.source, Joined) else ()
        # within batches: the columns are measured against limited covariates, the last part
        if view.transforms or len(parts) != 2 or len(parts[1].outputs()) != count:
            return "covariates that do not stand apart"
        view = parts[1]
    limited = bounded(view, query.study.selection.clip)
    return "" if limited or query.privacy.mode != "guarded" else "columns that are not clipped"


def bounded(view: View, clip: float) -> bool:
    """Return whether a view ends in values limited to at most `clip` deviations."""
    return _bound(view) <= clip


def _bound(view: View) -> float:
    """Return the largest absolute value of a view, by what its steps declare."""
    parts = view.source.parts if isinstance(view.source, Joined | ByFold) else ()
    bound = float(np.max([_bound(part) for part in parts])) if parts else np.inf
    for step in view.transforms:
        bound = step.bound(bound) if isinstance(step, Transform) else np.inf
    return bound


def plain_columns(view: View) -> set[str]:
    """Return the columns of a view that are neither normal scores nor made of them."""
    plain, renamed = set(view.outputs()), False
    for step in reversed(view.transforms):
        shape = type(step).shape if isinstance(step, Transform) else "own"
        if shape == "common":
            return set()
        if shape not in ("kept", "mixed"):
            return plain
        renamed |= shape == "mixed"
    if not isinstance(view.source, Joined | ByFold):
        return plain
    before = {name for part in view.source.parts for name in plain_columns(part)}
    if renamed:
        return plain if before else set()
    return plain & before


def check_scored(query: SumQuery) -> str:
    """Refuse, in guarded mode, more columns with a shape of their own than there are rows.

    More of them would let a search find the rows behind the matrix. The counts that come with the
    question give the least number of rows.
    """
    if query.privacy.mode != "guarded" or query.rows.p <= query.privacy.max_plain_columns:
        return ""
    support: Support | None = query.statistic.support
    apart = np.zeros((1, 1)) if support is None else support.apart
    by_fold = query.statistic.kind == "fold_gram"
    rows = apart.max(axis=1).min() if by_fold else apart.sum(axis=0).max()
    most = max(float(query.privacy.max_plain_columns), float(rows))
    plain = plain_columns(query.view) | _tied(query.rows)
    return "many columns that are not scores" if len(plain) > most else ""


def _tied(rows: Rows) -> set[str]:
    """Return columns where over half of the rows share a value, which no scores make normal."""
    if rows.n == 0:
        return set()
    # such a value stands in the middle of the sorted rows
    middle = np.partition(rows.values, rows.n // 2, axis=0)[rows.n // 2]
    most = (rows.values == middle).sum(axis=0) > rows.n / 2
    return {name for name, tied in zip(rows.columns, most, strict=True) if tied}


def check_ranks(query: SumQuery) -> str:
    """Refuse, in guarded mode, ranks of few rows in many columns, but for normal scores."""
    gram: RankGram = query.statistic
    rows = float(gram.counts[0].sum()) if query.rows.p else 0.0
    guarded = query.privacy.mode == "guarded" and not gram.normal
    tell = guarded and ranks_tell(rows, query.rows.p)
    return "rows of all sites under a matrix of ranks" if tell else ""


def check_support(query: SumQuery) -> str:
    """Refuse columns in which few rows lie apart, by the counts that come with the question."""
    fewest, rows = query.privacy.min_category, query.rows
    if query.statistic.kind == "within":
        rows = _covariates(rows, query.statistic.covariates)
    if fewest == 0 or rows.p == 0:
        return ""
    support: Support | None = query.statistic.support
    folds, p = query.study.folds, rows.p
    parts = (support.low, support.high, support.apart) if support is not None else ()
    if support is None or [part.shape for part in parts] != [(p,), (p,), (folds, p)]:
        return "columns without counts of rows apart"
    by_fold = query.statistic.kind == "fold_gram"
    apart: Float = support.apart if by_fold else support.apart.sum(axis=0, keepdims=True)
    # no column is named: which one falls short would tell of the patients
    if not enough(apart, fewest).all():
        return "rows that differ in a column"
    left_out = (support.of(rows, folds) > support.apart + 0.5).any()
    return "counts that leave out rows of a column" if left_out else ""


def _covariates(rows: Rows, count: int) -> Rows:
    """Return the last columns."""
    first = rows.p - count
    return dataclasses.replace(rows, values=rows.values[:, first:], columns=rows.columns[first:])


def check_rank_cells(query: SumQuery) -> str:
    """Refuse cells of ranks that hold some patients of all sites, but few."""
    everyone = query.statistic.counts
    few = (everyone > 0.5) & (everyone < query.privacy.min_rank_cell - 0.5)
    return "rows of all sites in a cell" if few.any() else ""


def check_rank_others(query: SumQuery) -> str:
    """Refuse cells of ranks that hold some patients of the other sites, but few."""
    if query.alone or check_rank_cells(query):
        return ""
    edges, everyone = query.statistic.edges, query.statistic.counts
    own = np.array([cell_counts(x, e) for x, e in zip(query.rows.values.T, edges, strict=True)])
    others = everyone - own.reshape(everyone.shape)
    few = (others > 0.5) & (others < query.privacy.min_rank_others - 0.5)
    return "rows of the other sites in a cell" if few.any() else ""


declare(
    Rule(
        name="fold_class",
        protects="the few patients of one outcome in one fold",
        text="A covariance matrix comes with sums of the positive patients of each fold, so each"
        " fold must hold at least this many of the hospital's patients of each outcome.",
        setting="min_class_per_fold",
        sums=("fold_gram",),
        check=check_classes,
        decided_here=True,
    ),
    Rule(
        name="rank_cells",
        protects="patients that stand out by one feature",
        text="Ranks over all hospitals need to know how many patients of all hospitals lie in an"
        " interval of a feature. An interval sent to hospitals holds none or at least this many"
        " patients.",
        setting="min_rank_cell",
        sums=("rank_gram",),
        check=check_rank_cells,
    ),
    Rule(
        name="rank_others",
        protects="patients of the other hospitals in an interval of one feature",
        text="A hospital can take its own patients off the number it receives. It refuses"
        " intervals in which the others then have some patients, but fewer than this number.",
        setting="min_rank_others",
        sums=("rank_gram",),
        check=check_rank_others,
    ),
    Rule(
        name="support",
        protects="the few patients in whom a column differs from nearly all others",
        text="In a covariance matrix a column with one positive patient is that patient's whole"
        " record. Columns enter it only where at least this many patients of all hospitals lie"
        " apart from the column's usual value; where it is made by fold, at least this many of a"
        " fold or none, so that sums of folds and their differences are about such groups, too."
        " The counts come with the question, and a hospital refuses without them or where its own"
        " patients contradict.",
        setting="min_category",
        sums=("rank_gram", "gram", "fold_gram", "within"),
        check=check_support,
    ),
    Rule(
        name="bounded",
        protects="patients with extreme values",
        text="Extreme values make single patients recoverable from a covariance matrix. In guarded"
        " mode values are limited before the matrix is made, and a hospital refuses a matrix of"
        " columns that are not. Of products with covariates the covariates are limited."
        " Only where both study and hospital say faithful are they used as"
        " they are.",
        sums=("gram", "fold_gram", "gradient", "within"),
        check=check_bounded,
    ),
    Rule(
        name="scored",
        protects="whole patients behind a covariance matrix of many columns",
        text="Where a matrix has many more columns than patients, the shape of the columns, such"
        " as one long tail, lets a computer search for the patients behind it. In guarded mode"
        " columns are turned into normal scores of their ranks first, which all have the same"
        " shape. At most this many columns, or as many as there are patients, may be without;"
        " columns with one value for more than half of the hospital's patients count among these.",
        setting="max_plain_columns",
        sums=("gram", "fold_gram"),
        check=check_scored,
    ),
    Rule(
        name="ranks",
        protects="whole patients behind a matrix of ranks",
        text="The same search works on ranks of few patients in many columns. With fewer patients"
        " in all than this, and more than twice as many columns, a hospital in guarded mode gives"
        " products of normal scores instead.",
        fixed=FEWEST_ROWS,
        sums=("rank_gram",),
        check=check_ranks,
    ),
)
