"""LASSO from Gram matrices: scikit-learn's coordinate descent, cross-validated over folds.

`server.phases.lasso` asks the sites for the matrices.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

from common.learning.agreement import ANOTHER, apart
from common.messages.plain import plain
from common.statistics.base import Float, Int
from common.statistics.gram import CentredGram
from common.utils import portable

TOLERANCE = 1e-10  # of the duality gap, relative to y'y
SCAN_TOLERANCE = 1e-5  # while looking for the least error: penalties far too small converge slowly
MAX_ITERATIONS = 100_000
# of the largest coefficient: smaller ones are the solver's rounding, and keep no column
LEAST_COEFFICIENT = 2e-9
# errors that differ by less, relative to the smallest, are equal
TIE = 1e-12
# while looking for the least error, penalties within this of it may turn out to have it
_NEARLY = 1e-9


@plain
class LassoChoice:
    """The part of a LASSO that decides on columns: its penalty, and the coefficients (p,) at it."""

    alpha: float
    coefficients: Float


@plain
class LassoFit:
    """Chosen LASSO, with the errors behind the choice.

    Parameters
    ----------
    alpha : penalty with the least cross-validation error.
    coefficients : (p,).
    intercept : prediction is intercept + x'coefficients.
    alphas : (alphas,), decreasing.
    cv_error : (alphas,), mean over folds of the mean squared error in the fold left out.
    cv_spread : (alphas,), standard error of that mean over the folds.
    path : (p, alphas), coefficients on all folds kept.
    """

    alpha: float
    coefficients: Float
    intercept: float
    alphas: Float
    cv_error: Float
    cv_spread: Float
    path: Float

    @property
    def support(self) -> Int:
        """Indices of the columns kept."""
        sizes = np.abs(self.coefficients)
        return np.flatnonzero(sizes > LEAST_COEFFICIENT * sizes.max(initial=0.0)).astype(np.int64)

    @property
    def choice(self) -> LassoChoice:
        """Penalty and coefficients."""
        return LassoChoice(self.alpha, self.coefficients)


class FoldSums(Protocol):
    """Sums per fold, from which a LASSO is fitted and judged."""

    @property
    def n(self) -> Float:
        """Rows of each fold, (folds,)."""

    @property
    def folds(self) -> int:
        """Number of folds."""

    def training(self, excluded: tuple[int, ...] = ()) -> CentredGram:
        """Return the centred sums over all folds but `excluded`."""

    def validation_errors(self, fold: int, coefficients: Float, intercepts: Float) -> Float:
        """Return the mean error in `fold` of several linear models."""


def lasso_path_from_gram(gram: CentredGram, alphas: Float, tolerance: float = TOLERANCE) -> Float:
    """Minimise  ||y - Xw||^2 / (2 n) + alpha ||w||_1  from X'X and X'y; return (p, alphas).

    Parameters
    ----------
    gram : centred sums over n rows.
    alphas : (alphas,), positive and decreasing.
    tolerance : of the duality gap, relative to y'y.

    Raises
    ------
    ValueError : alphas that are not positive and decreasing.
    """
    if alphas.size == 0 or alphas.min() <= 0 or (np.diff(alphas) >= 0).any():
        raise ValueError("alphas must be positive and decreasing")
    p = gram.xy.size
    if p == 0 or gram.yy <= 0:
        return np.zeros((p, alphas.size))
    # the sums of a column that is constant on these rows are rounding only
    varies = (np.diag(gram.gram) > 1e-10 * gram.n).astype(np.float64)
    products = np.ascontiguousarray(gram.gram * np.outer(varies, varies))
    # With precomputed sums only the number of rows of X and the norm of y are read. One row makes
    # the objective n times ours, hence alphas times n.
    from sklearn.linear_model import lasso_path  # loads for a second; a dossier needs none

    _, path, _ = lasso_path(
        np.zeros((1, p), order="F"),
        np.array([np.sqrt(gram.yy)]),
        alphas=alphas * gram.n,
        precompute=products,
        Xy=gram.xy * varies,
        check_input=False,
        tol=tolerance,
        max_iter=MAX_ITERATIONS,
    )
    return np.asarray(path, dtype=np.float64)


def choose(fold_gram: FoldSums, alphas: Float, folds_kept: tuple[int, ...]) -> LassoFit:
    """Cross-validate over the folds kept, choose alpha, fit on all of them (as LassoCV does).

    Each training set is centred on its own means; the error is the mean over folds, every fold
    weighing the same; of equal errors the larger alpha wins. Errors and coefficients are computed
    to `TOLERANCE` from the largest alpha to just past the chosen one, beyond it to
    `SCAN_TOLERANCE`.

    Parameters
    ----------
    fold_gram : sums per fold.
    alphas : (alphas,), positive, any order.
    folds_kept : at least two; the others take no part at all.

    Raises
    ------
    ValueError : fewer than two folds, or a fold without rows.
    """
    if len(folds_kept) < 2:
        raise ValueError("cross-validation needs at least two folds")
    grid = np.sort(np.unique(alphas))[::-1]
    for fold in folds_kept:
        if fold_gram.n[fold] < 1:
            raise ValueError(f"fold {fold} has no rows")
    errors = _errors(fold_gram, grid, folds_kept, SCAN_TOLERANCE)
    scanned = errors.mean(axis=0)
    least = np.flatnonzero(scanned <= scanned.min() * (1.0 + _NEARLY))
    near = min(int(least[-1]) + 3, grid.size)
    errors[:, :near] = _errors(fold_gram, grid[:near], folds_kept, TOLERANCE)
    cv_error = errors.mean(axis=0)
    best = int(np.argmin(cv_error))
    train = _training(fold_gram, folds_kept)
    path = lasso_path_from_gram(train, grid, SCAN_TOLERANCE)
    path[:, : best + 1] = lasso_path_from_gram(train, grid[: best + 1])
    coefficients = path[:, best].copy()
    return LassoFit(
        alpha=float(grid[best]),
        coefficients=coefficients,
        intercept=train.mean_y - portable.dot(train.mean_x, coefficients),
        alphas=grid,
        cv_error=cv_error,
        cv_spread=errors.std(axis=0, ddof=1) / np.sqrt(len(folds_kept)),
        path=path,
    )


def choice_apart(
    fold_gram: FoldSums, folds_kept: tuple[int, ...], own: LassoFit, theirs: Any
) -> float:
    """Compare another machine's choice: an error that ties with the least one, close coefficients.

    Another penalty, whose error ties, counts as all that is allowed.

    Parameters
    ----------
    own : of `choose` with the same sums and folds.

    Returns
    -------
    A share of what is allowed, see `common.learning.agreement`.
    """
    if not isinstance(theirs, LassoChoice) or not isinstance(theirs.alpha, float):
        return ANOTHER
    found = np.flatnonzero(own.alphas == theirs.alpha)
    if found.size != 1:
        return ANOTHER
    place = int(found[0])
    if own.cv_error[place] > own.cv_error.min() * (1.0 + TIE):
        return ANOTHER
    if theirs.alpha == own.alpha:
        return apart(own.coefficients, theirs.coefficients)
    train = _training(fold_gram, folds_kept)
    coefficients = lasso_path_from_gram(train, own.alphas[: place + 1])[:, place]
    return max(1.0, apart(coefficients, theirs.coefficients))


def with_choice(
    fold_gram: FoldSums, folds_kept: tuple[int, ...], own: LassoFit, choice: LassoChoice
) -> LassoFit:
    """Return a fit with a choice that `choice_apart` allows."""
    train = _training(fold_gram, folds_kept)
    return dataclasses.replace(
        own,
        alpha=choice.alpha,
        coefficients=choice.coefficients,
        intercept=train.mean_y - portable.dot(train.mean_x, choice.coefficients),
    )


def _training(fold_gram: FoldSums, folds_kept: tuple[int, ...]) -> CentredGram:
    outside = tuple(fold for fold in range(fold_gram.folds) if fold not in folds_kept)
    return fold_gram.training(outside)


def _errors(
    fold_gram: FoldSums, grid: Float, folds_kept: tuple[int, ...], tolerance: float
) -> Float:
    """Return the mean squared error (folds, alphas) in each fold kept, trained on the others."""
    outside = [fold for fold in range(fold_gram.folds) if fold not in folds_kept]
    errors = np.empty((len(folds_kept), grid.size))
    for index, fold in enumerate(folds_kept):
        train = fold_gram.training((*outside, fold))
        path = lasso_path_from_gram(train, grid, tolerance)
        intercepts = train.mean_y - portable.product(path.T, train.mean_x)
        errors[index] = fold_gram.validation_errors(fold, path, intercepts)
    return errors


def fallback(gram: CentredGram, k: int) -> Int:
    """Return indices, increasing, of the k columns with the largest |X'y|, for an empty LASSO.

    Columns must be standardised for this to rank by correlation; earlier columns win ties.
    """
    order = np.argsort(-np.abs(gram.xy), kind="stable")
    return np.sort(order[:k]).astype(np.int64)
