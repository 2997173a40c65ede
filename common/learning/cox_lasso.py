"""LASSO of Cox models from one question: partial likelihoods as parabolas about no effect.

At weights 0 the score of the partial likelihood is X'M, where M are the residuals of the model
without columns (martingale residuals, within hospitals), and the information is about that of
CoxBatch: events times the covariance of all training patients. So the LASSO on the parabola is one
on Gram matrices, with residuals per event in place of the outcome (Wang and Leng 2007; Zhang and
Lu 2007 take the parabola at the full model, which many columns do not have). It chooses columns;
their weights come from the partial likelihood itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.statistics.base import Float
from common.statistics.cox import CoxGradient, CoxGradientResult
from common.statistics.gram import CentredGram, FoldGramResult
from common.utils import portable

Excluded = frozenset[int]
# the squares of the residuals are not asked for; this many times the events is above them, and
# they only scale the tolerance of the solver
_SQUARES = 10.0


def left_out(folds: int) -> list[tuple[int, ...]]:
    """Return the sets of folds that are left out of a fit: none, each one, each two.

    >>> left_out(3)
    [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    """
    return [(), *((fold,) for fold in range(folds)), *combinations(range(folds), 2)]


def score_question(folds: int, p: int, periods: int) -> CoxGradient:
    """Return the question for losses and scores at weights 0, without each of `left_out`."""
    sets = left_out(folds)
    excluded = np.zeros((len(sets), folds))
    for row, gone in enumerate(sets):
        excluded[row, list(gone)] = 1.0
    none = np.full(len(sets), -1, dtype=np.int64)
    return CoxGradient(np.zeros((len(sets), p)), excluded, none, periods)


@dataclass(frozen=True)
class CoxFolds:
    """Sums per fold of which `common.learning.lasso.choose` fits and judges the parabolas.

    Parameters
    ----------
    gram : sums per fold, the label saying who had the event.
    losses, scores : by folds left out: at weights 0, from `score_question`.
    excluded : folds that take no part at all.
    """

    gram: FoldGramResult
    losses: Mapping[Excluded, float]
    scores: Mapping[Excluded, Float]
    excluded: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, gram: FoldGramResult, found: CoxGradientResult, excluded: tuple[int, ...] = ()
    ) -> CoxFolds:
        """Return the sums from the answer to `score_question`."""
        sets = [frozenset(gone) for gone in left_out(gram.folds)]
        losses = dict(zip(sets, found.loss.tolist(), strict=True))
        return cls(gram, losses, dict(zip(sets, -found.gradient, strict=True)), excluded)

    @property
    def n(self) -> Float:
        """Rows of each fold, (folds,)."""
        return self.gram.n

    @property
    def folds(self) -> int:
        """Number of folds."""
        return self.gram.folds

    def training(self, excluded: tuple[int, ...] = ()) -> CentredGram:
        """Return the Gram matrix without these folds, and X'y of the residuals per event.

        Raises
        ------
        ValueError : no events are left.
        """
        own = self.gram.training(excluded)
        share = own.mean_y
        if share <= 0:
            raise ValueError("no events are left")
        return CentredGram(
            n=own.n,
            mean_x=own.mean_x,
            mean_y=0.0,
            gram=own.gram,
            xy=self.scores[frozenset(excluded)] / share,
            yy=_SQUARES * own.n / share,
        )

    def validation_errors(self, fold: int, coefficients: Float, intercepts: Float) -> Float:
        """Return by how much the fold adds to the loss, an event of it, of several models.

        Parameters
        ----------
        coefficients : (p, models), fitted without the fold and `excluded`.
        intercepts : without meaning here.
        """
        del intercepts
        with_fold, without = frozenset(self.excluded), frozenset((*self.excluded, fold))
        both, train = self.gram.training(tuple(with_fold)), self.gram.training(tuple(without))
        score = self.scores[with_fold] - self.scores[without]
        information = both.mean_y * both.gram - train.mean_y * train.gram
        bend = np.add.reduce(coefficients * portable.product(information, coefficients), axis=0)
        added = self.losses[with_fold] - self.losses[without]
        loss = added - portable.product(coefficients.T, score) + 0.5 * bend
        events = both.mean_y * both.n - train.mean_y * train.n
        return np.asarray(np.maximum(loss, 0.0) / max(float(events), 1.0))
