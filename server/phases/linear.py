"""A model of standardised columns: LASSO, support vector machine, Platt scaling, over sites.

Each step has its own file: `lasso`, `svm` and `platt`. They are nested in the study's folds: every
outer problem of `lasso` chooses its penalty, its columns and its cost by inner cross-validation
over the folds it may see. For a time to event, Cox models and a cumulative hazard (`cox`) take the
place of machine and scaling.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.statistics.fold_histogram import Support
from common.statistics.gram import FoldGram
from common.study.model import Study
from common.transforms import EventRisk, Sigmoid
from common.transforms.views import ByFold, View
from server.phases.cox import cox_asks, event_risk, fit_cox_models, record_of, unconverged
from server.phases.fitted_model import FittedModel
from server.phases.lasso import OuterFold, clipped, fit_lasso, selection_record
from server.phases.platt import INVERTED, PLATT_ROUNDS, calibrate, calibration_asks
from server.phases.protocol import Federation
from server.phases.svm import FittedSvm, fit_svms, svm_asks


def fit_linear_model(
    federation: Federation,
    name: str,
    views: Sequence[View],
    supports: Sequence[Support],
    features: Sequence[View],
    selection: dict[str, Any],
    changing: Set[str] = frozenset(),
) -> FittedModel:
    """Fit one model from standardised views.

    Parameters
    ----------
    views : one standardised view per outer problem, folds first, then the final one; outer
        problems may share one, which is asked for once.
    supports : evidence that no column of these views is nearly constant.
    features : columns for the feature-level fusion, per outer problem.
    selection : notes of the label-free steps, completed here.
    changing : columns that hold something else in each outer problem, though their names are the
        same: features of a network that is trained anew for each.
    """
    views, supports = clipped(federation, views, supports)
    outers = fit_lasso(federation, name, views, supports)
    decide = _machines if federation.study.follow_up is None else _cox
    found = decide(federation, name, outers)
    done = selection_record(outers, selection, changing)
    done = {**done, **found.record, "notes": (*done["notes"], *found.notes)}
    return FittedModel(
        name=name,
        out_of_fold=found.out_of_fold.then(found.step),
        final=found.final.then(found.step),
        features=tuple(features),
        selection=done,
    )


@dataclass(frozen=True)
class _Decided:
    """Decision values of all outer problems, and the step from them to probabilities."""

    out_of_fold: View
    final: View
    step: Sigmoid | EventRisk
    record: dict[str, Any]
    notes: tuple[str, ...]


def _machines(federation: Federation, name: str, outers: Sequence[OuterFold]) -> _Decided:
    """Fit support vector machines and Platt's scaling."""
    svms, open_problems = fit_svms(federation, name, outers)
    models = [svm.decision for svm in svms]
    out_of_fold = View(source=ByFold(parts=tuple(models[: federation.study.folds])))
    platt, inverted = calibrate(federation, out_of_fold, outers[-1].gram)
    notes = []
    if open_problems:
        rounds = federation.study.svm.max_rounds
        notes.append(f"{open_problems} SVM problems had not converged after {rounds} rounds")
    if inverted:
        notes.append(INVERTED)
    return _Decided(out_of_fold, models[-1], platt, {"svm": _svm(svms[-1])}, tuple(notes))


def _cox(federation: Federation, name: str, outers: Sequence[OuterFold]) -> _Decided:
    """Fit Cox models and the cumulative hazard at the horizon."""
    fitted, open_problems = fit_cox_models(federation, name, outers)
    models = [one.decision for one in fitted]
    out_of_fold = View(source=ByFold(parts=tuple(models[: federation.study.folds])))
    patients = float(outers[-1].gram.training(()).n)
    risk = event_risk(federation, name, out_of_fold, patients)
    record = {"cox": record_of(fitted[-1], risk)}
    notes = unconverged(federation.study, open_problems)
    return _Decided(out_of_fold, models[-1], risk, record, notes)


def _svm(svm: FittedSvm) -> dict[str, Any]:
    """Return the final problem's machine for the report."""
    linear = svm.gamma is None
    weights = dict(zip(svm.columns, svm.weights.tolist(), strict=True)) if linear else {}
    return {
        "kernel": "linear" if linear else "rbf",
        "cost": svm.cost,
        "gamma": svm.gamma,
        "intercept": svm.intercept,
        "weights": weights,
        "decision_mean": svm.mean,
        "decision_sd": svm.deviation,
    }


def linear_asks(study: Study, width: int, tables: int) -> tuple[tuple[Disclosure, ...], int]:
    """Declare what `fit_linear_model` asks for, and its rounds at most.

    Parameters
    ----------
    width : columns of a table, at most.
    tables : one, or one for every outer problem.
    """
    gram = sum_disclosure(study, FoldGram(folds=study.folds), width, tables=tables)
    if study.follow_up is not None:
        models, rounds = cox_asks(study, width, tables)
        return (gram, *models), 1 + rounds
    svms, rounds = svm_asks(study, width, tables)
    return (gram, *svms, calibration_asks(study)), 1 + rounds + PLATT_ROUNDS
