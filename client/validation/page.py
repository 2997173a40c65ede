"""The page of a validation, for the hospital: exact measures, and what the signed file says."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from client.report import timed
from client.report.roc import curve_of, roc_of
from client.validation.measure import SUBSET, Validation
from common.evaluation.at_cutoff import Estimate, at_cutoff
from common.evaluation.decision_curve import DecisionCurve, decision_curve
from common.evaluation.delong import auc_interval
from common.evaluation.follow_up_findings import FollowUpFindings
from common.evaluation.local import Evaluation
from common.html import pages
from common.html.drawing import GREY, LIGHT, Drawing, draw, style_of
from common.html.pages import Block, Cell, Line
from common.messages.validation import ValidationReport
from common.models import label_of
from common.study.follow_up import FollowUp
from common.utils.durable import make_folder, write_durably

PAGE, FILE = "index.html", "validation.json"
DASH, Z = "\N{EN DASH}", 1.959963984540054
WORDS = ("none", "in the large", "intercept and slope")


def write_page(
    found: Validation, report: ValidationReport, folder: Path, grid: FollowUp | None
) -> Path:
    """Write the page into a folder that its owner alone may enter; return its path.

    Parameters
    ----------
    grid : of times, where the study's endpoint has one.
    """
    make_folder(folder)
    path = folder / PAGE
    write_durably(path, render(found, report, grid).encode())
    return path


def render(found: Validation, report: ValidationReport, grid: FollowUp | None = None) -> str:
    """Return the page as text."""
    exact, models = found.exact, found.rows.columns
    if isinstance(exact, FollowUpFindings):
        own = _timed(exact, models, report, grid)
    else:
        own = {
            "performance": performance(models, exact, report.cutoffs),
            "sent": None if report.measures is None else _sent(report),
            "curves": [
                roc_of(
                    curve_of(SUBSET, name, found.rows.values[:, i], found.rows.label),
                    label_of(name),
                )
                for i, name in enumerate(models)
            ],
            "calibration": calibration(models, exact),
            "recalibration": recalibration(models, exact),
            "deciding": found.deciding,
            "decision": decision_figure(models, exact, found.deciding),
        }
    return pages.render(
        "client.validation",
        "validation.html",
        report=report,
        patients=found.rows.n,
        positives=int(found.rows.label.sum()),
        left_out=_left_out(found),
        case_mix=_case_mix(report),
        grid=grid,
        **own,
    )


def _timed(
    exact: FollowUpFindings,
    models: tuple[str, ...],
    report: ValidationReport,
    grid: FollowUp | None,
) -> dict[str, Any]:
    """Return the parts of the page where the endpoint has a time."""
    if grid is None:
        raise ValueError("measures of times without a grid")
    sent = report.follow_up(grid)
    return {
        "performance": timed.performance(models, exact, grid),
        "sent": None if sent is None else timed.performance(report.models, sent, grid),
        "curves": timed.curves(models, exact, grid),
        "calibration": timed.calibration(models, exact),
    }


def performance(models: tuple[str, ...], found: Evaluation, cutoffs: dict[str, float]) -> Block:
    """Return the measures of all models as a table."""
    return Block(
        "",
        "",
        ("Model", "AUC", "Cut-off", "Sensitivity", "Specificity", "PPV", "NPV", "Brier"),
        tuple(Line(label_of(m), _measures(found, i, cutoffs[m])) for i, m in enumerate(models)),
        "validation",
    )


def _measures(found: Evaluation, i: int, cutoff: float) -> tuple[Cell, ...]:
    delong, counts = found.delong, found.confusion
    negatives = delong.n - delong.positives
    auc = float(delong.auc[i])
    interval = auc_interval(auc, float(delong.covariance[i, i]), negatives, delong.positives)
    at = at_cutoff(
        round(float(counts.tp[i])), round(float(counts.tn[i])), delong.positives, negatives
    )
    shares = (at.sensitivity, at.specificity, at.ppv, at.npv)
    return (
        Cell(f"{auc:.3f}", f"{interval.low:.3f}{DASH}{interval.high:.3f}"),
        Cell(f"{cutoff:.3f}"),
        *(Cell(*_percent(one)) for one in shares),
        Cell(f"{float(found.brier[i]):.3f}"),
    )


def calibration(models: tuple[str, ...], found: Evaluation) -> Block:
    """Return observed and expected numbers, intercept and slope of each model."""
    fit = found.fit
    lines = tuple(
        Line(
            label_of(model),
            (
                Cell(str(fit.positives)),
                Cell(f"{fit.expected[i]:.1f}"),
                Cell(*_with_error(fit.large[i], fit.large_error[i])),
                Cell(*_with_error(fit.slope[i], fit.slope_error[i])),
                Cell(f"{float(found.brier[i]):.3f}"),
            ),
        )
        for i, model in enumerate(models)
    )
    columns = ("Model", "Observed", "Expected", "Intercept (slope 1)", "Slope", "Brier")
    return Block("", "", columns, lines)


def recalibration(models: tuple[str, ...], found: Evaluation) -> Block:
    """Return what recalibrating each model on these patients would change."""
    fit, after = found.fit, found.smooth.recalibrated
    lines = []
    for i, model in enumerate(models):
        shifts = ((0.0, 1.0), (fit.large[i], 1.0), (fit.intercept[i], fit.slope[i]))
        for way, (name, (intercept, slope)) in enumerate(zip(WORDS, shifts, strict=True)):
            if np.isfinite([intercept, slope]).all():
                cells = (intercept, slope, after.brier[i, way], after.net_benefit[i, way])
                texts = (name, *(_number(float(value)) for value in cells))
                lines.append(Line(label_of(model), tuple(Cell(text) for text in texts)))
    columns = (
        "Model",
        "Recalibration",
        "Intercept",
        "Slope",
        "Brier",
        "Net benefit at the cut-off",
    )
    return Block("", "", columns, tuple(lines), sortable=False)


def _with_error(value: float, error: float) -> tuple[str, str]:
    if not np.isfinite(value):
        return DASH, ""
    half = Z * float(error)
    return _number(value), f"{_number(value - half)} to {_number(value + half)}"


def _number(value: float) -> str:
    return f"{value:z.3f}".replace("-", "\N{MINUS SIGN}") if np.isfinite(value) else DASH


def _percent(one: Estimate) -> tuple[str, str]:
    return f"{100 * one.value:.1f} %", f"{100 * one.low:.1f}{DASH}{100 * one.high:.1f}"


def _sent(report: ValidationReport) -> Block | None:
    found = report.evaluation()
    return None if found is None else performance(report.models, found, report.cutoffs)


def decision_figure(
    models: tuple[str, ...], found: Evaluation, ends: tuple[float, float]
) -> Drawing:
    """Draw net benefit at the thresholds of the study, beside treating everybody and nobody."""
    curves = {model: decision_curve(found.decision, i) for i, model in enumerate(models)}
    paint = partial(_paint_decision, curves=curves, ends=ends)
    return draw("decision", "decision", "Net benefit", paint, width=5.2, height=3.4)


def _paint_decision(
    axes: Axes, curves: dict[str, DecisionCurve], ends: tuple[float, float]
) -> None:
    axes.axhline(0.0, color=LIGHT, lw=1)
    top = 0.1
    for model, curve in curves.items():
        colour, dashes = style_of(model)
        axes.plot(curve.threshold, curve.model, color=colour, ls=dashes, label=label_of(model))
        inside = (curve.threshold >= ends[0]) & (curve.threshold <= ends[1])
        top = max([top, *curve.model[inside], *curve.treat_all[inside]])
    axes.plot(curve.threshold, curve.treat_all, color=GREY, lw=1, label="Everybody")
    axes.set(xlim=ends, ylim=(-0.12 * top, 1.08 * top))
    axes.set(xlabel="Threshold probability, %", ylabel="Net benefit")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda place, _: f"{100 * place:g}")
    axes.legend(loc="upper right")


def _left_out(found: Validation) -> Block:
    lines = tuple(Line(patient, (Cell(why),)) for patient, why in sorted(found.left_out.items()))
    return Block("", "", ("Patient", "Why"), lines)


def _case_mix(report: ValidationReport) -> Block:
    lines = tuple(
        Line(
            one.column,
            (
                Cell(f"{one.training_mean:.3g}", f"SD {one.training_sd:.3g}"),
                Cell("withheld")
                if one.mean is None or one.sd is None
                else Cell(f"{one.mean:.3g}", f"SD {one.sd:.3g}"),
                Cell("" if one.mean is None else _difference(one.mean, one.training_mean, one)),
            ),
        )
        for one in report.case_mix
    )
    columns = ("Column", "Training patients", "Here", "Difference, SD")
    return Block("", "", columns, lines)


def _difference(mean: float, training: float, one: object) -> str:
    spread = getattr(one, "training_sd", 0.0)
    return "" if not spread else f"{(mean - training) / spread:+.2f}".replace("-", "\N{MINUS SIGN}")
