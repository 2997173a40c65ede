"""Decision-level fusion on pooled out-of-fold rows: the study's declared row-level exchange."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.dossier.disclosure import BYTES32, Disclosure, Phase, sum_disclosure
from common.evaluation.linkage import (
    KNOWN_TABLES,
    Linkage,
    cell_edges,
    count_cells,
    known_columns,
    row_cells,
    unique_patients,
)
from common.evaluation.roc import youden, youden_cutoff
from common.evaluation.within_folds import exact_scores
from common.learning.quantile_cells import probability_quantiles
from common.ledger.entry import request_digest
from common.masking.pooled_rows import ring_size
from common.messages.exchanges import SumItem
from common.messages.plain import plain
from common.models import MODELS
from common.statistics.base import Float
from common.statistics.class_histogram import MOST_CELLS, QUANTILES, ClassHistogram, score_edges
from common.statistics.fold_scores import FoldScores, FoldScoresResult
from common.statistics.histogram import Histogram
from common.statistics.own_pairs import OwnPairs
from common.study.model import Study
from common.transforms import Stack
from common.transforms.views import View
from server.phases.decision import STACKER, Decision, StackerFit, side_by_side, unstacked
from server.phases.evaluation import evaluate_training
from server.phases.fitted_model import FittedModel
from server.phases.out_of_fold import cells_of, curves_of
from server.phases.over_sites import areas_within
from server.phases.protocol import UNREAD, Federation, OutOfFoldRows, only_if
from server.phases.set_findings import SetFindings, training_findings


@plain
class PooledFit:
    """The stacker, fitted on rows that no site hears of, with its cut-off."""

    fit: StackerFit
    cutoff: float


def decide_by_rows(federation: Federation, fitted: Mapping[str, FittedModel]) -> Decision:
    """Fit the stacker and measure performance on the pooled rows; three rounds.

    Edges and cut-offs of the base models come from sums, as with bins, so that every site can
    derive them. The stacker, with its cut-off, is the one thing that a site takes as it comes: it
    reads the base models' probabilities alone.
    """
    study = federation.study
    names = unstacked(study)
    views = {name: fitted[name].out_of_fold for name in names}
    known = known_columns(views)
    counted, own_pairs, *fitting = federation.sum_many(_counts(study, views, known))
    quantiles = probability_quantiles(counted.edges, counted.counts, QUANTILES)
    curves, _, by_fold = curves_of(federation, views, quantiles)
    rows = federation.rows(views, fitting[0].counts if fitting else np.zeros((0, 0)))
    scores: dict[str, Float] = {}
    if rows is not UNREAD:
        scores = {name: rows.probabilities[:, i] for i, name in enumerate(rows.columns)}
    models = {name: fitted[name].final for name in names}
    cutoffs = {name: float(np.clip(youden(curves[name]), 0.0, 1.0)) for name in names}
    stacker = None
    if STACKER in study.fusion_models:
        own: Any = UNREAD
        if rows is not UNREAD:
            fit, scores[STACKER], stacked = fit_stacker(study, fitted, rows)
            own = PooledFit(fit, min(youden_cutoff(scores[STACKER], rows.labels), 1.0))
        chosen: PooledFit = federation.agreed(
            STACKER, own, only_if(partial(may_stack, study, fitted))
        )
        stacker, models[STACKER] = chosen.fit, chosen.fit.final
        cutoffs[STACKER] = chosen.cutoff
        quantiles = np.vstack([quantiles, QUANTILES])
    training: tuple[SetFindings, ...] = ()
    if rows is not UNREAD:
        table, minimum = np.column_stack(list(scores.values())), study.privacy.min_cell
        edges = score_edges(quantiles)
        folds = [by_fold, *([] if stacker is None else [stacked])]
        within = areas_within(names, own_pairs)
        found = evaluate_training(
            tuple(scores), table, rows.labels, cutoffs, folds, edges, minimum, within
        )
        training = (found,)
    return Decision(
        training=training_findings(training, cutoffs),
        models=models,
        cutoffs=cutoffs,
        edges=score_edges(quantiles),
        stacker=stacker,
        linkage=_linkage(study, scores, known) if scores else None,
    )


def may_stack(study: Study, fitted: Mapping[str, FittedModel], found: Any) -> bool:
    """Tell whether a stacker reads the probabilities of the base models and nothing else."""
    if not isinstance(found, PooledFit) or not isinstance(found.fit, StackerFit):
        return False
    steps = found.fit.final.transforms
    if not steps or not isinstance(steps[-1], Stack):
        return False
    expected = _stacked(study, fitted, steps[-1].blob)
    same = request_digest(expected) == request_digest(found.fit.final)
    return same and 0.0 <= found.cutoff <= 1.0


def _stacked(study: Study, fitted: Mapping[str, FittedModel], blob: NDArray[np.uint8]) -> View:
    names = tuple(study.base_models)
    joined = side_by_side({name: fitted[name].final for name in names}, names)
    return joined.then(Stack(columns=names, blob=blob, name=STACKER))


def rows_asks(study: Study) -> Phase:
    """Declare what `decide_by_rows` asks for."""
    models = len(unstacked(study))
    rows = Disclosure(
        exchange="query.rows",
        what="out-of-fold probabilities and outcomes",
        subset="train",
        parts={
            "probabilities": f"patients of all hospitals x {models}",
            "labels": "patients of all hospitals",
            "own places": "patients of all hospitals",
        },
        size=BYTES32 * ring_size(1, models),
        rounds=1,
        columns=models,
        masked=study.masked("train"),
    )
    known = sum(set(MODELS[name].tables) == KNOWN_TABLES for name in study.base_models)
    edges = cell_edges(study.fusion.row_decimals)
    asked = [
        sum_disclosure(study, cells_of(models), models),
        sum_disclosure(study, OwnPairs(), models),
    ]
    if known:
        statistic = Histogram(edges=np.tile(edges, (known, 1)))
        asked.append(sum_disclosure(study, statistic, known))
    edges_of_curves = np.zeros((models, MOST_CELLS + 1))
    asked.append(sum_disclosure(study, ClassHistogram(edges=edges_of_curves), models))
    asked.append(sum_disclosure(study, FoldScores(study.folds, edges_of_curves), models))
    return Phase(STACKER, "Cut-offs, and the model on all probabilities", 3, (*asked, rows))


def _counts(study: Study, views: Mapping[str, View], known: tuple[str, ...]) -> list[SumItem]:
    """Ask for all models' probabilities in cells, pairs, and cells that the rows are rounded to."""
    names = tuple(views)
    joined = side_by_side(views, names)
    items = [SumItem(cells_of(len(names)), joined, "train"), SumItem(OwnPairs(), joined, "train")]
    if known:
        edges = np.tile(cell_edges(study.fusion.row_decimals), (len(known), 1))
        items.append(SumItem(Histogram(edges=edges), side_by_side(views, known), "train"))
    return items


def _linkage(study: Study, scores: Mapping[str, Float], known: tuple[str, ...]) -> Linkage | None:
    """Count the pooled rows that somebody who knows clinical values alone could find."""
    if not known:
        return None
    decimals = study.fusion.row_decimals
    edges = cell_edges(decimals)
    cells = np.column_stack([row_cells(scores[name], edges) for name in known])
    return Linkage(len(cells), unique_patients(cells, count_cells(cells, decimals)))


def fit_stacker(
    study: Study, fitted: Mapping[str, FittedModel], rows: OutOfFoldRows
) -> tuple[StackerFit, Float, FoldScoresResult]:
    """Fit DLRad_DB, a stacker on the pooled out-of-fold probabilities of the base models.

    Hyper-parameters and the comparison of candidates come from five-fold cross-validation on the
    pooled rows; the one the study names (default: the paper's forest) is refitted on all of them.
    The second result is float64 (n,), its cross-validated probability of each row: in each fold
    with the hyper-parameters that were best on the other four. The third are these by fold.
    """
    from sklearn.base import clone
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import ParameterGrid, StratifiedKFold, cross_val_predict
    from skops.io import dumps

    names = tuple(study.base_models)
    x = rows.probabilities[:, [rows.columns.index(name) for name in names]]
    y = rows.labels.astype(np.int64)
    splitter = StratifiedKFold(n_splits=5, shuffle=True, random_state=study.seed % 2**32)
    folds = list(splitter.split(x, y))
    stackers: dict[str, Any] = {}
    predicted: dict[str, Float] = {}
    scores: dict[str, float] = {}
    for name, (estimator, grid) in _candidates(study).items():
        if name not in study.fusion.candidates and name != study.fusion.stacker:
            continue
        tried = [clone(estimator).set_params(**chosen) for chosen in ParameterGrid(grid)]
        # a grid search would fit the best once more in every fold to predict there
        held_out = [
            cross_val_predict(one, x, y, cv=folds, method="predict_proba")[:, 1] for one in tried
        ]
        areas = np.array([[roc_auc_score(y[at], p[at]) for _, at in folds] for p in held_out])
        best = int(np.argmax(areas.mean(axis=1)))
        stackers[name], predicted[name] = tried[best].fit(x, y), np.empty(len(y))
        for number, (_, at) in enumerate(folds):
            others = np.delete(areas, number, axis=1).mean(axis=1)
            predicted[name][at] = held_out[int(np.argmax(others))][at]
            scores[name] = scores.get(name, 0.0) + len(at) / len(y) * float(
                roc_auc_score(y[at], predicted[name][at])
            )
    used: str = study.fusion.stacker
    if used == "best":
        used = max(stackers, key=lambda name: scores[name])
    blob = np.frombuffer(dumps(stackers[used]), dtype=np.uint8)
    final = _stacked(study, fitted, blob)
    fold = np.empty(len(y), dtype=np.int64)
    for number, (_, at) in enumerate(folds):
        fold[at] = number
    by_fold = exact_scores(predicted[used], rows.labels, fold, len(folds))
    return StackerFit(final=final, candidates=scores, used=used), predicted[used], by_fold


def _candidates(study: Study) -> dict[str, tuple[Any, dict[str, list[Any]]]]:
    """List estimator and hyper-parameter grid of every candidate."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    seed = study.seed % 2**32
    forest = RandomForestClassifier(
        n_estimators=study.fusion.trees,
        random_state=seed,
        n_jobs=1,
        monotonic_cst=[1] * len(study.base_models) if study.fusion.monotone else None,
    )
    boosting = GradientBoostingClassifier(
        n_estimators=50, learning_rate=0.05, subsample=0.7, random_state=seed
    )
    machine = CalibratedClassifierCV(LinearSVC(dual=False), cv=3, ensemble=False)
    return {
        "forest": (forest, {"min_samples_leaf": [5, 10, 20], "max_features": [1, 2]}),
        "svm": (
            make_pipeline(StandardScaler(), machine),
            {"calibratedclassifiercv__estimator__C": [0.01, 0.1, 1.0]},
        ),
        "boosting": (boosting, {"max_depth": [1, 2]}),
    }
