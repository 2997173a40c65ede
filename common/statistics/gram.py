"""Gram matrices: per fold with the label, for regression; about the mean, for components."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import complete, matches, pack, packed_size, unpack
from common.statistics.fold_histogram import Support
from common.utils import portable

# below this share of a score's squares its variance is rounding
FLAT = 1e-12


@plain
class CentredGram:
    """Sums over `n` rows, centred on the means of exactly these rows.

    gram (p, p) = X'X, xy (p,) = X'y, yy = y'y, all of centred X and y.
    """

    n: float
    mean_x: Float
    mean_y: float
    gram: Float
    xy: Float
    yy: float

    def spread(self, weights: Float, intercept: float) -> tuple[float, float]:
        """Return mean and deviation of x @ weights + intercept; 0.0 where all are equal."""
        mean = portable.dot(self.mean_x, weights) + intercept
        squares = portable.dot(weights, portable.product(self.gram, weights))
        variance = max(squares, 0.0) / self.n
        flat = variance <= FLAT * (variance + mean * mean)
        return mean, 0.0 if flat else math.sqrt(variance)


@plain
class FoldGramResult:
    """Per fold: n, sum_y, sum_yy (folds,), sum_x, xy (folds, p), gram (folds, packed triangle)."""

    n: Float
    sum_x: Float
    sum_y: Float
    sum_yy: Float
    gram: Float
    xy: Float

    @property
    def folds(self) -> int:
        """Number of folds."""
        return int(self.n.size)

    @property
    def p(self) -> int:
        """Number of columns."""
        return int(self.sum_x.shape[1])

    def kept(self, excluded: tuple[int, ...]) -> list[int]:
        """Return the folds that are left; ValueError when one is unknown or none is left."""
        if any(not 0 <= fold < self.folds for fold in excluded):
            raise ValueError(f"folds {excluded} of {self.folds}")
        left = [fold for fold in range(self.folds) if fold not in excluded]
        if not left or self.n[left].sum() <= 0:
            raise ValueError("no training rows are left")
        return left

    def training(self, excluded: tuple[int, ...] = ()) -> CentredGram:
        """Return the centred sums over all folds but `excluded`.

        Raises
        ------
        ValueError : an unknown fold, or no rows left.
        """
        left = self.kept(excluded)
        n = float(self.n[left].sum())
        mean_x, mean_y = self.sum_x[left].sum(axis=0) / n, float(self.sum_y[left].sum() / n)
        gram = unpack(self.gram[left].sum(axis=0), self.p)
        return CentredGram(
            n=n,
            mean_x=mean_x,
            mean_y=mean_y,
            gram=gram - n * np.outer(mean_x, mean_x),
            xy=self.xy[left].sum(axis=0) - n * mean_y * mean_x,
            yy=float(self.sum_yy[left].sum() - n * (mean_y * mean_y)),
        )

    def narrow(self, columns: Int) -> FoldGramResult:
        """Return the same sums for fewer columns, given by index."""
        rows, cols = np.meshgrid(columns, columns, indexing="ij")
        grams = [pack(unpack(triangle, self.p)[rows, cols]) for triangle in self.gram]
        return FoldGramResult(
            n=self.n,
            sum_x=self.sum_x[:, columns],
            sum_y=self.sum_y,
            sum_yy=self.sum_yy,
            gram=np.array(grams),
            xy=self.xy[:, columns],
        )

    def augmented(self, excluded: tuple[int, ...] = ()) -> Float:
        """Return uncentred X'X (p + 1, p + 1) with a last column of ones, over the folds kept."""
        left = self.kept(excluded)
        full = np.empty((self.p + 1, self.p + 1))
        full[:-1, :-1] = unpack(self.gram[left].sum(axis=0), self.p)
        full[:-1, -1] = full[-1, :-1] = self.sum_x[left].sum(axis=0)
        full[-1, -1] = self.n[left].sum()
        return full

    def validation_errors(self, fold: int, coefficients: Float, intercepts: Float) -> Float:
        """Return the mean squared error in `fold` of several linear models.

        Parameters
        ----------
        fold : the fold judged.
        coefficients : (p, models).
        intercepts : (models,).
        """
        used = np.flatnonzero(coefficients.any(axis=1))
        weights = np.ascontiguousarray(coefficients[used])
        gram = unpack(self.gram[fold], self.p)[np.ix_(used, used)]
        squares = (
            self.sum_yy[fold]
            - 2.0 * portable.product(weights.T, self.xy[fold][used])
            - 2.0 * self.sum_y[fold] * intercepts
            + np.add.reduce(weights * portable.product(gram, weights), axis=0)
            + 2.0 * intercepts * portable.product(weights.T, self.sum_x[fold][used])
            + self.n[fold] * (intercepts * intercepts)
        )
        return np.asarray(np.maximum(squares, 0.0) / max(float(self.n[fold]), 1.0))


@plain
class FoldGram:
    """Per fold: rows, sums of x and y, X'X and X'y with y the label as 0 and 1.

    Any training set made of whole folds, and its error in a fold left out, follow from these sums,
    so a cross-validated regression needs one round. Rows with fold -1 are left out.

    Parameters
    ----------
    folds : number of folds.
    support : evidence that no column is nearly constant; sites refuse without.

    Examples
    --------
    >>> values, label = np.array([[1.0], [2.0], [3.0]]), np.array([0.0, 0.0, 1.0])
    >>> rows, gram = Rows(values, ("age",), label, np.array([0, 0, 1])), FoldGram(folds=2)
    >>> result = gram.finalise(gram.from_rows(rows))
    >>> result.training(excluded=()).gram, result.training(excluded=(1,)).gram
    (array([[2.]]), array([[0.5]]))
    """

    folds: int
    support: Support | None = None

    kind: ClassVar[str] = "fold_gram"
    step: ClassVar[dict[str, float]] = {
        "n": 0.5,
        "sum_x": 2.0**-32,
        "sum_y": 2.0**-32,
        "sum_yy": 2.0**-32,
        "gram": 2.0**-32,
        "xy": 2.0**-32,
    }
    tally: ClassVar[dict[str, str]] = {
        "n": "rows by fold",
        "sum_y": "positives by fold",
        "sum_yy": "positives by fold",
    }
    about: ClassVar[str] = (
        "For each fold: patients, sums and products of all columns with each other and with the"
        " outcome."
    )
    attack: ClassVar[str] = (
        "The richest sum of a study, over the few patients of a fold. With plain values, single"
        " patients can be searched for behind it (independent component analysis), and a column"
        " that differs in one patient would be that patient's record. Normal scores or few"
        " columns with limited values, the rule for rare columns, and the mask are meant to"
        " defeat this; see the attacks below."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "n": ("folds",),
        "sum_x": ("folds", "columns"),
        "sum_y": ("folds",),
        "sum_yy": ("folds",),
        "gram": ("folds", "columns * (columns + 1) / 2"),
        "xy": ("folds", "columns"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare per fold three numbers, two vectors and the upper triangle of a (p, p) matrix."""
        each = self.folds
        return {
            "n": (each,),
            "sum_x": (each, p),
            "sum_y": (each,),
            "sum_yy": (each,),
            "gram": (each, packed_size(p)),
            "xy": (each, p),
        }

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing values or a fold number too high."""
        values = complete(rows)
        if rows.n and rows.fold.max() >= self.folds:
            raise ValueError(f"fold {rows.fold.max()} of {self.folds}")
        sums = {name: np.zeros(shape) for name, shape in self.shapes(rows.p).items()}
        for fold in range(self.folds):
            chosen = rows.fold == fold
            x, y = values[chosen], rows.label[chosen]
            sums["n"][fold] = float(y.size)
            sums["sum_x"][fold] = x.sum(axis=0)
            sums["sum_y"][fold] = y.sum()
            sums["sum_yy"][fold] = y @ y
            sums["gram"][fold] = pack(x.T @ x)
            sums["xy"][fold] = x.T @ y
        return sums

    def finalise(self, sums: Sums) -> FoldGramResult:
        """Return the sums over all sites."""
        return FoldGramResult(**sums)


@plain
class CrossProductResult:
    """Rows `n`, their exact mean (p,) and centred cross-products (p, p)."""

    n: int
    mean: Float
    products: Float


@plain
class CrossProducts:
    """X'X about the federated mean, over all rows.

    Parameters
    ----------
    mean : (p,), the result of `Means`; its rounding is corrected at the server.
    support : evidence that no column is nearly constant; sites refuse without.

    Examples
    --------
    >>> rows = Rows(np.array([[1.0], [2.0], [3.0]]), ("age",), np.zeros(3), np.zeros(3, int))
    >>> products = CrossProducts(mean=np.array([2.0]))
    >>> products.finalise(products.from_rows(rows)).products
    array([[2.]])
    """

    mean: Float
    support: Support | None = None

    kind: ClassVar[str] = "gram"
    step: ClassVar[dict[str, float]] = {"n": 0.5, "total": 2.0**-32, "products": 2.0**-32}
    tally: ClassVar[dict[str, str]] = {"n": "rows"}
    about: ClassVar[str] = (
        "For every two columns the sum of the products of their distances from the mean: the"
        " covariance."
    )
    attack: ClassVar[str] = (
        "Where there are fewer patients than columns, patients can be searched for behind the"
        " matrix (independent component analysis). Normal scores and the mask are meant to"
        " defeat this; see the attacks below."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "n": ("1",),
        "total": ("columns",),
        "products": ("columns * (columns + 1) / 2",),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a number, a vector and the upper triangle of a (p, p) matrix."""
        return {"n": (1,), "total": (p,), "products": (packed_size(p),)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing values."""
        matches(self.mean, rows, "mean")
        centred = complete(rows) - self.mean
        return {
            "n": np.array([float(rows.n)]),
            "total": centred.sum(axis=0),
            "products": pack(centred.T @ centred),
        }

    def finalise(self, sums: Sums) -> CrossProductResult:
        """Return mean and centred cross-products over all sites; ValueError without any rows."""
        n = float(sums["n"][0])
        if n < 1:
            raise ValueError("no site has rows")
        shift = sums["total"] / n
        products = unpack(sums["products"], self.mean.size) - n * np.outer(shift, shift)
        return CrossProductResult(n=round(n), mean=self.mean + shift, products=products)
