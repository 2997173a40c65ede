"""Ridge regression on a few clinical columns: a plain model to hold the others against."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from common.dossier.disclosure import Phase, sum_disclosure
from common.learning.tridiagonal import tridiagonal
from common.models import ModelSpec
from common.statistics.base import Float
from common.statistics.gram import CentredGram, FoldGram, FoldGramResult
from common.statistics.moments import Means
from common.study.block import Positive, Settings
from common.study.model import Study
from common.transforms import Impute, Linear, Select
from common.transforms.views import ByFold, View, table
from common.utils import portable
from server.phases.fitted_model import FittedModel, ModelPhase, register
from server.phases.lasso import clipped
from server.phases.near_zero_variance import fold_histograms, frequent, split, variance_asks
from server.phases.platt import PLATT_ROUNDS, calibrate, calibration_asks
from server.phases.protocol import Federation
from server.phases.standardise import moments_asks, standardise

NAME = "ridge"


class RidgeOptions(Settings):
    """Columns of the model, and the penalties that cross-validation compares."""

    columns: tuple[str, ...] = Field(
        ("age", "stage"),
        min_length=1,
        title="clinical columns of the ridge regression",
        json_schema_extra={"origin": "ours: an example"},
    )
    penalties: tuple[Positive, ...] = Field(
        (0.01, 0.1, 1.0, 10.0),
        min_length=1,
        title="penalties compared, times the number of patients",
        json_schema_extra={"origin": "ours: an example"},
    )


def fit_ridge(federation: Federation) -> FittedModel:
    """Fit the columns with the penalty that predicts left-out folds best, from one matrix a fold.

    Steps that never see a label are fitted on all training patients, as in the clinical model.
    """
    study = federation.study
    options = options_of(study)
    raw = table("clinical").then(Select(columns=options.columns))
    fill = np.nan_to_num(federation.sum(Means(), raw).mean)
    (scaled,), (constant,) = standardise(federation, [raw.then(Impute(options.columns, fill=fill))])
    (found,) = federation.sum_many(fold_histograms(study, [scaled]))
    stays = frequent(study, found.support())
    kept, rare = split(scaled.outputs(), stays)
    steps = (
        {"step": "columns", "names": options.columns},
        {"step": "constant", "names": constant},
        {"step": "rare", "names": rare},
    )
    support = found.support().narrow(np.flatnonzero(stays))
    (view,), (support,) = clipped(federation, [scaled.restrict(kept)], [support])
    gram = federation.sum(FoldGram(folds=study.folds, support=support), view)
    every = tuple(range(study.folds))
    decisions, chosen = [], 0.0
    for left_out in (*((fold,) for fold in every), ()):
        chosen, weights, intercept = ridge(gram, options.penalties, left_out)
        decisions.append(view.then(Linear(kept, weights, intercept, name=NAME)))
    out_of_fold = View(source=ByFold(parts=tuple(decisions[:-1])))
    platt, inverted = calibrate(federation, out_of_fold, gram)
    notes = [f"ridge penalty {chosen:g}"]
    if inverted:
        notes.append("out-of-fold decision values did not follow the label")
    return FittedModel(
        name=NAME,
        out_of_fold=out_of_fold.then(platt),
        final=decisions[-1].then(platt),
        features=(),  # the clinical model hands on the same columns
        selection={"steps": steps, "notes": tuple(notes)},
    )


def ridge(
    gram: FoldGramResult, penalties: tuple[float, ...], left_out: tuple[int, ...]
) -> tuple[float, Float, float]:
    """Return penalty, weights and intercept of a decision value with deviation 1.

    Parameters
    ----------
    left_out : folds that take no part at all.
    """
    errors = np.zeros(len(penalties))
    for fold in set(range(gram.folds)) - set(left_out):
        train = gram.training((*left_out, fold))
        tried = np.column_stack([_solve(train, penalty) for penalty in penalties])
        intercepts = train.mean_y - portable.product(tried.T, train.mean_x)
        errors += gram.validation_errors(fold, tried, intercepts)
    best, train = penalties[int(np.argmin(errors))], gram.training(left_out)
    weights = _solve(train, best)
    _, deviation = train.spread(weights, 0.0)
    weights = weights / (deviation if deviation > 0 else 1.0)
    return best, weights, -portable.dot(train.mean_x, weights)


def _solve(train: CentredGram, penalty: float) -> Float:
    """Return the weights with the least squared error plus penalty x n x their squares."""
    form, lift = tridiagonal(train.gram), penalty * train.n
    turned = portable.product(form.basis.T, train.xy / lift)
    return portable.product(form.basis, form.solve(1.0 / lift, turned))


def options_of(study: Study) -> RidgeOptions:
    """Return the study's own settings of the model."""
    return RidgeOptions.model_validate(study.model_options[NAME].model_dump())


def ridge_asks(study: Study) -> Phase:
    """Declare what `fit_ridge` asks for."""
    width = len(options_of(study).columns)
    asked = (
        sum_disclosure(study, Means(), width),
        *moments_asks(study, width, 1),
        variance_asks(study, width),
        sum_disclosure(study, FoldGram(folds=study.folds), width),
        calibration_asks(study),
    )
    return Phase(NAME, "Ridge regression on clinical columns", 5 + PLATT_ROUNDS, asked)


register(
    ModelPhase(
        ModelSpec(
            NAME,
            label="Ridge",
            short="ridge regression",
            looks_at="some clinical columns",
            tables=("clinical",),
            options=RidgeOptions,
        ),
        lambda federation, _: fit_ridge(federation),
        ridge_asks,
    )
)
