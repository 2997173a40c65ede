"""LASSO, support vector machine and Platt scaling over sites, nested in the study's folds.

Outer problems are the folds 0 ... K-1 (fitted without that fold, for out-of-fold probabilities)
and K (all training rows, the final model). Each outer problem chooses its penalty, its columns and
its cost by inner cross-validation over the folds it may see. One Gram matrix a fold serves every
LASSO. For a time to event, Cox models and a cumulative hazard take the place of both machine and
scaling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.learning.cox_lasso import CoxFolds, score_question
from common.learning.lasso import (
    FoldSums,
    LassoFit,
    choice_apart,
    choose,
    fallback,
    with_choice,
)
from common.learning.platt import PlattFit, prior_offset
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.fold_histogram import Support
from common.statistics.gram import FoldGram, FoldGramResult
from common.study.model import Study
from common.transforms import Clip, EventRisk, Sigmoid
from common.transforms.views import ByFold, View
from common.utils import portable
from server.phases.batching import distinct
from server.phases.cox import cox_asks, event_risk, fit_cox_models, record_of, rounds_of
from server.phases.fitted_model import FittedModel
from server.phases.protocol import Federation
from server.phases.svm import FittedSvm, OuterFold, fit_svms, svm_asks

PLATT_ROUNDS = 50
SLIGHT_SLOPE = -0.05
INVERTED = "out-of-fold decision values did not follow the label: probabilities stay near the mean"


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
    outers = _lasso(federation, name, views, supports)
    decide = _machines if federation.study.follow_up is None else _cox
    found = decide(federation, name, outers)
    done = {
        **selection,
        **_chosen(outers, selection, changing),
        **found.record,
        "notes": (*_notes(outers, selection), *found.notes),
    }
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
    notes = []
    if open_problems:
        rounds = rounds_of(federation.study)
        notes.append(f"{open_problems} Cox models had not converged after {rounds} rounds")
    record = {"cox": record_of(fitted[-1], risk)}
    return _Decided(out_of_fold, models[-1], risk, record, tuple(notes))


def select_columns(
    federation: Federation,
    name: str,
    views: Sequence[View],
    supports: Sequence[Support],
    selection: dict[str, Any],
    changing: Set[str] = frozenset(),
) -> dict[str, Any]:
    """Choose columns by the LASSO, as `fit_linear_model` does, for the report alone."""
    views, supports = clipped(federation, views, supports)
    outers = _lasso(federation, name, views, supports)
    chosen = _chosen(outers, selection, changing)
    return {**selection, **chosen, "notes": tuple(_notes(outers, selection))}


def _notes(outers: Sequence[OuterFold], selection: dict[str, Any]) -> Iterator[str]:
    yield from selection.get("notes", ())
    if outers[-1].note:
        yield outers[-1].note


def _chosen(
    outers: Sequence[OuterFold], selection: dict[str, Any], changing: Set[str]
) -> dict[str, Any]:
    """Return the steps, the final problem's LASSO and the columns of each fold for the report."""
    final = outers[-1]
    place = {name: i for i, name in enumerate(final.view.outputs())}
    lasso = final.lasso
    return {
        "steps": (*selection.get("steps", ()), {"step": "lasso", "names": final.columns}),
        "alpha": float(lasso.alpha),
        "cv": {
            "alphas": tuple(lasso.alphas.tolist()),
            "errors": tuple(lasso.cv_error.tolist()),
            "spreads": tuple(lasso.cv_spread.tolist()),
        },
        "path": _path(lasso, final.view.outputs()),
        "coefficients": {name: float(lasso.coefficients[place[name]]) for name in final.columns},
        "folds": _by_fold(outers[:-1], changing),
    }


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


def _by_fold(outers: Sequence[OuterFold], changing: Set[str]) -> dict[str, Any]:
    """Return the columns that each outer problem without a fold kept, for the report.

    Of columns that change between the problems, only their number can be compared.
    """
    offered = {name for outer in outers for name in outer.view.outputs()}
    return {
        "candidates": len(offered - changing),
        "kept": tuple(
            tuple(name for name in outer.columns if name not in changing) for outer in outers
        ),
        "others": tuple(sum(name in changing for name in outer.columns) for outer in outers),
    }


def _path(lasso: LassoFit, names: Sequence[str]) -> dict[str, Any]:
    """Return coefficients along the penalties, of features used at the chosen one or a larger.

    Those that come in only below it number hundreds, and say nothing of the model.
    """
    upto = int(np.argmin(np.abs(lasso.alphas - lasso.alpha))) + 1
    used = np.flatnonzero(lasso.path[:, :upto].any(axis=1))
    return {
        "alphas": tuple(lasso.alphas.tolist()),
        "coefficients": {names[i]: tuple(lasso.path[i].tolist()) for i in used.tolist()},
    }


def clipped(
    federation: Federation, views: Sequence[View], supports: Sequence[Support]
) -> tuple[list[View], list[Support]]:
    """Clip z-scores in guarded mode, before any Gram matrix is made of them."""
    if federation.study.privacy.mode == "faithful":
        return list(views), list(supports)
    limit = federation.study.selection.clip
    limits = [np.full(support.low.size, limit) for support in supports]
    limited = [own.limited(-ends, ends) for own, ends in zip(supports, limits, strict=True)]
    return [view.then(Clip(limit=limit)) for view in views], limited


def _lasso(
    federation: Federation, name: str, views: Sequence[View], supports: Sequence[Support]
) -> list[OuterFold]:
    """Choose penalty and columns of every outer problem from one round of Gram matrices."""
    study = federation.study
    settings = study.selection
    asked, places = distinct(views)
    evidence = dict(zip(places, supports, strict=True))
    grams: list[FoldGramResult] = federation.sum_many(
        [
            SumItem(FoldGram(folds=study.folds, support=evidence[place]), view, "train")
            for place, view in enumerate(asked)
        ]
    )
    sums = _judged(federation, asked, grams)
    alphas = penalties(study)
    outers = []
    for index, place in enumerate(places):
        excluded = (index,) if index < study.folds else ()
        view, gram = asked[place], grams[place]
        kept = tuple(fold for fold in range(study.folds) if fold not in excluded)
        own = sums(place, excluded)
        fit = _agreed_fit(federation, f"{name}/lasso/{index}", own, alphas, kept)
        chosen = fit.support
        note = ""
        if chosen.size == 0:
            chosen = fallback(own.training(excluded), settings.lasso_fallback)
            note = f"LASSO kept nothing: the {chosen.size} columns closest to the label are used"
        names = view.outputs()
        columns = tuple(names[i] for i in chosen)
        outers.append(OuterFold(index, excluded, view, columns, fit, gram, note))
    return outers


def _judged(
    federation: Federation, asked: Sequence[View], grams: Sequence[FoldGramResult]
) -> Callable[[int, tuple[int, ...]], FoldSums]:
    """Return what a LASSO on a view is fitted on, by folds that take no part.

    For a time to event, scores of the partial likelihood take the place of X'y; one more round.
    """
    study = federation.study
    if study.follow_up is None:
        return lambda place, excluded: grams[place]
    periods = study.follow_up.periods
    found = federation.sum_many(
        [
            SumItem(score_question(study.folds, gram.p, periods), view, "train")
            for view, gram in zip(asked, grams, strict=True)
        ]
    )
    return lambda place, excluded: CoxFolds.of(grams[place], found[place], excluded)


def penalties(study: Study) -> Float:
    """Return the penalties (alphas,) that the LASSO tries, evenly spaced by their logarithm."""
    grid = study.selection
    return portable.powers_of_ten(
        np.linspace(grid.lasso_log10_min, grid.lasso_log10_max, grid.lasso_alphas)
    )


def _agreed_fit(
    federation: Federation, name: str, gram: FoldSums, alphas: Float, kept: tuple[int, ...]
) -> LassoFit:
    """Fit a LASSO, with the choice of columns that the coordinator has made."""
    own = choose(gram, alphas, kept)
    choice = federation.agreed(
        name, own.choice, lambda theirs: choice_apart(gram, kept, own, theirs)
    )
    return with_choice(gram, kept, own, choice)


def calibrate(federation: Federation, decision: View, gram: FoldGramResult) -> tuple[Sigmoid, bool]:
    """Fit Platt's scaling on the out-of-fold decision values; say whether its slope was wrong.

    Parameters
    ----------
    gram : any Gram matrix of the training rows: it knows how many rows of each class there are.
    """
    positives = round(float(gram.sum_y.sum()))
    return platt_scaling(federation, decision, positives, round(float(gram.n.sum())) - positives)


def platt_scaling(
    federation: Federation, decision: View, positives: int, negatives: int
) -> tuple[Sigmoid, bool]:
    """Fit Platt's scaling on out-of-fold decision values of so many rows of each class.

    On few patients out-of-fold values can run against the label by chance. Following that slope
    would turn the final model upside down, so a slight one of the right sign takes its place.
    """
    fit = PlattFit(positives=positives, negatives=negatives)
    for _ in range(PLATT_ROUNDS):
        if fit.converged:
            break
        fit.update(federation.sum(fit.request(), decision))
    if fit.a > SLIGHT_SLOPE:
        return Sigmoid(a=SLIGHT_SLOPE, b=prior_offset(positives, negatives)), True
    return Sigmoid(a=fit.a, b=fit.b), False


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


def select_asks(study: Study, width: int, tables: int) -> tuple[tuple[Disclosure, ...], int]:
    """Declare what `select_columns` asks for, and its rounds."""
    return (sum_disclosure(study, FoldGram(folds=study.folds), width, tables=tables),), 1


def calibration_asks(study: Study) -> Disclosure:
    """Declare what `calibrate` asks for."""
    return sum_disclosure(
        study, PlattFit(positives=1, negatives=1).request(), 1, rounds=PLATT_ROUNDS
    )
