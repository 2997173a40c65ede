"""LASSO, SVM and Platt scaling of a model, against scikit-learn on the same columns and folds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from common.statistics.base import Float, Rows
from common.transforms import Linear, Sigmoid
from common.transforms.views import View, materialise
from server.phases.fitted_model import FittedModel
from server.phases.lasso import penalties
from sim.equality import references
from sim.equality.findings import Findings, at_most
from sim.equality.references import LinearFit
from sim.equality.sites import PooledTables, WatchedFederation

Tell = Callable[[str], None]


def steps_of(model: FittedModel) -> dict[str, Any]:
    """Return the reports of a model on its selection, by step."""
    return {entry["step"]: entry for entry in model.selection["steps"]}


def compare_linear(
    findings: Findings,
    federation: WatchedFederation,
    model: FittedModel,
    auc: float,
    tables: PooledTables,
    pooled: Rows,
    tell: Tell,
) -> None:
    """Compare all outer problems of a model.

    Parameters
    ----------
    auc : the model's area out of fold, as the federated study reports it.
    pooled : z-scored and clipped columns that the model's LASSO saw.
    """
    study = federation.study
    settings = study.selection
    alphas = penalties(study)
    fits = []
    for outer in range(study.folds + 1):
        tell(
            f"{model.name}: LassoCV and LinearSVC on pooled rows, {outer + 1} of {study.folds + 1}"
        )
        kept = [fold for fold in range(study.folds) if fold != outer]
        fits.append(
            references.nested_linear(
                pooled.values,
                pooled.label,
                pooled.fold,
                kept,
                alphas,
                study.svm.cost_grid,
                settings.lasso_fallback,
            )
        )
    machines = [_machine(part) for part in _models(model)]
    _lasso(findings, federation, model, pooled, fits, machines)
    _svm(findings, federation, model, auc, pooled, fits, machines)
    _platt(findings, federation, model, tables)


def before_machine(view: View) -> View:
    """Return the view of the columns that the final machine takes."""
    end = view.transforms.index(_machine(view))
    return View(source=view.source, transforms=view.transforms[:end])


def _models(model: FittedModel) -> list[View]:
    return [*model.out_of_fold.source.parts, model.final]


def _machine(view: View) -> Linear:
    return next(step for step in reversed(view.transforms) if isinstance(step, Linear))


def _spread(names: tuple[str, ...], values: Float, columns: tuple[str, ...]) -> Float:
    """Spread values of some columns over all columns, 0 elsewhere."""
    full = np.zeros(len(columns))
    full[[columns.index(name) for name in names]] = values
    return full


def _lasso(
    findings: Findings,
    federation: WatchedFederation,
    model: FittedModel,
    pooled: Rows,
    fits: list[LinearFit],
    machines: list[Linear],
) -> None:
    final = fits[-1]
    own = model.selection["coefficients"]
    coefficients = _spread(tuple(own), np.array(list(own.values())), pooled.columns)
    supports = [set(np.array(pooled.columns)[fit.support]) for fit in fits]
    differ = [set(step.columns) != chosen for step, chosen in zip(machines, supports, strict=True)]
    step = findings.step(
        f"{model.name}: LASSO, {len(pooled.columns)}",
        "LassoCV",
        federation.traffic(f"{model.name}/LASSO"),
    )
    step.add(
        "alpha, relative",
        abs(model.selection["alpha"] / final.alpha - 1.0),
        at_most(1e-12),
    )
    step.add(
        f"supports of {len(fits)}, last {final.support.size} columns",
        sum(differ),
        at_most(0),
    )
    step.add(
        "coefficient",
        np.abs(coefficients - final.lasso).max(),
        at_most(1e-8),
    )


def _svm(
    findings: Findings,
    federation: WatchedFederation,
    model: FittedModel,
    auc: float,
    pooled: Rows,
    fits: list[LinearFit],
    machines: list[Linear],
) -> None:
    largest = 0.0
    decision = np.full(pooled.n, np.nan)
    for outer, (fit, own) in enumerate(zip(fits, machines, strict=True)):
        names = tuple(pooled.columns[i] for i in fit.support)
        exact = np.append(_spread(names, fit.weights[:-1], pooled.columns), fit.weights[-1])
        found = np.append(_spread(own.columns, own.weights, pooled.columns), own.intercept)
        largest = max(largest, float(np.abs(found - exact).max()))
        at = pooled.fold == outer
        decision[at] = pooled.values[at] @ exact[:-1] + exact[-1]
    exact_auc = references.auc_within_folds(decision, pooled.label, pooled.fold)
    step = findings.step(
        f"{model.name}: SVM",
        "LinearSVC",
        federation.traffic(f"{model.name}/SVM"),
    )
    own_cost, cost = model.selection["svm"]["cost"], fits[-1].cost
    step.add(f"cost {cost:g}, relative", abs(own_cost / cost - 1.0), at_most(0))
    step.add(f"coefficient, {len(fits)} machines", largest, at_most(1e-3))
    step.add(f"out-of-fold AUC {exact_auc:.3f}", abs(auc - exact_auc), at_most(0.002))


def _platt(
    findings: Findings, federation: WatchedFederation, model: FittedModel, tables: PooledTables
) -> None:
    """Compare Platt's scaling on the model's own decision values."""
    sigmoid = model.out_of_fold.transforms[-1]
    if not isinstance(sigmoid, Sigmoid):
        raise TypeError("a model ends in a sigmoid")
    decision = View(source=model.out_of_fold.source, transforms=model.out_of_fold.transforms[:-1])
    rows = materialise(decision, tables, "train")
    a, b = references.platt(rows.values[:, 0], rows.label)
    step = findings.step(
        f"{model.name}: Platt", "scipy minimize", federation.traffic(f"{model.name}/Platt")
    )
    step.add(
        "slope and offset",
        max(abs(sigmoid.a - a), abs(sigmoid.b - b)),
        at_most(1e-5),
    )
