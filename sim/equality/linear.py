"""LASSO, SVM and Platt scaling of a model, against scikit-learn on the same columns and folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from client.workspace import Workspace
from common.statistics.base import Float, Int, Rows
from common.study.model import ClinicalColumn, Study
from common.transforms import Linear, Sigmoid
from common.transforms.views import View, materialise
from server.phases.fitted_model import FittedModel
from server.phases.lasso import penalties
from sim.equality import references
from sim.equality.findings import Findings, at_most
from sim.equality.references import LinearFit
from sim.equality.sites import PooledTables, WatchedFederation, pooled_rows

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


def pooled_clinical(sites: Mapping[str, Workspace], study: Study) -> Rows:
    """Return z-scores of the training rows: numbers filled with the mean, categories with the mode.

    A variable that some training site lacks altogether gets a companion column where the study
    wants it; columns that do not vary are left out, and so are nearly constant ones.
    """
    coded = pooled_rows(sites, study, "coded", "train")
    own = [sites[name].tables.read("coded", "train").values for name in study.training_sites]
    blocks: list[tuple[str, Float]] = []
    flags: list[tuple[str, Float]] = []
    for index, column in enumerate(study.clinical):
        cells = coded.values[:, index]
        missing = np.isnan(cells)
        if missing.all():
            continue
        made = _columns(column, cells, missing)
        blocks += made
        lacks = any(np.isnan(values[:, index]).all() for values in own)
        if lacks and study.selection.missing_indicators:
            flags.append((f"{made[0][0]}:missing", missing.astype(np.float64)))
    every = blocks + flags
    raw = np.column_stack([values for _, values in every])
    varies = np.ptp(raw, axis=0) > 0
    z, _ = references.standardised(raw[:, varies])
    names = tuple(name for (name, _), good in zip(every, varies, strict=True) if good)
    usual = _usual(study, names, raw[:, varies], z, coded.fold)
    kept = tuple(name for name, good in zip(names, usual, strict=True) if good)
    return Rows(values=z[:, usual], columns=kept, label=coded.label, fold=coded.fold)


def _usual(
    study: Study, names: tuple[str, ...], raw: Float, z: Float, fold: Int
) -> NDArray[np.bool_]:
    """Return the columns that are not nearly constant; a rare level joins the reference level."""
    fewest = study.privacy.min_category
    usual = ~references.nearly_constant(z, fold, fewest)

    def too_few(flag: Float) -> bool:
        ones = [flag[fold == k].sum() for k in range(study.folds)]
        zeros = [(1.0 - flag)[fold == k].sum() for k in range(study.folds)]
        return references.too_few(ones, fewest) or references.too_few(zeros, fewest)

    for column in study.clinical:
        levels = [i for i, name in enumerate(names) if name.partition("=")[0] == column.name]
        levels = [i for i in levels if "=" in names[i] and ":" not in names[i]]
        for i in levels:
            usual[i] &= not too_few(raw[:, i])
        while kept := [i for i in levels if usual[i]]:
            if not too_few(raw[:, kept].sum(axis=1)):
                break
            usual[min(kept, key=lambda i: raw[:, i].sum())] = False
    for i, name in enumerate(names):
        usual[i] &= not (name.endswith(":missing") and too_few(raw[:, i]))
    return usual


def compare_filling(
    findings: Findings,
    model: FittedModel,
    tables: PooledTables,
    pooled: Rows,
    traffic: tuple[int, float],
) -> None:
    """Compare columns of the clinical model, and the values of those in the final machine.

    Parameters
    ----------
    pooled : from `pooled_clinical`, clipped in guarded mode.
    """
    steps = steps_of(model)
    own = set(steps["columns"]["names"])
    own -= {*steps["constant"]["names"], *steps["rare"]["names"]}
    rows = materialise(before_machine(model.final), tables, "train")
    at = [pooled.columns.index(name) for name in rows.columns if name in pooled.columns]
    used = [i for i, name in enumerate(rows.columns) if name in pooled.columns]
    step = findings.step("clinical: z-score", "StandardScaler", traffic)
    step.add("columns of one side only", len(own ^ set(pooled.columns)), at_most(0))
    step.add(
        "values, in SD",
        np.abs(rows.values[:, used] - pooled.values[:, at]).max(),
        at_most(1e-9),
    )


def _columns(column: ClinicalColumn, cells: Float, missing: Float) -> list[tuple[str, Float]]:
    known = cells[~missing.astype(np.bool_)]
    if column.kind in ("continuous", "ordinal"):
        return [(column.name, np.where(missing, known.mean(), cells))]
    filled = np.where(missing, stats.mode(known).mode, cells)
    return [
        (f"{column.name}={level}", (filled == index).astype(np.float64))
        for index, level in enumerate(column.levels)
        if index > 0
    ]
