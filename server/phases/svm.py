"""Support vector machines of one model: every cost, fold and kernel width shares the rounds.

An outer problem chooses its cost (and, with the RBF kernel, its width) by the squared hinge loss on
the inner folds it may see; the smaller cost wins a tie. Decision values spread the wider the larger
the cost is, so each machine's are put on mean 0 and standard deviation 1 over the rows it was
fitted on: one sigmoid and one cut-off are to serve the values of all outer problems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.learning.descent import Problem
from common.learning.nystroem import (
    covariance,
    gamma_scale,
    nystroem_map,
    rbf_kernel,
    synthetic_landmarks,
)
from common.learning.svm import SvmBatch
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.fold_histogram import FoldHistogram, Support
from common.statistics.gram import FoldGram, FoldGramResult
from common.statistics.svm import SvmGradient
from common.study.model import Study
from common.transforms import KernelMap, Linear
from common.transforms.views import View
from common.utils import portable
from server.phases.batching import distinct
from server.phases.lasso import OuterFold
from server.phases.near_zero_variance import frequent, scaled_edges, split, variance_asks
from server.phases.protocol import Federation, agreed_axes

Names = tuple[str, ...]
# eigenvalues of the landmarks' kernel below this share of the largest only enlarge rounding
KERNEL_RANK = 1e-6


@dataclass(frozen=True)
class FittedSvm:
    """The support vector machine an outer problem chose.

    Parameters
    ----------
    decision : view that ends in the decision value, on mean 0 and standard deviation 1.
    columns : one a weight.
    weights : (columns,), as fitted. intercept : added to them.
    mean, deviation : of the fitted decision value over the training rows; 0.0 where it is constant.
    cost : C. gamma : width of the RBF kernel, None for a linear machine.
    """

    decision: View
    columns: Names
    weights: Float
    intercept: float
    mean: float
    deviation: float
    cost: float
    gamma: float | None


@dataclass(frozen=True)
class _Entry:
    """A block of problems of one outer problem inside a batch: costs by inner folds and final.

    `gram` is of the columns asked for.
    """

    outer: OuterFold
    batch: SvmBatch
    start: int
    asked: View
    model: View
    gram: FoldGramResult
    gamma: float | None


def fit_svms(
    federation: Federation, name: str, outers: Sequence[OuterFold]
) -> tuple[list[FittedSvm], int]:
    """Fit the machine of every outer problem; count the problems that had not converged."""
    study = federation.study
    if study.svm.kernel == "linear":
        entries = _linear(study, outers)
    else:
        entries = _rbf(federation, name, outers)
    batches = {id(entry.batch): entry for entry in entries}
    for _ in range(study.svm.max_rounds):
        still = [entry for entry in batches.values() if not entry.batch.converged]
        if not still:
            break
        results = federation.sum_many(
            [SumItem(entry.batch.request(), entry.asked, "train") for entry in still]
        )
        for entry, result in zip(still, results, strict=True):
            entry.batch.update(result)
    fitted = []
    for outer in outers:
        own = [entry for entry in entries if entry.outer is outer]
        fitted.append(_choose(study, name, own))
    return fitted, sum(len(entry.batch.active) for entry in batches.values())


def _linear(study: Study, outers: Sequence[OuterFold]) -> list[_Entry]:
    """Share a batch over all columns that any outer problem on the same view uses."""
    views, places = distinct([outer.view for outer in outers])
    groups: list[list[OuterFold]] = [[] for _ in views]
    for outer, place in zip(outers, places, strict=True):
        groups[place].append(outer)
    entries: list[_Entry] = []
    for members in groups:
        view = members[0].view
        used = {name for outer in members for name in outer.columns}
        at = [i for i, name in enumerate(view.outputs()) if name in used]
        columns = tuple(view.outputs()[i] for i in at)
        problems: list[Problem] = []
        starts = []
        for outer in members:
            starts.append(len(problems))
            mask = np.array([name in outer.columns for name in columns])
            problems.extend(nested_problems(study, outer, mask))
        gram = members[0].gram.narrow(np.array(at, dtype=np.int64))
        batch = SvmBatch(gram, problems, tolerance=study.svm.tolerance)
        asked = view.restrict(columns)
        entries.extend(
            _Entry(outer, batch, start, asked, outer.view.restrict(outer.columns), gram, None)
            for outer, start in zip(members, starts, strict=True)
        )
    return entries


def _rbf(federation: Federation, name: str, outers: Sequence[OuterFold]) -> list[_Entry]:
    """Make one batch an outer problem and kernel width, on features of synthetic landmarks.

    Other synthetic points show where a feature's values usually lie.
    """
    study = federation.study
    plans: list[tuple[OuterFold, View, float]] = []
    edges: list[Float] = []
    for outer in outers:
        names = outer.view.outputs()
        at = np.array([names.index(name) for name in outer.columns], dtype=np.int64)
        gram = outer.gram.narrow(at).training(outer.excluded)
        clip = study.selection.clip if study.privacy.mode == "guarded" else None
        place = f"{name}/kernel/{outer.index}"
        axes = agreed_axes(federation, place, covariance(gram))
        landmarks = synthetic_landmarks(gram, study.svm.landmarks, study.seed, clip, axes)
        points = synthetic_landmarks(gram, study.svm.landmarks, study.seed + 1, clip, axes)
        for number, multiple in enumerate(study.svm.gammas):
            gamma = multiple * gamma_scale(gram)
            kernel = rbf_kernel(landmarks, landmarks, gamma)
            axes = agreed_axes(federation, f"{place}/{number}", kernel)
            projection = nystroem_map(landmarks, gamma, KERNEL_RANK, axes)
            step = KernelMap(
                columns=outer.columns,
                landmarks=landmarks,
                gamma=gamma,
                projection=projection,
                names=tuple(f"kernel_{i + 1}" for i in range(projection.shape[1])),
            )
            plans.append((outer, outer.view.restrict(outer.columns).then(step), gamma))
            features = portable.product(rbf_kernel(points, landmarks, gamma), projection)
            edges.append(scaled_edges(features.mean(axis=0), features.std(axis=0)))
    items = [
        SumItem(FoldHistogram(folds=study.folds, edges=own), view, "train")
        for (_, view, _), own in zip(plans, edges, strict=True)
    ]
    kept = [
        _frequent(study, view, found.support())
        for (_, view, _), found in zip(plans, federation.sum_many(items), strict=True)
    ]
    grams = federation.sum_many(
        [
            SumItem(FoldGram(folds=study.folds, support=support), view, "train")
            for view, support in kept
        ]
    )
    entries = []
    for (outer, _, gamma), (view, _), gram in zip(plans, kept, grams, strict=True):
        problems = nested_problems(study, outer, None)
        batch = SvmBatch(gram, problems, tolerance=study.svm.tolerance)
        entries.append(_Entry(outer, batch, 0, view, view, gram, gamma))
    return entries


def _frequent(study: Study, view: View, support: Support) -> tuple[View, Support]:
    """Leave out features that are the same for nearly all patients."""
    stays = frequent(study, support)
    names, _ = split(view.outputs(), stays)
    return view.restrict(names), support.narrow(np.flatnonzero(stays))


def nested_problems(
    study: Study, outer: OuterFold, mask: NDArray[np.bool_] | None
) -> list[Problem]:
    """List every cost, judged on every inner fold and fitted on all rows outside the outer one."""
    inner = [fold for fold in range(study.folds) if fold not in outer.excluded]
    return [
        Problem(
            cost=cost,
            excluded=outer.excluded if judge < 0 else (*outer.excluded, judge),
            validation=judge,
            mask=mask,
        )
        for cost in study.cost_grid
        for judge in (*inner, -1)
    ]


def _choose(study: Study, name: str, entries: Sequence[_Entry]) -> FittedSvm:
    """Choose the cost and width with the smallest mean validation loss."""
    candidates = []
    for entry in entries:
        inner = study.folds - len(entry.outer.excluded)
        for number, cost in enumerate(study.svm.cost_grid):
            first = entry.start + number * (inner + 1)
            at = slice(first, first + inner)
            loss = float(entry.batch.validation_loss[at].sum())
            rows = float(entry.batch.validation_count[at].sum())
            candidates.append((loss / max(rows, 1.0), cost, entry, first + inner))
    _, cost, entry, position = min(candidates, key=lambda candidate: candidate[:2])
    return _fitted(name, entry, entry.batch.weights[position], cost)


def _fitted(name: str, entry: _Entry, fitted: Float, cost: float) -> FittedSvm:
    """Return the machine with these weights (asked columns + 1,), the intercept last."""
    own, asked = entry.model.outputs(), entry.asked.outputs()
    weights, intercept = fitted[[asked.index(column) for column in own]], float(fitted[-1])
    seen = entry.gram.training(entry.outer.excluded)
    mean, deviation = seen.spread(fitted[:-1], intercept)
    scale = deviation if deviation > 0 else 1.0
    step = Linear(
        columns=own, weights=weights / scale, intercept=(intercept - mean) / scale, name=name
    )
    return FittedSvm(
        decision=entry.model.then(step),
        columns=own,
        weights=weights,
        intercept=intercept,
        mean=mean,
        deviation=deviation,
        cost=cost,
        gamma=entry.gamma,
    )


def svm_asks(study: Study, width: int, tables: int) -> tuple[tuple[Disclosure, ...], int]:
    """Declare gradients of all costs and folds, and the matrices of a kernel; rounds at most."""
    folds, costs = study.folds, len(study.svm.cost_grid)
    rounds = min(study.svm.max_rounds, study.privacy.max_svm_rounds)
    if study.svm.kernel == "linear":
        # an outer problem without one fold leaves out each other one in turn, or none
        problems = costs * (folds * folds + folds + 1) if tables == 1 else costs * (folds + 1)
        gradient = _gradient(folds, problems, width)
        return (sum_disclosure(study, gradient, width, tables=tables, rounds=rounds),), rounds
    maps, landmarks = (folds + 1) * len(study.svm.gammas), study.svm.landmarks
    gradient = _gradient(folds, costs * (folds + 1), landmarks)
    return (
        variance_asks(study, landmarks, maps),
        sum_disclosure(study, FoldGram(folds=folds), landmarks, tables=maps),
        sum_disclosure(study, gradient, landmarks, tables=maps, rounds=rounds),
    ), 2 + rounds


def _gradient(folds: int, problems: int, width: int) -> SvmGradient:
    return SvmGradient(
        weights=np.zeros((problems, width + 1)),
        excluded=np.zeros((problems, folds)),
        validation=np.zeros(problems, dtype=np.int64),
    )
