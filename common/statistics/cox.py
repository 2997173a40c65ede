"""Partial likelihood of Cox models within hospitals, and its gradient, many models at once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import complete
from common.statistics.follow_up import hospitals_of, periods_of


@plain
class CoxGradientResult:
    """Per problem: loss (m,), gradient (m, p), loss of the validation fold and its events (m,)."""

    loss: Float
    gradient: Float
    validation_loss: Float
    validation_events: Float


@plain
class CoxGradient:
    """Negative logarithm of Cox's partial likelihood and its gradient, stratified by hospital.

    Each hospital compares its own patients at risk alone: so the likelihood of all hospitals is a
    product, its logarithm and gradient are sums, and every hospital keeps a baseline hazard of its
    own to itself. Events of one period are tied, by Breslow's formula. A fold is judged
    by the loss that it adds to that of the training rows (Verweij and van Houwelingen 1993), as
    the few patients of a fold at one hospital have few others to be compared with. Rows with fold
    -1 belong to no problem.

    Parameters
    ----------
    weights : (m, p).
    excluded : (m, folds), 1.0 where a fold is left out of a problem's training rows.
    validation : int64 (m,), fold on which the problem is judged; -1 for none.
    periods : of the study's grid.

    Notes
    -----
    There is no Hessian. At weights 0 it would be the covariance of the patients at risk, summed
    over events; the covariance of all training patients, which the study asks for by fold anyway,
    takes its place (`server.phases.cox`).

    Examples
    --------
    >>> values, label = np.array([[1.0], [0.0], [2.0]]), np.array([1.0, 1.0, 0.0])
    >>> ended = np.array([0, 1, 1])
    >>> rows = Rows(values, ("age",), label, np.zeros(3, int), period=ended)
    >>> one = CoxGradient(np.zeros((1, 1)), np.zeros((1, 1)), np.array([-1]), periods=2)
    >>> one.from_rows(rows)["loss"].round(4), one.from_rows(rows)["gradient"]
    (array([1.7918]), array([[1.]]))
    """

    weights: Float
    excluded: Float
    validation: Int
    periods: int

    kind: ClassVar[str] = "gradient"
    step: ClassVar[dict[str, float]] = {
        "loss": 2.0**-32,
        "gradient": 2.0**-32,
        "validation_loss": 2.0**-32,
        "validation_events": 0.5,
    }
    tally: ClassVar[dict[str, str]] = {
        "loss": "not negative",
        "validation_events": "at most positives",
    }
    about: ClassVar[str] = (
        "Loss and gradient of Cox models, many at once; each hospital compares its patients with"
        " its own."
    )
    attack: ClassVar[str] = (
        "The gradient is the sum, over events, of the patient's values less the mean of those at"
        " risk. Where few are at risk it says much of them; those are few of the events of all"
        " hospitals, among which the mask hides them. Rounds are limited and no second derivative"
        " is given."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "loss": ("problems",),
        "gradient": ("problems", "columns"),
        "validation_loss": ("problems",),
        "validation_events": ("problems",),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a matrix, problems by columns, and three vectors of length m."""
        m = self.weights.shape[0]
        return {
            "loss": (m,),
            "gradient": (m, p),
            "validation_loss": (m,),
            "validation_events": (m,),
        }

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on gaps, other columns, no times, unknown folds."""
        folds = self.excluded.shape[1]
        if self.weights.shape[1] != rows.p:
            raise ValueError(f"weights are for {self.weights.shape[1]} columns, not {rows.p}")
        if rows.n and rows.fold.max() >= folds:
            raise ValueError(f"fold {rows.fold.max()} of {folds}")
        periods_of(rows, self.periods)
        complete(rows)
        sums = {name: np.zeros(shape) for name, shape in self.shapes(rows.p).items()}
        hospital = hospitals_of(rows)
        for one in np.unique(hospital[rows.fold >= 0]):
            own = rows.at(np.flatnonzero((hospital == one) & (rows.fold >= 0)))
            for problem in range(self.weights.shape[0]):
                self._add(sums, own, problem)
        return sums

    def _add(self, sums: Sums, own: Rows, problem: int) -> None:
        """Add one hospital's part of one problem."""
        left_out = np.flatnonzero(self.excluded[problem] > 0.5)
        judge, weights = int(self.validation[problem]), self.weights[problem]
        trains = ~np.isin(own.fold, left_out)
        fitted = own.at(np.flatnonzero(trains))
        loss, gradient = partial_likelihood(fitted, weights, self.periods)
        sums["loss"][problem] += loss
        sums["gradient"][problem] += gradient
        if judge >= 0:
            judged = own.fold == judge
            both = own.at(np.flatnonzero(trains | judged))
            more, _ = partial_likelihood(both, weights, self.periods)
            sums["validation_loss"][problem] += more - loss
            sums["validation_events"][problem] += (own.label[judged & ~trains] > 0.5).sum()

    def finalise(self, sums: Sums) -> CoxGradientResult:
        """Return the sums over all sites."""
        return CoxGradientResult(**sums)


def partial_likelihood(rows: Rows, weights: Float, periods: int) -> tuple[float, Float]:
    """Return the negative logarithm of Breslow's partial likelihood and its gradient (p,).

    Parameters
    ----------
    rows : of one hospital.
    """
    period = periods_of(rows, periods)
    if rows.n == 0:
        return 0.0, np.zeros(rows.p)
    risk = rows.values @ weights
    happened = rows.label > 0.5
    events = np.bincount(period[happened], minlength=periods).astype(np.float64)
    highest = np.full(periods, -np.inf)
    np.maximum.at(highest, period, risk)
    # of all at risk, whose weights would vanish beside those of patients who have left
    highest = np.maximum.accumulate(highest[::-1])[::-1]
    some = np.flatnonzero(events)
    total, means = np.zeros(some.size), np.zeros((some.size, rows.p))
    for place, now in enumerate(some.tolist()):
        exposed = period >= now
        weight = np.exp(risk[exposed] - highest[now])
        total[place] = weight.sum()
        means[place] = weight @ rows.values[exposed] / total[place]
    loss = float(events[some] @ (np.log(total) + highest[some]) - risk[happened].sum())
    gradient = events[some] @ means - rows.values[happened].sum(axis=0)
    return max(loss, 0.0), gradient
