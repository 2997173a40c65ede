"""The LASSO over sites: one Gram matrix a fold, from which every outer problem chooses.

Outer problems are the folds 0 ... K-1 (fitted without that fold, for out-of-fold probabilities)
and K (all training rows, the final model). Each chooses its penalty and its columns by inner
cross-validation over the folds it may see, by `common.learning.lasso`. All that a site sends for
it is a `FoldGram` (`common.statistics.gram`); for a time to event a `CoxGradient` as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
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
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.fold_histogram import Support
from common.statistics.gram import FoldGram, FoldGramResult
from common.study.model import Study
from common.transforms import Clip
from common.transforms.views import View
from common.utils import portable
from server.phases.batching import distinct
from server.phases.protocol import Federation


@dataclass(frozen=True)
class OuterFold:
    """One outer problem: the folds it leaves out, and the columns and penalty of its LASSO."""

    index: int
    excluded: tuple[int, ...]
    view: View
    columns: tuple[str, ...]
    lasso: LassoFit
    gram: FoldGramResult
    note: str


def fit_lasso(
    federation: Federation, name: str, views: Sequence[View], supports: Sequence[Support]
) -> list[OuterFold]:
    """Fit the LASSO of every outer problem from one round of Gram matrices over the sites.

    Parameters
    ----------
    name : of the model, in the choices that coordinator and sites agree on.
    views : one of standardised columns per outer problem, the final one last.
    supports : evidence that no column of these views is nearly constant.
    """
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
    outers = fit_lasso(federation, name, views, supports)
    return selection_record(outers, selection, changing)


def selection_record(
    outers: Sequence[OuterFold], selection: dict[str, Any], changing: Set[str]
) -> dict[str, Any]:
    """Complete the notes of label-free steps by the LASSO and the columns of each fold.

    Parameters
    ----------
    changing : see `fit_linear_model`.
    """
    final = outers[-1]
    place = {name: i for i, name in enumerate(final.view.outputs())}
    lasso = final.lasso
    own_note = (final.note,) if final.note else ()
    return {
        **selection,
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
        "notes": (*selection.get("notes", ()), *own_note),
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


def select_asks(study: Study, width: int, tables: int) -> tuple[tuple[Disclosure, ...], int]:
    """Declare what `select_columns` asks for, and its rounds."""
    return (sum_disclosure(study, FoldGram(folds=study.folds), width, tables=tables),), 1
