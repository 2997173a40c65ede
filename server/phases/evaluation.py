"""The test sets of a study: the bundle goes out, the scores stay, sums come back.

`server.phases.over_sites` asks for the sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from common.bundle.bundle import Bundle, Files
from common.dossier.disclosure import EVERYBODY, Disclosure, Phase, answers, sum_disclosure
from common.evaluation.calibration_curve import GRID
from common.evaluation.canaries import DECODERS
from common.evaluation.follow_up import RISK_GROUPS
from common.evaluation.follow_up_findings import FollowUpFindings, areas_of, without_measures
from common.evaluation.joined_scores import join_decision
from common.evaluation.local import Evaluation, evaluate_rows
from common.evaluation.roc import roc_points
from common.evaluation.within_folds import within_folds
from common.messages.exchanges import EvaluateReply
from common.statistics.base import Float, Rows
from common.statistics.class_histogram import MOST_CELLS, ClassHistogram
from common.statistics.fold_scores import FoldScores, FoldScoresResult
from common.statistics.placements import DeLongResult
from common.statistics.scores import BINS, THRESHOLDS, ConfusionResult
from common.study.model import Study
from common.study.strata import most_levels, strata_columns
from common.transforms import Select
from common.transforms.views import Joined, View, table
from server.phases.follow_up import follow_up_asks, measure_follow_up
from server.phases.over_sites import evaluate_over_sites, scores_asks
from server.phases.protocol import UNREAD, Federation, only_if
from server.phases.set_findings import (
    EvaluationFindings,
    Parts,
    SetFindings,
    areas_of_parts,
    measured_at_one_site,
    with_curves,
    withheld_set,
)
from server.phases.strata import cuts_asks, strata_asks, strata_cuts, strata_findings

WITHIN_FOLDS = (
    "DeLong, pairs of patients of the same fold in cells of their scores; counts at cut-offs"
    " chosen on the other folds"
)
T = TypeVar("T")


def evaluate_test_sets(
    federation: Federation, bundle: Bundle, files: Files, edges: Float
) -> EvaluationFindings:
    """Hand out the bundle and evaluate every test set.

    A set at one site is evaluated there; all others together take two rounds of sums.

    Parameters
    ----------
    files : of the bundle, signed.
    edges : (k, cells + 1), from `score_edges` of the training probabilities, in the bundle's order.
    """
    study, names, cutoffs = federation.study, tuple(bundle.models), bundle.cutoffs
    if study.follow_up is not None:
        return _follow_up(federation, bundle, files, edges)
    apparent = apparent_areas(federation, bundle.models, edges)
    cuts = strata_cuts(federation)
    replies = federation.evaluate(files, edges, cuts)
    sets = {test.name: study.members(test.name) for test in study.test_sets}
    spread = [name for name, sites in sets.items() if len(sites) > 1]
    summed = _summed(federation, spread, replies)
    found: dict[str, SetFindings] = {}
    if summed:
        view = table("scores").then(Select(columns=names))
        over_sites = evaluate_over_sites(federation, summed, names, view, cutoffs, edges)
        found = {one.subset: one for one in over_sites}
    strata = strata_findings(federation, names, edges, cuts, replies)
    if replies is UNREAD:
        return EvaluationFindings(cutoffs, (), {}, strata, {})
    for subset, sites in sets.items():
        if subset not in spread:
            one = _at_one_site(subset, names, replies[sites[0]], study.privacy.min_cell)
            # a pooled reference is one site with the patients of several hospitals
            several = len(study.test_set(subset).hospitals) > 1
            found[subset] = replace(one, within={}) if several else one
        elif subset not in summed:
            own = [replies[site].counts[subset] for site in sites]
            found[subset] = withheld_set(subset, sum(n for n, _ in own), sum(p for _, p in own))
    return EvaluationFindings(
        cutoffs=cutoffs,
        sets=tuple(
            replace(found[subset], within=areas_of_parts(names, parts)) if parts else found[subset]
            for subset in sets
            for parts in ([r.parts[subset] for r in replies.values() if subset in r.parts],)
        ),
        site_areas={
            subset: _by_site(sets[subset], subset, {s: r.parts for s, r in replies.items()})
            for subset in spread
        },
        site_fits={
            subset: _by_site(sets[subset], subset, {s: r.fits for s, r in replies.items()})
            for subset in spread
        },
        strata=strata,
        withheld={site: reply.withheld for site, reply in replies.items()},
        membership={s: r.membership for s, r in replies.items() if r.membership is not None},
        releases={s: r.releases for s, r in replies.items() if r.releases is not None},
        canaries={s: r.canaries for s, r in replies.items() if s in study.training_sites},
        apparent=apparent,
    )


def _follow_up(
    federation: Federation, bundle: Bundle, files: Files, edges: Float
) -> EvaluationFindings:
    """Hand out the bundle and measure a time to event on every test set; one round of sums."""
    study, names, cutoffs = federation.study, tuple(bundle.models), bundle.cutoffs
    replies = federation.evaluate(files, edges, {})
    masked = [test.name for test in study.test_sets if study.masked(test.name)]
    view = table("scores").then(Select(columns=names))
    found: dict[str, FollowUpFindings] = {}
    if masked:
        measured = measure_follow_up(federation, masked, names, view, cutoffs, edges)
        found = {one.subset: one for one in measured}
    if replies is UNREAD:
        return EvaluationFindings(cutoffs, (), {}, (), {})
    areas: dict[str, dict[str, DeLongResult]] = {}
    for test in study.test_sets:
        if test.name not in masked:
            sites, horizons = study.members(test.name), len(study.time_grid.horizons)
            own = [replies[site].counts[test.name] for site in sites]
            patients, events = (sum(counts) for counts in zip(*own, strict=True))
            counts = patients, events, len(names)
            found[test.name] = without_measures(test.name, *counts, horizons)
            told = _by_site(sites, test.name, {s: r.followed for s, r in replies.items()})
            if len(sites) == 1:
                found[test.name] = told.get(sites[0], found[test.name])
            elif told:
                areas[test.name] = {site: areas_of(one) for site, one in told.items()}
    return EvaluationFindings(
        cutoffs=cutoffs,
        sets=(),
        site_areas=areas,
        strata=(),
        withheld={site: reply.withheld for site, reply in replies.items()},
        releases={s: r.releases for s, r in replies.items() if r.releases is not None},
        canaries={s: r.canaries for s, r in replies.items() if s in study.training_sites},
        follow_up=tuple(found[test.name] for test in study.test_sets),
    )


def apparent_areas(
    federation: Federation, models: Mapping[str, View], edges: Float
) -> dict[str, float]:
    """Find the area of each final model on its own training patients; one round.

    It is that of pairs within folds, as the out-of-fold area beside it, so that the difference is
    what a model gains by knowing its patients.
    """
    view = View(source=Joined(parts=tuple(models.values())))
    found = federation.sum(FoldScores(folds=federation.study.folds, edges=edges), view)
    if found is UNREAD:
        return {}
    return dict(zip(models, within_folds(found).auc.tolist(), strict=True))


def _by_site(
    sites: Sequence[str], subset: str, found: Mapping[str, Mapping[str, T]]
) -> dict[str, T]:
    """Return by site what those gave that may give it."""
    return {site: found[site][subset] for site in sites if subset in found[site]}


def evaluation_asks(study: Study) -> Phase:
    """Declare what `evaluate_test_sets` asks for."""
    models = len(study.base_models) + len(study.fusion_models)
    if study.follow_up is not None:
        return _follow_up_asks(study, models)
    spread = [t.name for t in study.test_sets if len(study.members(t.name)) > 1]
    over_sites = [one for subset in spread for one in scores_asks(study, models, subset)]
    cutting, cut_rounds = cuts_asks(study)
    levels, level_rounds = strata_asks(study, models)
    rounds = 2 + (2 if spread else 0) + cut_rounds + level_rounds
    own = FoldScores(study.folds, np.zeros((models, MOST_CELLS + 1)))
    apparent = sum_disclosure(study, own, models)
    asked = (apparent, *cutting, *_handout_asks(study, models), *over_sites, *levels)
    return Phase("evaluation", "Measures of the test sets", rounds, asked)


def _follow_up_asks(study: Study, models: int) -> Phase:
    masked = [test.name for test in study.test_sets if study.masked(test.name)]
    asked = [one for subset in masked for one in follow_up_asks(study, models, subset)]
    purpose, rounds = "Measures of the test sets", 2 if masked else 1
    own = _own_follow_up_asks(study, models)
    return Phase("evaluation", purpose, rounds, (*_audit_asks(study), *own, *asked))


def _own_follow_up_asks(study: Study, models: int) -> Iterator[Disclosure]:
    """Declare what hospitals say of their own patients in sets over which no sum is masked."""
    horizons, periods = len(study.time_grid.horizons), study.time_grid.periods
    parts: Parts = {
        "concordance, with errors": (models, 4),
        "areas, with errors": (models, horizons, 2),
        "counts of low and high risk by joined period": (models, 4, periods),
        "tests": (models, 4),
        "calibration": (models, RISK_GROUPS + 1, 5),
    }
    for test in study.test_sets:
        if not study.masked(test.name):
            yield answers("evaluate.handout", "measures of own times", test.name, parts)


def _audit_asks(study: Study) -> Iterator[Disclosure]:
    """Declare what every hospital says of its own releases."""
    figures: Parts = {"smallest": (1,), "determined": (1,), "epsilon": (1,)}
    yield answers("evaluate.handout", "figures on its releases", EVERYBODY, figures)
    if study.derivable:
        counted: Parts = dict.fromkeys(DECODERS, (6,))
        yield answers("evaluate.handout", "planted patients that decoders find", "train", counted)


def _handout_asks(study: Study, models: int) -> Iterator[Disclosure]:
    """Declare the replies to the bundle, of every set that is scored at the sites."""
    areas: Parts = {"auc": (models,), "covariance": (models, models)}
    measures: Parts = {
        "histogram": (models, 4 * MOST_CELLS + 1),
        "confusion": (models, 4),
        "calibration": (models, 3, BINS),
        "brier": (models,),
        "decision": (models, 2, THRESHOLDS.size),
        "calibration curve": (models, 4, GRID),
        "recalibrated": (models, 2, 3),
        "average precision, with its error": (models, 2),
    }
    fits: Parts = {"expected": (models,), "intercepts and slope, with errors": (models, 6)}
    levels = sum(most_levels(column) for column in strata_columns(study))
    by_level: Parts = {
        "auc": (levels, models),
        "covariance": (levels, models, models),
        "expected": (levels, models),
        "intercepts and slope, with errors": (levels, models, 6),
    }
    attacked: Parts = {"patients": (2,), "auc": (models, 3), "tpr": (models, 3)}
    yield answers("evaluate.handout", "attack on membership", "train", attacked)
    yield from _audit_asks(study)
    for test in study.test_sets:
        if len(study.members(test.name)) > 1:
            own = {**areas, **fits}
            yield answers("evaluate.handout", "areas of the own patients", test.name, own)
            continue
        whole = {**areas, **measures, **fits}
        yield answers("evaluate.handout", "all measures of the set", test.name, whole)
        if levels:
            own = {**by_level, "counts": (levels, 2)}
            yield answers("evaluate.handout", "areas within strata", test.name, own)


def evaluate_training(
    names: Sequence[str],
    scores: Float,
    labels: Float,
    cutoffs: Mapping[str, float],
    folds: Sequence[FoldScoresResult],
    edges: Float,
    min_cell: int = 0,
    within: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> SetFindings:
    """Find the out-of-fold performance on the pooled rows the server holds.

    Areas and counts are those within folds, where the rows do not say their fold.

    Parameters
    ----------
    scores : (n, k) out-of-fold probabilities. labels : (n,).
    folds : scores of these models by fold, in the same order.
    edges : (k, cells + 1), from `score_edges`.
    min_cell : fewest rows of a cell that is shown; up to 1 shows all.
    within : by model, area of pairs of the same hospital and its variance, as far as known.
    """
    rows = Rows(
        values=scores,
        columns=tuple(names),
        label=labels,
        fold=np.zeros(len(labels), dtype=np.int64),
    )
    cuts = np.array([cutoffs[name] for name in names])
    evaluation = judged_within_folds(evaluate_rows(rows, cuts, edges, min_cell), folds)
    found = with_curves("train", names, evaluation, (WITHIN_FOLDS,) * len(names))
    if min_cell <= 1:
        curves = {name: roc_points(scores[:, i], labels) for i, name in enumerate(names)}
        return replace(found, curves=curves, within=dict(within))
    asked = ClassHistogram(edges=edges)
    # the counts at cut-offs are those of other cut-offs, one a fold
    decision = join_decision(
        asked.finalise(asked.from_rows(rows)), evaluation.calibration, cuts, None, min_cell
    )
    return replace(found, evaluation=replace(evaluation, decision=decision), within=dict(within))


def judged_within_folds(evaluation: Evaluation, folds: Sequence[FoldScoresResult]) -> Evaluation:
    """Replace areas and counts at cut-offs by those within folds.

    The covariance of two areas keeps the correlation that it has over all pairs.

    Parameters
    ----------
    folds : of the evaluation's models, in their order.
    """
    found = [within_folds(one) for one in folds]
    auc = np.concatenate([one.auc for one in found])
    error = np.sqrt(np.concatenate([one.variance for one in found]))
    before = evaluation.delong.covariance
    scale = np.sqrt(np.diag(before))
    correlation = np.divide(
        before, np.outer(scale, scale), out=np.zeros_like(before), where=np.outer(scale, scale) > 0
    )
    np.fill_diagonal(correlation, 1.0)
    counts = {
        name: np.concatenate([getattr(one.confusion, name) for one in found])
        for name in ("tp", "tn", "fp", "fn")
    }
    return replace(
        evaluation,
        delong=replace(evaluation.delong, auc=auc, covariance=correlation * np.outer(error, error)),
        confusion=ConfusionResult(**counts),
    )


def _at_one_site(
    subset: str, names: Sequence[str], reply: EvaluateReply, minimum: int
) -> SetFindings:
    """Read the measures of a set from the one site that holds it."""
    evaluation = reply.evaluations.get(subset)
    if evaluation is None:
        return withheld_set(subset, *reply.counts[subset])
    return measured_at_one_site(subset, names, evaluation, minimum)


def _summed(
    federation: Federation, spread: Sequence[str], replies: Mapping[str, EvaluateReply]
) -> list[str]:
    """Choose the sets that are summed; where sums are not masked, what the sites said decides."""
    study = federation.study
    masked = [name for name in spread if study.masked(name)]
    if len(masked) == len(spread):
        return masked
    found: tuple[str, ...] = UNREAD
    if replies is not UNREAD:
        found = tuple(name for name in spread if _may_be_summed(study, name, replies))
    among = only_if(lambda theirs: set(theirs) <= set(spread))
    chosen = federation.agreed("summed", found, among)
    return [name for name in spread if name in masked or name in chosen]


def _may_be_summed(study: Study, subset: str, replies: Mapping[str, EvaluateReply]) -> bool:
    """Refuse to sum unmasked parts, each of which is its site's own, unless all are large."""
    if study.masked(subset):
        return True
    return all(subset in replies[site].parts for site in study.members(subset))
