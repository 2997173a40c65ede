"""The figures of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from common.html.drawing import (
    BLACK,
    BLUE,
    GREY,
    LIGHT,
    LINE_STYLES,
    ORANGE,
    VERMILION,
    Dash,
    Drawing,
    draw,
    draw_correlation,
    shorten,
    style_of,
)
from common.models import MODELS, in_order
from server.report import words
from server.report.follow_up import draw_risk_calibration, draw_survival
from server.report.patients import draw_flow
from server.report.performance_records import Calibration, DecisionCurve, Roc
from server.report.reading import (
    MatrixRow,
    deciding,
    main_run,
    p_values,
    performance_matrix,
    set_label,
    sets,
)
from server.report.schema import Results
from server.report.selection_records import LassoPath, Selection
from server.report.subgroups import draw_strata

MOST_BARS = 25
AUC_FLOOR = 0.4


def draw_figures(results: Results) -> list[Drawing]:
    """Draw all figures that the results have data for, in the order of the page."""
    makers: tuple[Callable[[Results], Iterator[Drawing]], ...] = (
        *(draw_flow, _overviews, draw_survival, draw_risk_calibration, _rocs, _calibrations),
        *(_decision_curves, draw_strata, draw_lassos, draw_paths, _weights, draw_correlations),
        draw_trainings,
    )
    return [drawing for maker in makers for drawing in maker(results)]


def write_figures(drawings: list[Drawing], run_folder: Path) -> list[Path]:
    """Write `figures/NAME.svg` and remove figures of an earlier report that are not drawn."""
    folder = run_folder / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{drawing.name}.svg" for drawing in drawings]
    for stale in set(folder.glob("*.svg")) - set(written):
        stale.unlink()
    for path, drawing in zip(written, drawings, strict=True):
        path.write_text(drawing.svg, encoding="utf-8")
    return written


def _overviews(results: Results) -> Iterator[Drawing]:
    matrix = performance_matrix(results)
    for name in sets(results):
        rows = [row for row in matrix if row.set == name][::-1]
        paint = partial(_paint_overview, rows=rows, ceiling=(results.ceiling or {}).get(name))
        height = 1.45 + 0.3 * len(rows)
        yield draw("overview", f"overview-{name}", set_label(name), paint, height=height)


def _paint_overview(axes: Axes, rows: list[MatrixRow], ceiling: float | None) -> None:
    """Paint the federated AUC with interval, a pooled diamond, a bar over local-only runs."""
    low = AUC_FLOOR
    for place, row in enumerate(rows):
        if row.local is not None:
            span = [row.local.low, row.local.high]
            axes.plot(span, [place - 0.2] * 2, color=ORANGE, lw=4, solid_capstyle="butt", zorder=1)
            axes.plot(row.local.mean, place - 0.2, "|", color=BLACK, ms=7, mew=1.4, zorder=2)
            low = min(low, row.local.low)
        if row.federated is not None and row.federated.auc is not None:
            if row.federated.ci_low is not None and row.federated.ci_high is not None:
                limits = [row.federated.ci_low, row.federated.ci_high]
                axes.plot(limits, [place + 0.12] * 2, color=BLUE, lw=1.4, zorder=2)
                low = min(low, row.federated.ci_low)
            axes.plot(row.federated.auc, place + 0.12, "o", color=BLUE, ms=6, zorder=4)
        if row.pooled is not None and row.pooled.auc is not None:
            style = {"mfc": "white", "mec": VERMILION, "mew": 1.4, "ms": 5.5}
            axes.plot(row.pooled.auc, place + 0.12, "D", zorder=3, ls="", **style)  # type: ignore[arg-type]
            low = min(low, row.pooled.auc)
    if ceiling is not None:
        axes.axvline(ceiling, color=GREY, lw=1, ls=(0, (2, 2)), zorder=0)
    axes.axvline(0.5, color=LIGHT, lw=1, zorder=0)
    labels = [MODELS[row.model].label for row in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set(xlim=(max(0.0, low - 0.03), 1.01), ylim=(-0.6, len(rows) - 0.4), xlabel="AUC")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _percent_axes(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y, aspect="equal")
    ticks, labels = [0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)


def _best_first(model: str) -> int:
    return -in_order(MODELS).index(model)


def _rocs(results: Results) -> Iterator[Drawing]:
    run = main_run(results)
    aucs: dict[tuple[str, str], float | None] = {
        (row.set, row.model): row.auc for row in results.performance if row.run == run
    }
    for name in _order(results, [row.set for row in results.roc if row.run == run]):
        curves = [row for row in results.roc if row.run == run and row.set == name]
        paint = partial(_paint_roc, curves=curves, aucs=aucs)
        yield draw("roc", f"roc-{name}", set_label(name), paint)


def _paint_roc(axes: Axes, curves: list[Roc], aucs: dict[tuple[str, str], float | None]) -> None:
    axes.plot([0, 1], [0, 1], color=LIGHT, lw=1, zorder=0)
    for row in sorted(curves, key=lambda row: _best_first(row.model)):
        colour, dash = style_of(row.model)
        area = words.auc(aucs.get((row.set, row.model)))
        label = f"{MODELS[row.model].label}, AUC {area}"
        axes.plot(row.fpr, row.tpr, color=colour, ls=dash, label=label)
    _percent_axes(axes, "100 % − specificity", "Sensitivity, %")  # noqa: RUF001  true minus sign
    axes.legend(loc="lower right", borderpad=0, handlelength=2.4)


def _calibrations(results: Results) -> Iterator[Drawing]:
    run = main_run(results)
    for name in _order(results, [row.set for row in results.calibration if row.run == run]):
        rows = [row for row in results.calibration if row.run == run and row.set == name]
        paint = partial(_paint_calibration, rows=rows)
        yield draw("calibration", f"calibration-{name}", set_label(name), paint, height=3.9)


def _paint_calibration(axes: Axes, rows: list[Calibration]) -> None:
    """Paint the fusion models, else all: nobody could follow six bands."""
    axes.plot([0, 1], [0, 1], color=LIGHT, lw=1, zorder=0)
    for row in sorted(_fusion_or_all(rows), key=lambda row: _best_first(row.model)):
        points = [
            (group.mean_predicted, group.observed)
            for group in row.bins
            if group.mean_predicted is not None and group.observed is not None
        ]
        colour, dash = style_of(row.model)
        label = f"{MODELS[row.model].label}, Brier {words.number(row.brier)}"
        x, y = [point[0] for point in points], [point[1] for point in points]
        if row.curve is None:
            axes.plot(x, y, color=colour, ls=dash, lw=0.8, marker="o", ms=4, label=label)
            continue
        curve = row.curve
        axes.fill_between(curve.predicted, curve.low, curve.high, color=colour, alpha=0.14, lw=0)
        axes.plot(curve.predicted, curve.observed, color=colour, ls=dash, label=label)
        axes.plot(x, y, color=colour, ls="", marker="o", ms=3.5, mfc="white", mew=1.0)
    _percent_axes(axes, "Predicted risk, %", "Observed share, %")
    _legend_below(axes, ncols=1)


C = TypeVar("C", Calibration, DecisionCurve)


def _fusion_or_all(rows: list[C]) -> list[C]:
    fused = [row for row in rows if row.model.startswith("fusion")]
    return fused or rows


def _decision_curves(results: Results) -> Iterator[Drawing]:
    run = main_run(results)
    for name in _order(results, [row.set for row in results.decision_curve if row.run == run]):
        rows = [row for row in results.decision_curve if row.run == run and row.set == name]
        paint = partial(_paint_decision, rows=rows, ends=deciding(results))
        yield draw("decision", f"decision-{name}", set_label(name), paint, height=4.1)


def _paint_decision(axes: Axes, rows: list[DecisionCurve], ends: tuple[float, float]) -> None:
    """Paint the thresholds at which one would decide; bands of the fusion models, else of all."""
    everybody = [_nan(value) for value in rows[0].treat_all]
    axes.plot(rows[0].thresholds, everybody, color=GREY, lw=1, label="Treat all")
    axes.axhline(0, color=BLACK, lw=1, label="Treat none")
    banded = _fusion_or_all(rows)
    for row in sorted(rows, key=lambda row: _best_first(row.model)):
        colour, dash = style_of(row.model)
        label = MODELS[row.model].label
        if row.low and row in banded:
            low, high = ([_nan(v) for v in edge] for edge in (row.low, row.high))
            axes.fill_between(row.thresholds, low, high, color=colour, alpha=0.12, lw=0)
        axes.plot(
            row.thresholds, [_nan(v) for v in row.net_benefit], color=colour, ls=dash, label=label
        )
    inside = [
        v
        for row in rows
        for t, *values in zip(
            row.thresholds,
            row.net_benefit,
            row.treat_all,
            *([row.high] if row.high and row in banded else []),
            strict=True,
        )
        if ends[0] <= t <= ends[1]
        for v in values
        if v is not None
    ]
    top = max([0.1, *inside])
    axes.set(xlim=ends, ylim=(-0.12 * top, 1.08 * top))
    axes.set(xlabel="Threshold probability, %", ylabel="Net benefit")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda place, _: f"{100 * place:g}")
    _legend_below(axes)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _weights(results: Results) -> Iterator[Drawing]:
    for model, chosen in results.selection.get(main_run(results), {}).items():
        own = chosen.svm.weights if chosen.svm is not None else {}
        own = own if chosen.cox is None else chosen.cox.log_hazard_ratios
        weights = own or chosen.coefficients
        if weights:
            largest = _largest(weights, MOST_BARS)
            what = "SVM weight" if own else "LASSO coefficient"
            what = what if chosen.cox is None else "Logarithm of the hazard ratio"
            paint = partial(_paint_weights, bars=largest[::-1], what=what)
            title = words.model_label(model)
            if len(weights) > MOST_BARS:
                title += f", {MOST_BARS} of {len(weights)}"
            height = 1.0 + 0.2 * len(largest)
            yield draw("weights", f"weights-{model}", title, paint, width=5.2, height=height)


def _largest(weights: Mapping[str, float], most: int) -> list[tuple[str, float]]:
    return sorted(weights.items(), key=lambda item: (-abs(item[1]), item[0]))[:most]


def _paint_weights(axes: Axes, bars: list[tuple[str, float]], what: str) -> None:
    values = [value for _, value in bars]
    colours = [VERMILION if value > 0 else BLUE for value in values]
    hatches = ["" if value > 0 else "////" for value in values]
    axes.barh(range(len(bars)), values, color=colours, height=0.65, hatch=hatches, ec="white", lw=0)
    axes.axvline(0, color=GREY, lw=0.8)
    axes.set_yticks(range(len(bars)), [shorten(name, 44) for name, _ in bars], fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(xlabel=f"{what} (per standard deviation)", ylim=(-0.6, len(bars) - 0.4))


def _legend_below(axes: Axes, ncols: int = 2) -> None:
    """Put the legend under the axis label, where no line can run through it."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.15), ncols=ncols, handlelength=2.4)


def _order(results: Results, names: list[str]) -> list[str]:
    return [name for name in sets(results) if name in names]


def draw_lassos(results: Results) -> Iterator[Drawing]:
    """Draw the cross-validated error at each penalty (paper, figure S1)."""
    for model, chosen in results.selection.get(main_run(results), {}).items():
        if chosen.cv is not None and chosen.cv.alphas:
            paint = partial(_paint_lasso, chosen=chosen)
            yield draw("lasso", f"lasso-{model}", words.model_label(model), paint, height=2.7)


def _paint_lasso(axes: Axes, chosen: Selection) -> None:
    if chosen.cv is None:
        return
    order = np.argsort(chosen.cv.alphas)
    alphas, errors = np.array(chosen.cv.alphas)[order], np.array(chosen.cv.errors)[order]
    if chosen.cv.spreads:
        spread = np.array(chosen.cv.spreads)[order]
        axes.fill_between(alphas, errors - spread, errors + spread, color=LIGHT, lw=0)
    axes.plot(alphas, errors, color=BLUE, marker=".", ms=4)
    _mark_chosen(axes, chosen)
    axes.set(xscale="log", xlabel="LASSO penalty", ylabel="Cross-validated error")
    _plain_penalties(axes)


def _mark_chosen(axes: Axes, chosen: Selection) -> None:
    if chosen.alpha is not None and chosen.alpha > 0:
        label = f"chosen: {words.compact(chosen.alpha)}"
        axes.axvline(chosen.alpha, color=VERMILION, lw=1.2, ls=(0, (4, 2)), label=label)
        axes.legend(loc="best", borderpad=0.2)


def _plain_penalties(axes: Axes) -> None:
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_paths(results: Results) -> Iterator[Drawing]:
    """Draw the coefficients along the penalties (paper, figure S1)."""
    for model, chosen in results.selection.get(main_run(results), {}).items():
        if chosen.path is not None and chosen.path.coefficients:
            count = len(chosen.path.coefficients)
            title = f"{words.model_label(model)}: {words.count_word(count, 'feature')}"
            paint = partial(_paint_path, path=chosen.path, chosen=chosen)
            named = min(len(chosen.coefficients), len(LINE_STYLES))
            yield draw("path", f"path-{model}", title, paint, height=3.0 + 0.17 * named)


def _paint_path(axes: Axes, path: LassoPath, chosen: Selection) -> None:
    styles = cycle(LINE_STYLES)
    named = {name for name, _ in _largest(chosen.coefficients, len(LINE_STYLES))}
    for name, values in path.coefficients.items():
        if name in named:
            colour, dash = next(styles)
            shown: dict[str, Any] = {"color": colour, "ls": dash, "lw": 1.3}
            shown["label"] = shorten(name, 34)
        else:
            width = 0.9 if name in chosen.coefficients else 0.5
            shown = {"color": GREY, "lw": width, "zorder": 1}
        axes.plot(path.alphas, values, **shown)
    axes.axhline(0, color=BLACK, lw=0.8)
    axes.set(xscale="log", xlabel="LASSO penalty", ylabel="Coefficient")
    _mark_chosen(axes, chosen)
    _plain_penalties(axes)
    _legend_below(axes, ncols=1)


def draw_correlations(results: Results) -> Iterator[Drawing]:
    """Draw the rank correlation of the selected features over all sites (figure 3G)."""
    for model, chosen in results.selection.get(main_run(results), {}).items():
        if chosen.correlation is not None and len(chosen.correlation.names) > 1:
            found = chosen.correlation
            title = words.model_label(model)
            if found.n is not None:
                title += f" (n={found.n})"
            labels = [shorten(name, 34) for name in found.names]
            values, p = np.array(found.values), p_values(found)
            where = ("correlation", f"correlation-{model}")
            yield draw_correlation(*where, title, labels, values, p)


def draw_trainings(results: Results) -> Iterator[Drawing]:
    """Draw a figure for every network and kind of loss that has a value a round."""
    for network, variants in results.training.get(main_run(results), {}).items():
        for measure in dict.fromkeys(name for series in variants.values() for name in series):
            lines = {
                name: series[measure]
                for name, series in variants.items()
                if len(series.get(measure, ())) > 1
            }
            if not lines:
                continue
            paint = partial(_paint_training, lines=lines)
            title = f"{words.model_label(network)}: {words.humanise(measure).lower()}"
            yield draw("training", f"training-{network}-{measure}", title, paint, height=3.0)


def _paint_training(axes: Axes, lines: dict[str, tuple[float | None, ...]]) -> None:
    styles = cycle([style for style in LINE_STYLES if style[1] != "-"])
    for name, values in lines.items():
        final = len(lines) == 1 or name in ("final", "full")
        style: tuple[str, Dash] = (BLACK, "-") if final else next(styles)
        rounds = range(1, len(values) + 1)
        label = words.humanise(words.variant_label(name))
        axes.plot(
            rounds,
            [np.nan if v is None else v for v in values],
            color=style[0],
            ls=style[1],
            label=label,
            lw=1.3,
        )
    axes.set(xlabel="Round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(lines) > 1:
        axes.legend(loc="best", ncols=2, borderpad=0, handlelength=2.4)
