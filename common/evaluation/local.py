"""All measures of one set of patients, computed where the scores lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from common.evaluation.average_precision import average_precision, precision_error
from common.evaluation.calibration_curve import (
    CalibrationCurve,
    calibration_curve,
    without_small_bins,
)
from common.evaluation.calibration_fit import CalibrationFit, Points, fit_grouped, fit_rows
from common.evaluation.delong import exact
from common.evaluation.joined_scores import (
    AREA_DECIMALS,
    group_scores,
    join_scores,
    joined_areas,
)
from common.evaluation.recalibration import Recalibrated, net_benefit, recalibrated
from common.messages.limits import Limits, shares
from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.statistics.class_histogram import (
    ClassHistogram,
    ClassHistogramResult,
    merge_classes,
)
from common.statistics.placements import DeLongResult
from common.statistics.scores import (
    BinnedCalibration,
    BinnedCalibrationResult,
    BrierSums,
    Confusion,
    ConfusionResult,
    DecisionCountResult,
    DecisionCounts,
)


@plain
class SmoothMeasures:
    """Measures of k models that take the order or the place of all scores.

    Parameters
    ----------
    curve : flexible calibration curve.
    recalibrated : Brier score and net benefit after recalibration.
    precision, precision_error : (k,), area under the precision-recall curve, and its error.
    """

    curve: CalibrationCurve
    recalibrated: Recalibrated
    precision: Annotated[Float, shares("models", unknown=True)]
    precision_error: Annotated[Float, shares("models", unknown=True)]


@plain
class Evaluation:
    """Measures of k models on one set, from rows or from sums; never a score.

    Parameters
    ----------
    delong : areas (k,) and their covariance (k, k).
    histogram : scores by class; the points of the ROC curve.
    confusion : counts at each model's cut-off, (k,) each.
    calibration : sums in ten bins, (k, 10) each.
    brier : (k,).
    decision : true and false positives at the 99 thresholds, (k, 99) each.
    fit : calibration slope, intercepts and expected number.
    smooth : what follows from the scores, be they rows or cells.
    """

    delong: DeLongResult
    histogram: ClassHistogramResult
    confusion: ConfusionResult
    calibration: BinnedCalibrationResult
    brier: Annotated[Float, Limits(("models",))]
    decision: DecisionCountResult
    fit: CalibrationFit
    smooth: SmoothMeasures


def evaluate_locally(rows: Rows, cutoffs: Float, edges: Float, min_cell: int) -> Evaluation:
    """Return measures of a hospital's rows that are functions of cells of `min_cell` rows.

    Areas are those of `joined_areas`; calibration, recalibration, Brier scores and average
    precision those of `group_scores`, all other measures those of `join_scores`. Parameters and
    errors are those of `evaluate_rows`, which gives the same where `min_cell` is at most 1.

    Examples
    --------
    >>> scores, label = np.linspace(0.1, 0.9, 12)[:, None], np.repeat([0.0, 1.0], 6)
    >>> rows = Rows(scores, ("model",), label, np.zeros(12, int))
    >>> found = evaluate_locally(rows, np.array([0.4]), np.array([[0.0, 0.4, 1.0]]), min_cell=3)
    >>> found.confusion.tn, found.confusion.fp, found.confusion.fn  # 5, 1 and 0
    (array([4.]), array([2.]), array([1.]))
    """
    joined = join_scores(rows, edges, cutoffs, min_cell)
    grouped, fit = group_scores(rows, edges, min_cell), fit_grouped(rows, edges, min_cell)
    found = _evaluate(joined, grouped, cutoffs, edges, min_cell, fit)
    found = found if min_cell <= 1 else without_late_digits(found)
    return replace(
        found,
        delong=joined_areas(rows.values, rows.label, min_cell),
        calibration=_cleared(found.calibration),
    )


def without_late_digits(found: Evaluation) -> Evaluation:
    """Round what is made of single places in cells, as `joined_areas` does.

    All digits of two such numbers, of cells that end elsewhere, would tell in whose cells the
    patients of a class are: somebody who knows the scores could try all outcomes. The last digits
    of a sum even tell in which order the patients stand in the hospital's table. Of a set over
    hospitals all digits of one Brier score are an equation that a lattice reduction solves.
    """
    smooth, again = found.smooth, found.smooth.recalibrated
    recalibrated = replace(
        again, brier=_rounded(again.brier), net_benefit=_rounded(again.net_benefit)
    )
    return replace(
        found,
        brier=_rounded(found.brier),
        calibration=replace(found.calibration, probability=_rounded(found.calibration.probability)),
        smooth=replace(
            smooth,
            recalibrated=recalibrated,
            precision=_rounded(smooth.precision),
            precision_error=_rounded(smooth.precision_error),
        ),
    )


def _rounded(values: Float) -> Float:
    return np.round(values, AREA_DECIMALS)


def evaluate_rows(rows: Rows, cutoffs: Float, edges: Float, min_cell: int) -> Evaluation:
    """Return exact measures of the rows (n, k) at hand.

    Parameters
    ----------
    rows : probabilities, one column per model, and labels.
    cutoffs : (k,). edges : (k, cells + 1), of the histogram before its cells are joined.
    min_cell : least rows of a class in a cell of the histogram, unless it holds none; bins of the
        calibration with fewer rows are NaN.

    Raises
    ------
    ValueError : missing scores, or values that are no probability.

    Examples
    --------
    >>> scores, label = np.array([[0.1], [0.6], [0.4], [0.9]]), np.array([0.0, 0.0, 1.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.zeros(4, int))
    >>> found = evaluate_rows(rows, np.array([0.5]), np.array([[0.0, 0.5, 1.0]]), min_cell=0)
    >>> found.delong.auc, found.brier.round(3), found.confusion.tp
    (array([0.75]), array([0.185]), array([1.]))
    """
    return _evaluate(rows, rows, cutoffs, edges, min_cell, fit_rows(rows))


def smooth_measures(
    models: Sequence[Points],
    fit: CalibrationFit,
    cutoffs: Float,
    brier: Float,
    confusion: ConfusionResult,
) -> SmoothMeasures:
    """Return the measures of scores in any form.

    Parameters
    ----------
    models : scores of each. cutoffs, brier : (k,). confusion : counts at the cut-offs.
    """
    patients = sum(models[0].counts) if models else 0.0
    benefit = net_benefit(confusion.tp, confusion.fp, patients, cutoffs)
    return SmoothMeasures(
        curve=calibration_curve(models),
        recalibrated=recalibrated(models, fit, cutoffs, brier, benefit),
        precision=np.array([average_precision(points) for points in models]),
        precision_error=np.array([precision_error(points) for points in models]),
    )


def _evaluate(
    rows: Rows, grouped: Rows, cutoffs: Float, edges: Float, min_cell: int, fit: CalibrationFit
) -> Evaluation:
    """Measure rows; what takes the place of all scores comes from the grouped ones."""
    counted = _on(ClassHistogram(edges=edges), rows)
    confusion, brier = _on(Confusion(cutoffs=cutoffs), rows), _on(BrierSums(), grouped)
    points = [Points.of_rows(own, rows.label) for own in grouped.values.T]
    return Evaluation(
        delong=exact(rows.values, rows.label),
        histogram=merge_classes(counted, min_cell),
        confusion=confusion,
        calibration=without_small_bins(_on(BinnedCalibration(), rows), min_cell),
        brier=brier,
        decision=_on(DecisionCounts(), rows),
        fit=fit,
        smooth=smooth_measures(points, fit, cutoffs, brier, confusion),
    )


def _cleared(known: BinnedCalibrationResult) -> BinnedCalibrationResult:
    """Clear the bins that are withheld, so that empty ones look like them to the coordinator."""
    return BinnedCalibrationResult(
        count=np.nan_to_num(known.count),
        probability=np.nan_to_num(known.probability),
        positives=np.nan_to_num(known.positives),
    )


def _on(statistic: Any, rows: Rows) -> Any:
    return statistic.finalise(statistic.from_rows(rows))
