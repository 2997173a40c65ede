"""Test sets spread over sites: the bundle goes out, the scores stay, sums come back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from common.bundle.bundle import Bundle, Files
from common.dossier.disclosure import EVERYBODY, Disclosure, Phase, answers, sum_disclosure
from common.evaluation.calibration import without_small_bins
from common.evaluation.calibration_curve import GRID
from common.evaluation.calibration_fit import (
    CalibrationFit,
    Points,
    calibration_question,
    fit_sums,
    fit_unknown,
)
from common.evaluation.canaries import DECODERS, CanaryAudit
from common.evaluation.local import Evaluation, evaluate_rows, smooth_measures
from common.evaluation.membership import MembershipAudit
from common.evaluation.release_audit import ReleaseAudit
from common.evaluation.roc import RocCurve, roc_from_histogram, roc_points
from common.evaluation.within_folds import within_folds
from common.messages.exchanges import EvaluateReply, Refusal, SumItem
from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.statistics.calibration import CalibrationSums
from common.statistics.class_histogram import (
    MOST_CELLS,
    ClassHistogram,
    ClassHistogramResult,
    merge_classes,
    score_edges,
)
from common.statistics.fold_scores import FoldScores, FoldScoresResult
from common.statistics.own_pairs import OwnPairs, OwnPairsResult
from common.statistics.placements import DeLongResult, Placements, delong_unknown
from common.statistics.scores import (
    BINS,
    THRESHOLDS,
    BinnedCalibration,
    BrierSums,
    Confusion,
    ConfusionResult,
    DecisionCounts,
)
from common.study.model import Study
from common.study.strata import most_levels, strata_columns
from common.transforms import Select
from common.transforms.views import Joined, View, table
from server.phases.agreed import only_if
from server.phases.follow_up import (
    FollowUpFindings,
    follow_up_asks,
    measure_follow_up,
    without_measures,
)
from server.phases.protocol import UNREAD, Federation, any_unread
from server.phases.strata import (
    StratumFindings,
    cuts_asks,
    placements_of,
    strata_asks,
    strata_cuts,
    strata_findings,
    widest_placements,
)

EXACT = "DeLong, exact (one site)"
TRAIN = "train"
WITHIN_FOLDS = (
    "DeLong, pairs of patients of the same fold in cells of their scores; counts at cut-offs"
    " chosen on the other folds"
)

Parts = dict[str, tuple[int, ...]]
T = TypeVar("T")


@plain
class SetFindings:
    """Measures of all models on one set.

    Parameters
    ----------
    subset : "train" (out-of-fold probabilities) or a test set.
    patients, positives : over all its sites.
    evaluation : None where the sites withhold it.
    curves : ROC curve by model, of those with an area.
    methods : by model, the way to its area.
    within : by model, area of pairs of the same hospital, and its variance; empty where unknown.
    """

    subset: str
    patients: int
    positives: int
    evaluation: Evaluation | None
    curves: dict[str, RocCurve]
    methods: tuple[str, ...]
    within: dict[str, tuple[float, float]] = field(default_factory=dict)


@plain
class EvaluationFindings:
    """Measures of k models.

    Parameters
    ----------
    cutoffs : by model, in the order of the evaluations' columns.
    sets : one a set.
    site_areas : by set and site, areas of the site's own patients.
    strata : areas within levels.
    withheld : by site, results it keeps to itself.
    membership : by site, of the attack on its training patients.
    releases : by site, what the sets of patients asked about tell of single ones.
    canaries : by site, what decoders find of patients planted in its totals; None = not measured.
    site_fits : by set and site, calibration among the site's own patients.
    follow_up : one a set, in place of `sets` where the endpoint has a time.
    apparent : by model, its area on the patients that it was fitted on.
    """

    cutoffs: dict[str, float]
    sets: tuple[SetFindings, ...]
    site_areas: dict[str, dict[str, DeLongResult]]
    strata: tuple[StratumFindings, ...]
    withheld: dict[str, tuple[Refusal, ...]]
    membership: dict[str, MembershipAudit] = field(default_factory=dict)
    releases: dict[str, ReleaseAudit] = field(default_factory=dict)
    canaries: dict[str, CanaryAudit | None] = field(default_factory=dict)
    site_fits: dict[str, dict[str, CalibrationFit]] = field(default_factory=dict)
    follow_up: tuple[FollowUpFindings, ...] = ()
    apparent: dict[str, float] = field(default_factory=dict)


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
            minimum = study.privacy.min_cell
            one = _at_one_site(subset, names, replies[sites[0]], minimum)
            # a pooled reference is one site with the patients of several hospitals
            several = len(study.test_set(subset).hospitals) > 1
            found[subset] = replace(one, within={}) if several else one
        elif subset not in summed:
            own = [replies[site].counts[subset] for site in sites]
            found[subset] = _withheld(subset, sum(n for n, _ in own), sum(p for _, p in own))
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
    for test in study.test_sets:
        if test.name not in masked:
            own = [replies[site].counts[test.name] for site in study.members(test.name)]
            patients, events = (sum(counts) for counts in zip(*own, strict=True))
            counts = patients, events, len(names)
            found[test.name] = without_measures(test.name, *counts, study.time_grid)
    return EvaluationFindings(
        cutoffs=cutoffs,
        sets=(),
        site_areas={},
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
    return Phase("evaluation", purpose, rounds, (*_audit_asks(study), *asked))


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


def evaluate_over_sites(
    federation: Federation,
    subsets: Sequence[str],
    names: Sequence[str],
    view: View,
    cutoffs: Mapping[str, float],
    edges: Float,
) -> list[SetFindings]:
    """Find every measure of k models on sets spread over sites; two rounds for all together.

    Parameters
    ----------
    subsets : test sets, or "train" where the view gives out-of-fold probabilities.
    names : of the k models, in the order of the view's columns.
    view : ends in k columns of probabilities.
    cutoffs : by model.
    edges : (k, cells + 1), from `score_edges`.
    """
    cuts = np.array([cutoffs[name] for name in names])
    minimum = federation.study.privacy.min_cell
    asked = _first_questions(edges, cuts)
    # of test sets the hospitals give their own areas themselves, as far as they may
    training = [SumItem(OwnPairs(), view, subset) for subset in subsets if subset == TRAIN]
    items = [SumItem(statistic, view, subset) for subset in subsets for statistic in asked]
    answers = federation.sum_many(items + training)
    size = len(asked)
    first = {s: tuple(answers[size * i : size * (i + 1)]) for i, s in enumerate(subsets)}
    placements = {subset: placements_of(own[0], minimum) for subset, own in first.items()}
    histograms = {subset: own[0] for subset, own in first.items()}
    areas = _areas(federation, view, placements, histograms)
    if any_unread(answers):
        return []
    found: list[SetFindings] = []
    for subset, sums in first.items():
        area, methods = areas.get(subset), _methods(placements[subset])
        if area is None:
            methods = (f"withheld: fewer than {minimum} patients of one class",) * len(names)
        evaluation = _evaluation_of(sums, area, cuts, minimum)
        one = _with_curves(subset, names, evaluation, methods)
        known = subset == TRAIN and area is not None
        found.append(replace(one, within=areas_within(names, answers[-1]) if known else {}))
    return found


def _first_questions(edges: Float, cuts: Float) -> tuple[Any, ...]:
    """Return what is asked of every set at once, in this order."""
    return (
        ClassHistogram(edges=edges),
        Confusion(cutoffs=cuts),
        BinnedCalibration(),
        BrierSums(),
        DecisionCounts(),
    )


def _evaluation_of(
    sums: Sequence[Any],
    area: tuple[DeLongResult, CalibrationFit] | None,
    cuts: Float,
    minimum: int,
) -> Evaluation:
    """Return all measures of a set over sites.

    Parameters
    ----------
    sums : answers to `_first_questions`.
    area : areas and calibration; None where they are withheld.
    cuts : (k,), cut-offs.
    """
    histogram, confusion, calibration, brier, decision = sums
    k = cuts.size
    unknown = delong_unknown(decision.n, decision.positives, k), fit_unknown(k)
    delong, fit = unknown if area is None else area
    points = [Points.of_cells(histogram, column) for column in range(k)]
    return Evaluation(
        delong=delong,
        histogram=merge_classes(histogram, minimum),
        confusion=confusion,
        calibration=without_small_bins(calibration, minimum),
        brier=brier,
        decision=decision,
        fit=fit,
        smooth=smooth_measures(points, fit, cuts, brier, confusion),
    )


def areas_of_parts(
    names: Sequence[str], parts: Iterable[DeLongResult]
) -> dict[str, tuple[float, float]]:
    """Return the mean area of hospitals' own patients, by their pairs, and its variance, by model.

    It is made of what each hospital gives anyway: a sum of its own would let others take theirs off
    and find what a hospital of few patients withholds.
    """
    known = [one for one in parts if np.isfinite(one.auc).all()]
    pairs = np.array([float(one.positives * (one.n - one.positives)) for one in known])
    if pairs.sum() < 1:
        return {}
    share = pairs / pairs.sum()
    auc = share @ np.array([one.auc for one in known])
    variance = np.square(share) @ np.array([np.diag(one.covariance) for one in known])
    return dict(zip(names, zip(auc.tolist(), variance.tolist(), strict=True), strict=True))


def areas_within(names: Sequence[str], found: OwnPairsResult) -> dict[str, tuple[float, float]]:
    """Return the area of pairs of one hospital and its variance, by model."""
    auc, variance = found.areas()
    return dict(zip(names, zip(auc.tolist(), variance.tolist(), strict=True), strict=True))


def scores_asks(study: Study, models: int, subset: str) -> tuple[Disclosure, ...]:
    """Declare what `evaluate_over_sites` asks of one set."""
    own = (OwnPairs(),) if subset == TRAIN else ()
    return tuple(
        sum_disclosure(study, statistic, models, subset)
        for statistic in (
            *own,
            ClassHistogram(edges=np.zeros((models, MOST_CELLS + 1))),
            Confusion(cutoffs=np.zeros(models)),
            BinnedCalibration(),
            BrierSums(),
            DecisionCounts(),
            CalibrationSums(*(np.zeros(models) for _ in range(3))),
            widest_placements(models),
        )
    )


def _areas(
    federation: Federation,
    view: View,
    placements: Mapping[str, Placements],
    histograms: Mapping[str, ClassHistogramResult],
) -> dict[str, tuple[DeLongResult, CalibrationFit]]:
    """Find areas and calibration by set, without sets of too few of one class; one round."""
    minimum = federation.study.privacy.min_cell
    known = {
        subset: one
        for subset, one in placements.items()
        if min(cells.counts.sum(axis=1).min() for cells in (one.negatives, one.positives))
        > minimum - 0.5
    }
    asked = {subset: calibration_question(histograms[subset]) for subset in known}
    items = [SumItem(one, view, subset) for subset, one in known.items()]
    items += [SumItem(one, view, subset) for subset, one in asked.items()]
    found = federation.sum_many(items)
    if any_unread(found):
        return {}
    totals = found[len(known) :]
    return {
        subset: (area, fit_sums(histograms[subset], asked[subset], total))
        for subset, area, total in zip(known, found, totals, strict=False)
    }


def evaluate_training(
    names: Sequence[str],
    scores: Float,
    labels: Float,
    cutoffs: Mapping[str, float],
    folds: Sequence[FoldScoresResult],
    min_cell: int = 0,
    within: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> SetFindings:
    """Find the out-of-fold performance on the pooled rows the server holds.

    Areas and counts are those within folds, where the rows do not say their fold.

    Parameters
    ----------
    scores : (n, k) out-of-fold probabilities. labels : (n,).
    folds : scores of these models by fold, in the same order.
    min_cell : fewest rows of a group of the calibration that is shown.
    within : by model, area of pairs of the same hospital and its variance, as far as known.
    """
    rows = Rows(
        values=scores,
        columns=tuple(names),
        label=labels,
        fold=np.zeros(len(labels), dtype=np.int64),
    )
    cuts = np.array([cutoffs[name] for name in names])
    evaluation = evaluate_rows(rows, cuts, score_edges(np.zeros((len(names), 0))), min_cell)
    return SetFindings(
        subset="train",
        patients=evaluation.delong.n,
        positives=evaluation.delong.positives,
        evaluation=judged_within_folds(evaluation, folds),
        curves={name: roc_points(scores[:, i], labels) for i, name in enumerate(names)},
        methods=(WITHIN_FOLDS,) * len(names),
        within=dict(within),
    )


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


def training_findings(
    found: Sequence[SetFindings], cutoffs: Mapping[str, float]
) -> EvaluationFindings:
    """Return the out-of-fold performance alone."""
    return EvaluationFindings(dict(cutoffs), tuple(found), {}, (), {})


def one_site_method(minimum: int) -> str:
    """Describe the way to the areas of a site's own patients."""
    return EXACT if minimum <= 1 else f"DeLong, patients in groups of {minimum} or more (one site)"


def _at_one_site(
    subset: str, names: Sequence[str], reply: EvaluateReply, minimum: int
) -> SetFindings:
    """Read the measures of a set from the one site that holds it."""
    evaluation = reply.evaluations.get(subset)
    if evaluation is None:
        return _withheld(subset, *reply.counts[subset])
    return measured_at_one_site(subset, names, evaluation, minimum)


def measured_at_one_site(
    subset: str, names: Sequence[str], evaluation: Evaluation, minimum: int
) -> SetFindings:
    """Return the measures of a set that one site holds, made there from cells of `minimum`."""
    found = _with_curves(subset, names, evaluation, (one_site_method(minimum),) * len(names))
    variances = np.diag(evaluation.delong.covariance).tolist()
    areas = zip(evaluation.delong.auc.tolist(), variances, strict=True)
    return replace(found, within=dict(zip(names, areas, strict=True)))


def _withheld(subset: str, patients: int, positives: int) -> SetFindings:
    return SetFindings(subset, patients, positives, None, {}, ())


def _with_curves(
    subset: str, names: Sequence[str], evaluation: Evaluation, methods: tuple[str, ...]
) -> SetFindings:
    """Draw the ROC curves through the histogram."""
    delong, histogram = evaluation.delong, evaluation.histogram
    curves = {
        name: roc_from_histogram(histogram.edges[i], histogram.counts[i])
        for i, name in enumerate(names)
        if np.isfinite(delong.auc[i])
    }
    return SetFindings(subset, delong.n, delong.positives, evaluation, curves, methods)


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


def _methods(placements: Placements) -> tuple[str, ...]:
    """Describe the way to the area of each model."""
    classes = (placements.negatives, placements.positives)
    return tuple(
        "DeLong; pairs within a site exact, between sites by summed class-wise histograms"
        f" ({negatives} and {positives} cells)"
        for negatives, positives in zip(
            *(np.count_nonzero(one.counts, axis=1).tolist() for one in classes), strict=True
        )
    )
