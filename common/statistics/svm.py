"""Loss and gradient of squared-hinge support vector machines, many problems in one message."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import complete


@plain
class SvmGradientResult:
    """Per problem: training loss (m,) and gradient (m, p + 1), validation loss and rows (m,)."""

    loss: Float
    gradient: Float
    validation_loss: Float
    validation_rows: Float


@plain
class SvmGradient:
    """Sum of max(0, 1 - y w'x)^2 and its gradient, without regulariser and cost.

    The label is -1 or +1 and x ends in a constant 1, as in scikit-learn's LinearSVC
    (`intercept_scaling=1`). Rows with fold -1 belong to no problem.

    Parameters
    ----------
    weights : (m, p + 1), the intercept last.
    excluded : (m, folds), 1.0 where a fold is left out of a problem's training rows.
    validation : int64 (m,), fold on which the problem is judged; -1 for none.

    Examples
    --------
    >>> rows = Rows(np.array([[2.0], [3.0]]), ("age",), np.array([0.0, 1.0]), np.array([0, 0]))
    >>> one = SvmGradient(np.zeros((1, 2)), excluded=np.zeros((1, 1)), validation=np.array([-1]))
    >>> one.from_rows(rows)["loss"], one.from_rows(rows)["gradient"]
    (array([2.]), array([[-2.,  0.]]))
    """

    weights: Float
    excluded: Float
    validation: Int

    kind: ClassVar[str] = "gradient"
    step: ClassVar[dict[str, float]] = {
        "loss": 2.0**-32,
        "gradient": 2.0**-32,
        "validation_loss": 2.0**-32,
        "validation_rows": 0.5,
    }
    tally: ClassVar[dict[str, str]] = {
        "loss": "not negative",
        "validation_loss": "not negative",
        "validation_rows": "at most rows",
    }
    about: ClassVar[str] = "Loss and gradient of support vector machines, many machines at once."
    attack: ClassVar[str] = (
        "From one round to the next the gradient changes most when a patient crosses the"
        " margin, and that change carries the patient's values. Totals over all hospitals hide"
        " one patient among many changes; rounds are limited and no second derivative is given."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "loss": ("problems",),
        "gradient": ("problems", "columns + 1"),
        "validation_loss": ("problems",),
        "validation_rows": ("problems",),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a matrix, problems by columns and intercept, and three vectors of length m."""
        m = self.weights.shape[0]
        return {
            "loss": (m,),
            "gradient": (m, p + 1),
            "validation_loss": (m,),
            "validation_rows": (m,),
        }

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on gaps, other columns or an unknown fold."""
        folds = self.excluded.shape[1]
        if self.weights.shape[1] != rows.p + 1:
            raise ValueError(f"weights are for {self.weights.shape[1] - 1} columns, not {rows.p}")
        if rows.n and rows.fold.max() >= folds:
            raise ValueError(f"fold {rows.fold.max()} of {folds}")
        used = rows.fold >= 0
        x = np.column_stack([complete(rows)[used], np.ones(int(used.sum()))])
        y, fold = 2.0 * rows.label[used] - 1.0, rows.fold[used]
        slack = np.maximum(1.0 - y[:, None] * (x @ self.weights.T), 0.0)
        trains = 1.0 - self.excluded.T[fold]
        judges = (fold[:, None] == self.validation[None, :]).astype(np.float64)
        trained = slack * trains
        return {
            "loss": np.sum(slack * trained, axis=0),
            "gradient": -2.0 * (trained * y[:, None]).T @ x,
            "validation_loss": np.sum(slack**2 * judges, axis=0),
            "validation_rows": judges.sum(axis=0),
        }

    def finalise(self, sums: Sums) -> SvmGradientResult:
        """Return the sums over all sites."""
        return SvmGradientResult(**sums)
