"""Records of how the features of a model were selected."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from server.report.schema_base import Count, Finite, Number, Record, equal_lengths

StepName = Literal["columns", "constant", "rare", "tied", "spearman", "icc", "lasso"]


class SelectionStep(Record):
    """What was left after a step: the names, or only how many where names say nothing (PCA).

    `constant`, `rare` and `tied` are the exceptions: they list the features that were dropped.
    """

    step: StepName
    names: tuple[str, ...] | None = None
    count: Count | None = None

    @property
    def size(self) -> int | None:
        """How many features were left, or dropped."""
        return len(self.names) if self.names is not None else self.count


class CrossValidation(Record):
    """Mean squared error of the LASSO, averaged over the folds, at each penalty.

    `spreads` are standard errors of these means; empty where an earlier release wrote the file.
    """

    alphas: tuple[Finite, ...]
    errors: tuple[Finite, ...]
    spreads: tuple[Finite, ...] = ()

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        return equal_lengths(self, "alphas", "errors", *(["spreads"] if self.spreads else []))


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


class Selection(Record):
    """From all columns of an arm to its model."""

    steps: tuple[SelectionStep, ...] = ()
    alpha: Number = None
    cv: CrossValidation | None = None
    coefficients: dict[str, Finite] = Field(default_factory=dict)
    path: LassoPath | None = None
    correlation: Correlation | None = None
    svm: Svm | None = None
    notes: tuple[str, ...] = ()
