"""Linear support vector machines, many at once, one message per round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.learning.descent import Mask, Problem, ProblemBatch
from common.learning.tridiagonal import Tridiagonal, tridiagonal
from common.statistics.gram import FoldGramResult
from common.statistics.svm import SvmGradient, SvmGradientResult


class SvmBatch(ProblemBatch):
    """Solver of many machines: send `request`, pass its outcome to `update`.

    Each minimises  |w|^2 / 2 + cost * sum max(0, 1 - y w'x)^2, as scikit-learn's
    LinearSVC(loss="squared_hinge", dual=False), intercept regularised. The Gram matrix of the
    training folds bounds the curvature, so no site has to send a Hessian. Converged problems are
    not asked for again.

    Parameters
    ----------
    gram : sums per fold of the same view.
    problems : machines to fit.
    tolerance : largest distance of the weights to the minimum.

    Raises
    ------
    ValueError : a cost that is not positive, a mask of another length, or no training rows.
    """

    def __init__(
        self, gram: FoldGramResult, problems: Sequence[Problem], tolerance: float = 1e-6
    ) -> None:
        def bound(excluded: tuple[int, ...], used: Mask) -> Tridiagonal:
            return tridiagonal(gram.augmented(excluded)[np.ix_(used, used)])

        super().__init__(problems, gram.p, gram.folds, True, bound, tolerance)

    def request(self) -> SvmGradient:
        """Return the next question, for the active problems; ValueError when there are none."""
        return SvmGradient(*self.asked())

    def update(self, result: SvmGradientResult) -> None:
        """Take the outcome of the last request; ValueError when its size differs."""
        self.answered(result.gradient, result.loss, result.validation_loss, result.validation_rows)
