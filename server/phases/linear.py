"""LASSO, linear SVM and Platt scaling over sites, nested in the study's folds.

Outer problems are the folds 0 ... K-1 (fitted without that fold, for out-of-fold probabilities)
and K (all training rows, the final model). Each outer problem chooses its penalty, its columns and
its cost by inner cross-validation over the folds it may see. One Gram matrix a fold serves every
LASSO, and all SVM problems of all outer problems share their rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.exchanges import SumItem
from common.learning.lasso import LassoFit, choose, fallback
from common.learning.platt import PlattFit
from common.learning.svm import SvmBatch, SvmProblem
from common.statistics.base import Float
from common.statistics.counts import FoldCounts
from common.statistics.gram import FoldGram, FoldGramResult
from common.transforms import Clip, Linear, Sigmoid
from common.views import ByFold, View
from server.federation import Federation
from server.phases.arm import Arm

Names = tuple[str, ...]
PLATT_ROUNDS = 50
SLIGHT_SLOPE = -0.05


@dataclass(frozen=True)
class _Outer:
    """One outer problem: what it may see, which columns LASSO kept, at which penalty."""

    index: int
    excluded: tuple[int, ...]
    view: View
    columns: Names
    lasso: LassoFit
    gram: FoldGramResult
    note: str


def fit_linear_arm(
    federation: Federation,
    name: str,
    views: Sequence[View],
    features: Sequence[View],
    selection: dict[str, Any],
) -> Arm:
    """Fit one arm from standardised views.

    Parameters
    ----------
    views : one standardised view per outer problem, folds first, then the final one; the same
        object where outer problems share it, so that it is asked for once.
    features : what feature-level fusion takes, per outer problem.
    selection : notes of the label-free steps, completed here.
    """
    views = _clipped(federation, views)
    outers = _lasso(federation, views)
    solved, costs, open_problems = _svm(federation, outers)
    models = [
        outer.view.restrict(outer.columns).then(
            Linear(columns=outer.columns, weights=w[:-1], intercept=float(w[-1]), name=name)
        )
        for outer, w in zip(outers, solved, strict=True)
    ]
    folds = federation.study.folds
    out_of_fold = View(source=ByFold(parts=tuple(models[:folds])))
    platt, inverted = _platt(federation, out_of_fold)
    notes = [*selection.get("notes", ()), *([outers[-1].note] if outers[-1].note else [])]
    if open_problems:
        rounds = federation.study.svm.max_rounds
        notes.append(f"{open_problems} SVM problems had not converged after {rounds} rounds")
    if inverted:
        notes.append("out-of-fold decision values told nothing: probabilities stay near the mean")
    record = _record(outers[-1], solved[-1], costs[-1])
    steps = (*selection.get("steps", ()), {"step": "lasso", "names": outers[-1].columns})
    done = {**selection, **record, "steps": steps, "notes": tuple(notes)}
    return Arm(
        name=name,
        out_of_fold=out_of_fold.then(platt),
        final=models[-1].then(platt),
        features=tuple(features),
        selection=done,
    )


def _record(final: _Outer, weights: Float, cost: float) -> dict[str, Any]:
    """What the report shows of the final problem's LASSO and SVM."""
    place = {name: i for i, name in enumerate(final.view.outputs())}
    lasso = final.lasso
    return {
        "alpha": float(lasso.alpha),
        "cv": {"alphas": tuple(lasso.alphas.tolist()), "errors": tuple(lasso.cv_error.tolist())},
        "coefficients": {name: float(lasso.coefficients[place[name]]) for name in final.columns},
        "svm": {
            "cost": cost,
            "intercept": float(weights[-1]),
            "weights": dict(zip(final.columns, weights[:-1].tolist(), strict=True)),
        },
    }


def _clipped(federation: Federation, views: Sequence[View]) -> list[View]:
    """In guarded mode z-scores are clipped before any Gram matrix is made of them."""
    if federation.study.privacy.mode == "faithful":
        return list(views)
    step = Clip(limit=federation.study.selection.clip)
    made = {id(view): view.then(step) for view in views}
    return [made[id(view)] for view in views]


def _distinct(views: Sequence[View]) -> list[View]:
    return list({id(view): view for view in views}.values())


def _lasso(federation: Federation, views: Sequence[View]) -> list[_Outer]:
    """Choose penalty and columns of every outer problem from one round of Gram matrices."""
    study = federation.study
    settings = study.selection
    distinct = _distinct(views)
    grams = federation.sum_many(
        [SumItem(FoldGram(folds=study.folds), view, "train") for view in distinct]
    )
    gram_of: dict[int, FoldGramResult] = {
        id(view): gram for view, gram in zip(distinct, grams, strict=True)
    }
    alphas = np.logspace(settings.lasso_log10_min, settings.lasso_log10_max, settings.lasso_alphas)
    outers = []
    for index, view in enumerate(views):
        excluded = (index,) if index < study.folds else ()
        gram = gram_of[id(view)]
        kept = tuple(fold for fold in range(study.folds) if fold not in excluded)
        fit = choose(gram, alphas, kept)
        chosen = fit.support
        note = ""
        if chosen.size == 0:
            chosen = fallback(gram.training(excluded), settings.lasso_fallback)
            note = f"LASSO kept nothing: the {chosen.size} columns closest to the label are used"
        names = view.outputs()
        columns = tuple(names[i] for i in chosen)
        outers.append(_Outer(index, excluded, view, columns, fit, gram, note))
    return outers


def _svm(federation: Federation, outers: Sequence[_Outer]) -> tuple[list[Float], list[float], int]:
    """Weights (columns + intercept) and cost of every outer problem; how many fits stayed open."""
    study = federation.study
    groups: dict[int, list[_Outer]] = {}
    for outer in outers:
        groups.setdefault(id(outer.view), []).append(outer)
    batches, narrow = [], []
    for members in groups.values():
        names = members[0].view.outputs()
        used = {name for outer in members for name in outer.columns}
        at = [i for i, name in enumerate(names) if name in used]
        columns = tuple(names[i] for i in at)
        narrow.append(members[0].view.restrict(columns))
        problems = [p for outer in members for p in _problems(federation, outer, columns)]
        gram = members[0].gram.narrow(np.array(at, dtype=np.int64))
        batches.append(SvmBatch(gram, problems, tolerance=study.svm.tolerance))
    for _ in range(study.svm.max_rounds):
        open_ones = [i for i, batch in enumerate(batches) if not batch.converged]
        if not open_ones:
            break
        results = federation.sum_many(
            [SumItem(batches[i].request(), narrow[i], "train") for i in open_ones]
        )
        for i, result in zip(open_ones, results, strict=True):
            batches[i].update(result)
    weights: dict[int, Float] = {}
    costs: dict[int, float] = {}
    for members, view, batch in zip(groups.values(), narrow, batches, strict=True):
        _pick(federation, members, view.outputs(), batch, weights, costs)
    still_open = sum(len(batch.active) for batch in batches)
    return [weights[o.index] for o in outers], [costs[o.index] for o in outers], still_open


def _problems(federation: Federation, outer: _Outer, columns: Names) -> list[SvmProblem]:
    """Every cost, each judged on every inner fold and fitted on all the outer problem may see."""
    study = federation.study
    allowed = np.array([name in outer.columns for name in columns])
    inner = [fold for fold in range(study.folds) if fold not in outer.excluded]
    return [
        SvmProblem(
            cost=cost,
            excluded=outer.excluded if judge < 0 else (*outer.excluded, judge),
            validation=judge,
            mask=allowed,
        )
        for cost in study.svm.costs
        for judge in (*inner, -1)
    ]


def _pick(
    federation: Federation,
    members: Sequence[_Outer],
    columns: Names,
    batch: SvmBatch,
    weights: dict[int, Float],
    costs: dict[int, float],
) -> None:
    """The cost with the smallest mean validation loss, the smaller cost on a tie."""
    study = federation.study
    position = 0
    for outer in members:
        inner = study.folds - len(outer.excluded)
        errors, finals = [], []
        for _ in study.svm.costs:
            at = slice(position, position + inner)
            loss, rows = batch.validation_loss[at].sum(), batch.validation_rows[at].sum()
            errors.append(loss / max(rows, 1.0))
            finals.append(batch.weights[position + inner])
            position += inner + 1
        best = int(np.argmin(errors))
        own = [columns.index(name) for name in outer.columns]
        weights[outer.index] = finals[best][[*own, len(columns)]]
        costs[outer.index] = study.svm.costs[best]


def _platt(federation: Federation, decision: View) -> tuple[Sigmoid, bool]:
    """Platt's scaling of the pooled out-of-fold decision values; whether its slope was wrong.

    On few patients out-of-fold values can run against the label by chance. Following that slope
    would turn the final model upside down, so a slight one of the right sign takes its place.
    """
    counts = federation.sum(FoldCounts(folds=federation.study.folds), decision)
    positives = round(float(counts.positives.sum()))
    fit = PlattFit(positives=positives, negatives=round(float(counts.rows.sum())) - positives)
    for _ in range(PLATT_ROUNDS):
        if fit.converged:
            break
        fit.update(federation.sum(fit.request(), decision))
    if fit.a > SLIGHT_SLOPE:
        negatives = round(float(counts.rows.sum())) - positives
        return Sigmoid(a=SLIGHT_SLOPE, b=float(np.log((negatives + 1) / (positives + 1)))), True
    return Sigmoid(a=fit.a, b=fit.b), False
