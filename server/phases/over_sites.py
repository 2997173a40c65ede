"""Measures of models on sets spread over sites: sums alone, two rounds for all sets together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.evaluation.calibration_curve import without_small_bins
from common.evaluation.calibration_fit import (
    CalibrationFit,
    Points,
    calibration_question,
    fit_sums,
    fit_unknown,
    rounded_fit,
)
from common.evaluation.joined_scores import join_decision
from common.evaluation.local import Evaluation, smooth_measures, without_late_digits
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.calibration import CalibrationSums
from common.statistics.class_histogram import (
    MOST_CELLS,
    ClassHistogram,
    ClassHistogramResult,
    merge_classes,
)
from common.statistics.own_pairs import OwnPairs, OwnPairsResult
from common.statistics.placements import DeLongResult, Placements, delong_unknown
from common.statistics.scores import BinnedCalibration, BrierSums, Confusion, DecisionCounts
from common.study.model import Study
from common.transforms.views import View
from server.phases.protocol import Federation, any_unread
from server.phases.set_findings import SetFindings, with_curves
from server.phases.strata import placements_of, widest_placements

TRAIN = "train"


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
        if minimum > 1:
            evaluation = without_late_digits(evaluation)
        one = with_curves(subset, names, evaluation, methods)
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
    bins = without_small_bins(calibration, minimum)
    if minimum > 1:
        decision = join_decision(histogram, bins, cuts, confusion, minimum)
    return Evaluation(
        delong=delong,
        histogram=merge_classes(histogram, minimum),
        confusion=confusion,
        calibration=bins,
        brier=brier,
        decision=decision,
        fit=fit,
        smooth=smooth_measures(points, fit, cuts, brier, confusion),
    )


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
        subset: (area, rounded_fit(fit_sums(histograms[subset], asked[subset], total)))
        for subset, area, total in zip(known, found, totals, strict=False)
    }


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
