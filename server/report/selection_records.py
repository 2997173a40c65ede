"""Records of results.json on the features that models choose."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from server.report.record import Count, Finite, Number, Record

StepName = Literal["columns", "components", "constant", "rare", "tied", "spearman", "icc", "lasso"]


class SelectionStep(Record):
    """Features left after a step: the names, or only their number where names say nothing.

    `constant`, `rare` and `tied` are the exceptions: they list the features that were dropped.
    """

    step: StepName
    names: tuple[str, ...] | None = None
    count: Count | None = None

    @property
    def size(self) -> int | None:
        """Number of features left, or dropped."""
        return len(self.names) if self.names is not None else self.count


class CrossValidation(Record):
    """Mean squared error of the LASSO, averaged over the folds, at each penalty.

    `spreads` are standard errors of these means; empty where an earlier release wrote the file.
    """

    ALIKE = ("alphas", "errors")
    OR_EMPTY = ("spreads",)

    alphas: tuple[Finite, ...]
    errors: tuple[Finite, ...]
    spreads: tuple[Finite, ...] = ()


class LassoPath(Record):
    """Coefficient of each feature at each penalty, in standardised units."""

    alphas: tuple[Finite, ...]
    coefficients: dict[str, tuple[Finite, ...]]

    @model_validator(mode="after")
    def _as_many_as_penalties(self) -> Self:
        for name, values in self.coefficients.items():
            if len(values) != len(self.alphas):
                raise ValueError(f"{name} has {len(values)} coefficients")
        return self


class Correlation(Record):
    """Rank correlation of every two features; symmetric, ones on the diagonal."""

    names: tuple[str, ...]
    values: tuple[tuple[Finite, ...], ...]
    method: str = ""
    n: Count | None = None

    @model_validator(mode="after")
    def _square(self) -> Self:
        if {len(self.values), *(len(row) for row in self.values)} - {len(self.names)}:
            raise ValueError("a correlation matrix is square, with a name a row")
        return self


class Svm(Record):
    """The SVM on the selected features, in standardised units; no weights with the RBF kernel.

    Weights and intercept are those of the machine as fitted. Its decision value minus
    `decision_mean`, divided by `decision_sd`, is what Platt's scaling takes (no division by 0);
    null where an earlier release wrote the file.
    """

    kernel: Literal["linear", "rbf"] = "linear"
    cost: Finite
    gamma: Finite | None = None
    weights: dict[str, Finite]
    intercept: Finite
    decision_mean: Number = None
    decision_sd: Number = None


class FoldSelections(Record):
    """Columns that the LASSO kept on the training patients without each fold in turn.

    `kept` has a list a fold, out of `candidates` columns that are the same in all folds; `others`
    counts those kept beside them that are not, as they are of a network trained for this fold.
    """

    ALIKE = ("kept", "others")

    candidates: Count
    kept: tuple[tuple[str, ...], ...]
    others: tuple[Count, ...]


class LeftOut(Record):
    """Declared clinical column of which nothing is used.

    `differ`: training patients who differ from its most frequent level, or usual value; `None`
    where they are too few to show.
    """

    column: str
    differ: Count | None


class Cox(Record):
    """The Cox model on the selected features: logarithms of hazard ratios of one unit of each.

    `baseline` is the logarithm of the cumulative hazard at the horizon of an average patient.
    """

    cost: Finite
    log_hazard_ratios: dict[str, Finite]
    baseline: Finite


class Selection(Record):
    """Selection of a model's features, from all columns to those that it uses."""

    steps: tuple[SelectionStep, ...] = ()
    alpha: Number = None
    cv: CrossValidation | None = None
    coefficients: dict[str, Finite] = Field(default_factory=dict)
    path: LassoPath | None = None
    correlation: Correlation | None = None
    svm: Svm | None = None
    cox: Cox | None = None
    folds: FoldSelections | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
