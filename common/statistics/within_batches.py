"""Squares and products about the means of each hospital or scanner: what batches have in common."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.learning.combat import join_small
from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import (
    DIGITS,
    complete,
    exact_column_sums,
    from_digits,
    packed_size,
    unpack,
)
from common.statistics.fold_histogram import Support


@plain
class WithinBatchesResult:
    """Means of all columns, and squares and products within the batches.

    Parameters
    ----------
    n : number of rows.
    mean : (p + q,), of p columns and q covariates.
    squares : (p,). cross : (q, p). products : (q, q).
    """

    n: float
    mean: Float
    squares: Float
    cross: Float
    products: Float


@plain
class WithinBatches:
    """Means over all rows; squares, and products with covariates, about the means of the batches.

    A batch is the hospital, or where `Rows.batch` says so a scanner there; scanners of few patients
    are joined as `join_small` joins them, here as in their effects. Its means stay there: each
    hospital takes its own off before it adds up.

    Parameters
    ----------
    covariates : how many of the columns, the last ones, are covariates.
    support : evidence that no covariate is nearly constant; sites refuse without.
    fewest : rows that a batch needs.

    Examples
    --------
    >>> def site(*values: float) -> Rows:
    ...     n = len(values)
    ...     return Rows(np.array(values)[:, None], ("volume",), np.zeros(n), np.zeros(n, int))
    >>> statistic = WithinBatches()
    >>> first, second = statistic.from_rows(site(1.0, 3.0)), statistic.from_rows(site(7.0, 9.0))
    >>> total = statistic.finalise({name: first[name] + second[name] for name in first})
    >>> total.mean, total.squares
    (array([5.]), array([4.]))
    """

    covariates: int = 0
    support: Support | None = None
    fewest: int = 1

    kind: ClassVar[str] = "within"
    step: ClassVar[dict[str, float]] = {
        "n": 0.5,
        "total": 0.5,
        "squares": 0.5,
        "cross": 0.5,
        "products": 0.5,
    }
    tally: ClassVar[dict[str, str]] = {"n": "rows", "squares": "squares"}
    about: ClassVar[str] = (
        "For each feature its sum, and its squared distances from the hospital's (or the scanner's)"
        " own mean; for each covariate also the products of these distances with the features'."
    )
    attack: ClassVar[str] = (
        "Totals over all hospitals; the mean and the deviation of one hospital stay there. Where a"
        " single patient has an extreme feature, its product with a covariate is mostly that"
        " patient's; whose it is, no total says. The rule for rare columns and limits of covariates"
        " keep the rest from showing in it. Beside a study of the same patients that does not"
        " harmonise, one of three hospitals can work out the means of the other two."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "n": ("1",),
        "total": ("features + covariates", "8"),
        "squares": ("features", "8"),
        "cross": ("covariates * features", "8"),
        "products": ("covariates * (covariates + 1) / 2", "8"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a number, a vector of length p, and vectors of squares and products."""
        q = self.covariates
        return {
            "n": (1,),
            "total": (p, DIGITS),
            "squares": (p - q, DIGITS),
            "cross": (q * (p - q), DIGITS),
            "products": (packed_size(q), DIGITS),
        }

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing values or too few columns."""
        values, q = complete(rows), self.covariates
        if not 0 <= q <= rows.p:
            raise ValueError(f"{q} covariates among {rows.p} columns")
        centred = values.copy()
        batch = self._batches(rows)
        for number in np.unique(batch):
            own = batch == number
            centred[own] -= centred[own].mean(axis=0)
            centred[own] -= centred[own].mean(axis=0)  # of what the first mean was rounded by
        columns, covariates = centred[:, : rows.p - q], centred[:, rows.p - q :]
        cross = [columns * covariates[:, [i]] for i in range(q)]
        above = zip(*np.triu_indices(q), strict=True)
        products = [covariates[:, [i]] * covariates[:, [j]] for i, j in above]
        return {
            "n": np.array([float(rows.n)]),
            "total": exact_column_sums(values),
            "squares": exact_column_sums(np.square(columns)),
            "cross": exact_column_sums(np.hstack([np.zeros((rows.n, 0)), *cross])),
            "products": exact_column_sums(np.hstack([np.zeros((rows.n, 0)), *products])),
        }

    def _batches(self, rows: Rows) -> Int:
        """Return the batch of each row (n,); of hospitals with too few rows for one, the same."""
        one = np.zeros(rows.n, dtype=np.int64)
        if rows.batch is None or rows.n == 0:
            return one
        hospitals = one if rows.origin is None else rows.origin
        return join_small(rows.batch, hospitals, self.fewest)[rows.batch]

    def finalise(self, sums: Sums) -> WithinBatchesResult:
        """Return means, squares and products over all sites; ValueError without any rows."""
        n, q = float(sums["n"][0]), self.covariates
        if n < 1:
            raise ValueError("no site has rows")
        squares = from_digits(sums["squares"])
        return WithinBatchesResult(
            n=n,
            mean=from_digits(sums["total"]) / n,
            squares=squares,
            cross=from_digits(sums["cross"]).reshape(q, squares.size),
            products=unpack(from_digits(sums["products"]), q),
        )
