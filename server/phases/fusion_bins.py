"""Decision-level fusion from summed bin counts: no out-of-fold row leaves a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from common.dossier.disclosure import Phase, sum_disclosure
from common.evaluation.roc import RocCurve, youden
from common.evaluation.within_folds import within_folds
from common.learning.forest import ForestBatch, ForestProblem
from common.learning.quantile_cells import probability_quantiles
from common.statistics.base import Float
from common.statistics.class_histogram import MOST_CELLS, QUANTILES, ClassHistogram, score_edges
from common.statistics.fold_scores import FoldScores, FoldScoresResult
from common.statistics.forest import NodeCounts
from common.study.model import Study
from common.transforms.views import ByFold, View
from server.phases.decision import STACKER, Decision, StackerFit, side_by_side, unstacked
from server.phases.evaluation import WITHIN_FOLDS, judged_within_folds
from server.phases.fitted_model import FittedModel
from server.phases.out_of_fold import CELLS, cells_of, curves_of
from server.phases.over_sites import evaluate_over_sites, scores_asks
from server.phases.protocol import Federation
from server.phases.set_findings import training_findings

# each level of splits is a round
DEPTH = 4
# the grid of the forest that is grown on pooled rows
SETTINGS = tuple(product((5, 10, 20), (1, 2)))
# final and out-of-fold view of one candidate
Candidate = tuple[View, View]


def decide_by_bins(federation: Federation, fitted: Mapping[str, FittedModel]) -> Decision:
    """Grow the stacker, choose cut-offs and measure performance from sums; 4 + DEPTH rounds."""
    names = unstacked(federation.study)
    views = {name: fitted[name].out_of_fold for name in names}
    models = {name: fitted[name].final for name in names}
    found = federation.sum(cells_of(len(names)), side_by_side(views, names))
    quantiles = probability_quantiles(found.edges, found.counts, QUANTILES)
    candidates: dict[str, Candidate] = {}
    if STACKER in federation.study.fusion_models:
        counted = dict(zip(names, found.counts, strict=True))
        candidates = _grow(federation, fitted, counted)
    known = {**views, **{name: view for name, (_, view) in candidates.items()}}
    curves, halves, by_fold = curves_of(federation, known, quantiles)
    stacker = None
    if candidates:
        stacker, chosen = _choose(candidates, curves)
        views[STACKER], models[STACKER] = candidates[chosen][1], stacker.final
        curves[STACKER] = curves[chosen]
        quantiles = np.vstack([quantiles, halves[chosen]])
    cutoffs = {name: float(np.clip(youden(curves[name]), 0.0, 1.0)) for name in models}
    edges = score_edges(quantiles)
    joined = side_by_side(views, tuple(models))
    training = [
        replace(
            one,
            evaluation=judged_within_folds(
                one.evaluation, _judged(by_fold, names, len(candidates))
            ),
            methods=(WITHIN_FOLDS,) * len(models),
        )
        if one.evaluation is not None
        else one
        for one in evaluate_over_sites(federation, ["train"], tuple(models), joined, cutoffs, edges)
    ]
    return Decision(training_findings(training, cutoffs), models, cutoffs, edges, stacker)


def _judged(
    found: FoldScoresResult, names: Sequence[str], candidates: int
) -> list[FoldScoresResult]:
    """Return scores by fold of the models, and of the stacker if candidates stand behind them.

    In each fold the stacker is the candidate with the largest area within the other folds.
    """
    models = len(names)
    own = FoldScoresResult(edges=found.edges[:models], counts=found.counts[:, :models])
    if not candidates:
        return [own]
    tried = found.counts[:, models:]
    stacked = np.empty((len(tried), 1, *tried.shape[2:]))
    for fold in range(len(tried)):
        others = np.delete(tried, fold, axis=0)
        areas = within_folds(FoldScoresResult(edges=found.edges[models:], counts=others)).auc
        stacked[fold, 0] = tried[fold, int(np.argmax(areas))]
    return [own, FoldScoresResult(edges=found.edges[models : models + 1], counts=stacked)]


def bins_asks(study: Study) -> Phase:
    """Declare what `decide_by_bins` asks for; no row leaves."""
    stacks = STACKER in study.fusion_models
    models = len(unstacked(study))
    asked = [sum_disclosure(study, cells_of(models), models)]
    if stacks:
        base = len(study.base_models)
        asked.append(sum_disclosure(study, _widest_nodes(study, base), base, rounds=DEPTH))
    known = models + (len(SETTINGS) if stacks else 0)
    edges = np.zeros((known, MOST_CELLS + 1))
    asked.append(sum_disclosure(study, ClassHistogram(edges=edges), known))
    asked.append(sum_disclosure(study, FoldScores(study.folds, edges), known))
    measured = scores_asks(study, models + int(stacks), "train")
    rounds = 4 + (DEPTH if stacks else 0)
    purpose = "Cut-offs, and the model on all probabilities"
    return Phase(STACKER, purpose, rounds, (*asked, *measured))


def _widest_nodes(study: Study, base: int) -> NodeCounts:
    """Return the question for the deepest level of all trees, every node open."""
    forests = (study.folds + 1) * study.fusion.trees
    trees = forests * len(SETTINGS)
    looks = sum(min(look, base) for _, look in SETTINGS)
    each = np.zeros(forests * looks * 2 ** (DEPTH - 1), dtype=np.int64)
    return NodeCounts(
        edges=np.zeros((base, study.fusion.bins + 1)),
        feature=np.zeros((trees, 1), dtype=np.int64),
        threshold=np.zeros((trees, 1)),
        excluded=np.zeros(trees, dtype=np.int64),
        draw=np.zeros(trees, dtype=np.int64),
        seed=0,
        tree=each,
        node=each,
        column=each,
    )


def _grow(
    federation: Federation, fitted: Mapping[str, FittedModel], counted: Mapping[str, Float]
) -> dict[str, Candidate]:
    """Grow, for each setting, a forest without each of the folds, and one on all rows."""
    study = federation.study
    base = tuple(study.base_models)
    folds = (*range(study.folds), -1)
    batch = ForestBatch(
        _bin_edges(np.array([counted[name] for name in base]), study.fusion.bins),
        [
            ForestProblem(min_samples_leaf=least, max_features=looks, excluded=fold)
            for least, looks in SETTINGS
            for fold in folds
        ],
        draws=range(study.fusion.trees),
        max_depth=DEPTH,
        seed=study.seed,
        monotone=study.fusion.monotone,
    )
    out_of_fold = side_by_side({name: fitted[name].out_of_fold for name in base}, base)
    final = side_by_side({name: fitted[name].final for name in base}, base)
    while not batch.converged:
        batch.update(federation.sum(batch.request(), out_of_fold))
    candidates = {}
    for position, (least, looks) in enumerate(SETTINGS):
        first = position * len(folds)
        parts = tuple(
            out_of_fold.then(batch.forest(first + fold, base, STACKER))
            for fold in range(study.folds)
        )
        last = final.then(batch.forest(first + study.folds, base, STACKER))
        candidates[f"forest-{least}-{looks}"] = (last, View(source=ByFold(parts=parts)))
    return candidates


def _bin_edges(counts: Float, bins: int) -> Float:
    """Choose edges (p, bins + 1) of bins of about equally many rows, from counts (p, cells).

    On edges of equal width a model whose probabilities crowd together would have a bin or two.
    """
    edges = np.full((counts.shape[0], bins + 1), np.inf)
    edges[:, 0] = -np.inf
    cells = np.tile(CELLS, (counts.shape[0], 1))
    edges[:, 1:-1] = probability_quantiles(cells, counts, np.arange(1, bins) / bins)
    return edges


def _choose(
    candidates: Mapping[str, Candidate], curves: Mapping[str, RocCurve]
) -> tuple[StackerFit, str]:
    """Choose the candidate with the largest out-of-fold area, the first of equal ones."""
    areas = {name: float(np.trapezoid(curves[name].tpr, curves[name].fpr)) for name in candidates}
    chosen = max(areas, key=lambda name: areas[name])
    scores = {"forest": areas[chosen]}
    return StackerFit(final=candidates[chosen][0], candidates=scores, used="forest"), chosen
