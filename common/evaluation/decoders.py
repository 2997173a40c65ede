"""Decoders that search a total for single patients: the attacks try them, and every run's audit.

Each reads something out of a total and says which of some rows it recognises there. Rows that are
not in the total show how many it recognises by chance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import from_digits, unpack
from common.statistics.fold_histogram import FoldHistogram
from common.statistics.gram import CrossProducts, FoldGram
from common.statistics.histogram import Histogram, cell_of
from common.statistics.moments import Means
from common.statistics.rank_gram import RankGram

FOUND = 0.95
"""Correlation of what was read with a patient's own values, from which on the patient is found."""
FEWEST_COLUMNS = 8
"""Values by which a row is recognised; fewer correlate by chance."""
MOST_STEPS, MOST_PATIENTS, MOST_COLUMNS = 400, 200, 600
"""Size of a search: steps of each of its three parts, patients, columns looked at."""
Mask = NDArray[np.bool_]
_MATRICES, _COUNTS = (FoldGram, CrossProducts, RankGram), (Histogram, FoldHistogram)


def may_be_searched(statistic: Any) -> bool:
    """Tell whether a decoder reads the sums of such a statistic."""
    return isinstance(statistic, (*_MATRICES, *_COUNTS, Means))


@dataclass(frozen=True)
class Total:
    """Sums of a statistic over the patients of all hospitals, and the fold that is looked at.

    Parameters
    ----------
    fold : the one with fewest patients, where the statistic is made by fold; -1 = all patients.
    """

    statistic: Any
    sums: Sums
    fold: int = -1

    @classmethod
    def of(cls, statistic: Any, sums: Sums) -> Total:
        """Return a total that is looked at where fewest patients are."""
        by_fold = {FoldGram: "n", FoldHistogram: "counts"}.get(type(statistic))
        if by_fold is None:
            return cls(statistic, sums)
        patients = sums[by_fold].reshape(len(sums[by_fold]), -1).sum(axis=1)
        return cls(statistic, sums, int(np.where(patients > 0, patients, np.inf).argmin()))

    def plus(self, rows: Rows) -> Total:
        """Return the total as if these patients had been in it; ValueError where they fit not."""
        own = self.statistic.from_rows(rows)
        sums = {part: values + own[part] for part, values in self.sums.items()}
        return Total(self.statistic, sums, self.fold)

    def within(self, rows: Rows) -> Mask:
        """Return which of the rows (n,) are of the patients looked at."""
        return np.full(rows.n, True) if self.fold < 0 else rows.fold == self.fold


# -- matrices of products -----------------------------------------------------------------------


@dataclass(frozen=True)
class Gram:
    """Products X'X (p, p) of this number of rows."""

    products: Float
    patients: int


def gram_of(total: Total) -> Gram | None:
    """Return the matrix behind a total, None where it is none or has few columns."""
    statistic, sums = total.statistic, total.sums
    if isinstance(statistic, FoldGram):
        packed, n = sums["gram"][total.fold], float(sums["n"][total.fold])
    elif isinstance(statistic, CrossProducts):
        packed, n = sums["products"], float(sums["n"][0])
    elif isinstance(statistic, RankGram):
        packed, n = sums["gram"], float(statistic.counts[:1].sum())
    else:
        return None
    p = int((np.sqrt(8 * packed.size + 1) - 1) / 2)
    return Gram(unpack(packed, p), round(n)) if p >= FEWEST_COLUMNS else None


def behind(total: Total, rows: Rows) -> Float:
    """Return the rows (n, p) as their products are in the total; ValueError where they fit not."""
    statistic = total.statistic
    if isinstance(statistic, CrossProducts):
        return np.asarray(rows.values - statistic.mean)
    scores: Float = statistic.scores(rows) if isinstance(statistic, RankGram) else rows.values
    return scores


def component_guesses(
    gram: Float, n: int, limit: float = np.inf, steps: int = MOST_STEPS
) -> list[Float]:
    """Guess the rows (n, p) behind X'X by independent component analysis, in three ways.

    The matrix of n rows and p >= n columns gives X up to a rotation of its rows (X = U S V', of
    which S and V follow from the matrix). Where values have heavy tails, only the true rotation
    makes single rows stand out.

    Parameters
    ----------
    gram : (p, p).
    limit : of the absolute values; infinity for none.
    steps : of each way, at most.

    Notes
    -----
    Hyvarinen 1999, IEEE TNN 10:626-634 (FastICA).
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    values, vectors = np.linalg.eigh(gram)
    scale, axes = np.sqrt(np.maximum(values[-n:], values[-1] * 1e-15)), vectors[:, -n:]
    spread = scale[:, None] * axes.T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = FastICA(whiten="unit-variance", random_state=0, max_iter=steps)
        found = search.fit_transform(spread.T)
    # rows that correlate are not independent: only the rotation next to what was found can be true
    first = _nearest_rotation(unit(found.T @ axes / scale))
    tails = _climb(first, spread, lambda x: (x / x.std(axis=1, keepdims=True)) ** 2, steps)
    bounded = _climb(first, spread, lambda x: np.clip(x, -limit, limit), steps)
    guesses: list[Float] = [rotation @ spread for rotation in (first, tails, bounded)]
    return guesses


def unit(rows: Float) -> Float:
    """Return rows of length one."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _nearest_rotation(matrix: Float) -> Float:
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)


def _climb(rotation: Float, spread: Float, wanted: Callable[[Float], Float], steps: int) -> Float:
    """Turn towards what rows are wanted to be, until nothing moves."""
    for _ in range(steps // 2):
        turned = _nearest_rotation(wanted(rotation @ spread) @ spread.T)
        moved = np.abs(turned - rotation).max()
        rotation = turned
        if moved < 1e-6:
            break
    return rotation


def correlations(guess: Float, rows: Float) -> Float:
    """Return |correlation| of each row (n,) with a guess of its own, by the best assignment.

    Parameters
    ----------
    guess : (m, p); with m < n some rows have none, and 0.
    """
    first, second = (_scattered(x) for x in (guess, rows))
    table = np.abs(first @ second.T)
    at, of = scipy.optimize.linear_sum_assignment(-table)
    best = np.zeros(len(rows))
    best[of] = table[at, of]
    return best


def _scattered(rows: Float) -> Float:
    """Return rows about their mean, of length one; zeros for rows without any scatter."""
    about = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(about, axis=1, keepdims=True)
    return np.asarray(np.divide(about, length, out=np.zeros_like(about), where=length > 0))


def column_guesses(gram: Float) -> Float:
    """Guess, from each column (p,), the row (p,) of a patient who differs from all others there.

    The products of such a column with the others, summed over patients, are little more than that
    patient's values.
    """
    scale = np.sqrt(np.maximum(np.diag(gram), 0.0))[:, None]
    return np.divide(gram, scale, out=np.zeros_like(gram), where=scale > 0)


def read_from_columns(gram: Float, rows: Float) -> Mask:
    """Return which rows (n,) stand in a column of the matrix, that column itself left out."""
    guesses, others = column_guesses(gram), gram.shape[0] - 1
    own = np.diag(guesses)
    sums, guessed = rows.sum(axis=1)[:, None] - rows, guesses.sum(axis=1) - own
    squares = np.square(rows).sum(axis=1)[:, None] - np.square(rows) - sums * sums / others
    spread = np.square(guesses).sum(axis=1) - own * own - guessed * guessed / others
    products = rows @ guesses.T - rows * own - sums * guessed / others
    scale = np.sqrt(np.maximum(squares, 0.0) * np.maximum(spread, 0.0))
    alike = np.divide(np.abs(products), scale, out=np.zeros_like(scale), where=scale > 0)
    return np.asarray((alike > FOUND).any(axis=1))


# -- two totals ---------------------------------------------------------------------------------


def difference(first: Sums, second: Sums) -> Float | None:
    """Return the values (p,) of the one patient by whom two sums of `Means` differ.

    NaN where the patient has no value; None where they differ by anything but one patient.

    Examples
    --------
    >>> rows = Rows(np.array([[1.0], [2.5]]), ("age",), np.zeros(2), np.zeros(2, int))
    >>> both, one = Means().from_rows(rows), Means().from_rows(rows.at(np.array([0])))
    >>> difference(both, one), difference(both, both)
    (array([2.5]), None)
    """
    more = first["count"] - second["count"]
    if not np.isin(more, (0.0, 1.0)).all() or not more.any():
        return None
    lost = from_digits(first["total"] - second["total"])
    return np.where(more > 0.5, lost, np.nan)


# -- what a decoder recognises ------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """Rows (n,) that a decoder finds in a total, and those that it rules out there."""

    found: Mask
    ruled_out: Mask

    @classmethod
    def none(cls, n: int) -> Evidence:
        """Return what is known of n rows before anything was searched."""
        return cls(np.zeros(n, dtype=bool), np.zeros(n, dtype=bool))

    def __or__(self, other: Evidence) -> Evidence:
        """Return what two totals say together."""
        return Evidence(self.found | other.found, self.ruled_out | other.ruled_out)

    @property
    def recognised(self) -> Mask:
        """Rows that are found in a total and ruled out by none."""
        return self.found & ~self.ruled_out


class Decoder(Protocol):
    """A way to search a total.

    Parameters
    ----------
    singly : whether it is quick enough to be tried for one patient after the other.
    """

    singly: ClassVar[bool]

    def weight(self, total: Total) -> float:
        """Return how little the total tells; infinity where it cannot be searched."""

    def evidence(self, total: Total, rows: Sequence[Rows]) -> list[Evidence]:
        """Return of each table what the total says of its rows."""


@dataclass(frozen=True)
class Components:
    """Search for patients behind a matrix of products of fewer patients than columns.

    Parameters
    ----------
    limit : of the absolute values of a study's columns.
    steps : of the search.
    """

    limit: float = np.inf
    steps: int = MOST_STEPS
    singly: ClassVar[bool] = False

    def weight(self, total: Total) -> float:
        """Return the patients a column, infinity where it cannot search."""
        gram = gram_of(total)
        if gram is None or not 2 <= gram.patients <= MOST_PATIENTS:
            return np.inf
        p = min(len(gram.products), MOST_COLUMNS)
        return gram.patients / p if gram.patients <= p else np.inf

    def evidence(self, total: Total, rows: Sequence[Rows]) -> list[Evidence]:
        """Return of each table which rows are behind the matrix."""
        gram = _matrix(total)
        products = gram.products[:MOST_COLUMNS, :MOST_COLUMNS]
        n = min(gram.patients, len(products))
        guesses = component_guesses(products, n, self.limit, self.steps)

        def alike(true: Float) -> Mask:
            best = [correlations(guess, true[:, :MOST_COLUMNS]) for guess in guesses]
            return np.asarray(np.max(best, axis=0) > FOUND)

        return [_of_those_within(total, one, alike) for one in rows]


@dataclass(frozen=True)
class Columns:
    """Read a patient from the products of a column in which the patient differs from all."""

    singly: ClassVar[bool] = True

    def weight(self, total: Total) -> float:
        """Return 0 where there is a matrix to read, infinity elsewhere."""
        return np.inf if gram_of(total) is None else 0.0

    def evidence(self, total: Total, rows: Sequence[Rows]) -> list[Evidence]:
        """Return of each table which rows stand in a column."""
        products = _matrix(total).products
        return [
            _of_those_within(total, one, lambda true: read_from_columns(products, true))
            for one in rows
        ]


def _matrix(total: Total) -> Gram:
    gram = gram_of(total)
    if gram is None:
        raise ValueError("no matrix of products, or one of few columns")
    return gram


def _of_those_within(total: Total, rows: Rows, search: Callable[[Float], Mask]) -> Evidence:
    """Search for the rows of the patients looked at."""
    within, evidence = total.within(rows), Evidence.none(rows.n)
    if within.any():
        evidence.found[within] = search(behind(total, rows)[within])
    return evidence


@dataclass(frozen=True)
class Cells:
    """Look for intervals that hold one patient: whoever knows the value knows who is there."""

    singly: ClassVar[bool] = True

    def weight(self, total: Total) -> float:
        """Return 0 for counts in intervals, infinity for anything else."""
        return 0.0 if isinstance(total.statistic, _COUNTS) else np.inf

    def evidence(self, total: Total, rows: Sequence[Rows]) -> list[Evidence]:
        """Return of each table which rows lie alone in an interval, and which in an empty one."""
        counts, edges = total.sums["counts"], total.statistic.edges
        if total.fold >= 0:
            counts = counts[total.fold]
        found = []
        for one in rows:
            within = total.within(one)
            alone, nowhere = (lie_among(number, counts, edges, one.values) for number in (1, 0))
            found.append(Evidence(alone & within, nowhere & within))
        return found


def lie_among(number: int, counts: Float, edges: Float, values: Float) -> Mask:
    """Return which rows (n,) lie in an interval of any column that holds so many patients.

    Parameters
    ----------
    counts : (p, cells), of all patients.
    edges : (p, cells + 1).
    values : (n, p); NaN lies nowhere.

    Examples
    --------
    >>> counts, edges = np.array([[1.0, 3.0]]), np.array([[0.0, 2.0, 5.0]])
    >>> lie_among(1, counts, edges, np.array([[1.0], [4.0], [np.nan]])).tolist()
    [True, False, False]
    """
    found = np.zeros(len(values), dtype=bool)
    for own, ends, column in zip(counts, edges, values.T, strict=True):
        known = np.isfinite(column)
        found[known] |= np.abs(own[cell_of(column[known], ends)] - number) < 0.5
    return found
