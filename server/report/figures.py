"""The figures of the report: what each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes

from common.html.drawing import (
    BLACK,
    BLUE,
    GREY,
    LIGHT,
    MODEL_STYLE,
    ORANGE,
    VERMILION,
    Drawing,
    draw,
)
from server.report import words
from server.report.flow import draw_flow
from server.report.reading import (
    MODEL_ORDER,
    MatrixRow,
    main_run,
    performance_matrix,
    set_label,
    sets,
)
from server.report.schema import Calibration, DecisionCurve, Results, Roc
from server.report.selection_figures import draw_correlations, draw_lassos, draw_paths
from server.report.strata import draw_strata
from server.report.training_figures import draw_trainings

MOST_BARS = 25
AUC_FLOOR = 0.4


def draw_figures(results: Results) -> list[Drawing]:
    """All figures that the results have data for, in the order of the page."""
    makers: tuple[Callable[[Results], Iterator[Drawing]], ...] = (
        *(draw_flow, _overviews, _rocs, _calibrations, _decision_curves, draw_strata),
        *(draw_lassos, draw_paths, _weights, draw_correlations, draw_trainings),
    )
    return [drawing for maker in makers for drawing in maker(results)]


def write_figures(drawings: list[Drawing], run_folder: Path) -> list[Path]:
    """Write `figures/NAME.svg`; figures of an earlier report that are not drawn now are removed."""
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
    """Federated point with interval, pooled diamond, bar over the span of the local-only runs."""
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
    labels = [words.MODEL_LABELS[row.model] for row in rows]
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
    return -MODEL_ORDER.index(model)


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
        colour, dash = MODEL_STYLE[row.model]
        area = words.auc(aucs.get((row.set, row.model)))
        label = f"{words.MODEL_LABELS[row.model]}, AUC {area}"
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
    """Fusion models and, without them, all models: six zigzags could not be told apart."""
    axes.plot([0, 1], [0, 1], color=LIGHT, lw=1, zorder=0)
    for row in sorted(_fusion_or_all(rows), key=lambda row: _best_first(row.model)):
        points = [
            (group.mean_predicted, group.observed)
            for group in row.bins
            if group.mean_predicted is not None and group.observed is not None
        ]
        colour, dash = MODEL_STYLE[row.model]
        label = f"{words.MODEL_LABELS[row.model]}, Brier {words.number(row.brier)}"
        x, y = [point[0] for point in points], [point[1] for point in points]
        axes.plot(x, y, color=colour, ls=dash, marker="o", ms=4, label=label)
    _percent_axes(axes, "Predicted risk, %", "Observed share, %")
    _legend_below(axes, ncols=1)


def _fusion_or_all(rows: list[Calibration]) -> list[Calibration]:
    fused = [row for row in rows if row.model.startswith("fusion")]
    return fused or rows


def _decision_curves(results: Results) -> Iterator[Drawing]:
    run = main_run(results)
    for name in _order(results, [row.set for row in results.decision_curve if row.run == run]):
        rows = [row for row in results.decision_curve if row.run == run and row.set == name]
        paint = partial(_paint_decision, rows=rows)
        yield draw("decision", f"decision-{name}", set_label(name), paint, height=4.1)


def _paint_decision(axes: Axes, rows: list[DecisionCurve]) -> None:
    everybody = [_nan(value) for value in rows[0].treat_all]
    axes.plot(rows[0].thresholds, everybody, color=GREY, lw=1, label="Treat all")
    axes.axhline(0, color=BLACK, lw=1, label="Treat none")
    for row in sorted(rows, key=lambda row: _best_first(row.model)):
        colour, dash = MODEL_STYLE[row.model]
        label = words.MODEL_LABELS[row.model]
        axes.plot(
            row.thresholds, [_nan(v) for v in row.net_benefit], color=colour, ls=dash, label=label
        )
    known = [v for row in rows for v in (*row.net_benefit, *row.treat_all) if v is not None]
    top = max([0.1, *known])
    axes.set(xlim=(0, 1), ylim=(-0.12 * top, 1.08 * top))
    axes.set(xlabel="Threshold probability, %", ylabel="Net benefit")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    _legend_below(axes)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _weights(results: Results) -> Iterator[Drawing]:
    for arm, chosen in results.selection.get(main_run(results), {}).items():
        own = chosen.svm.weights if chosen.svm is not None else {}
        weights = own or chosen.coefficients
        if weights:
            largest = sorted(weights.items(), key=lambda item: (-abs(item[1]), item[0]))[:MOST_BARS]
            what = "SVM weight" if own else "LASSO coefficient"
            paint = partial(_paint_weights, bars=largest[::-1], what=what)
            title = words.arm_label(arm)
            if len(weights) > MOST_BARS:
                title += f", {MOST_BARS} of {len(weights)}"
            height = 1.0 + 0.2 * len(largest)
            yield draw("weights", f"weights-{arm}", title, paint, width=5.2, height=height)


def _paint_weights(axes: Axes, bars: list[tuple[str, float]], what: str) -> None:
    values = [value for _, value in bars]
    colours = [VERMILION if value > 0 else BLUE for value in values]
    hatches = ["" if value > 0 else "////" for value in values]
    axes.barh(range(len(bars)), values, color=colours, height=0.65, hatch=hatches, ec="white", lw=0)
    axes.axvline(0, color=GREY, lw=0.8)
    axes.set_yticks(range(len(bars)), [words.shorten(name, 44) for name, _ in bars], fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(xlabel=f"{what} (per standard deviation)", ylim=(-0.6, len(bars) - 0.4))


def _legend_below(axes: Axes, ncols: int = 2) -> None:
    """Under the axis label, where no line can run through it."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.15), ncols=ncols, handlelength=2.4)


def _order(results: Results, names: list[str]) -> list[str]:
    return [name for name in sets(results) if name in names]
