"""A time to event in the report: rows of results.json, tables, and survival by risk group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from common.evaluation.follow_up import GroupedFollowUp, RiskCalibration, life_table, share_interval
from common.evaluation.follow_up_findings import FollowUpFindings
from common.html.drawing import BLUE, GREY, VERMILION, Drawing, draw, style_of
from common.html.pages import Block, Cell, Line
from common.models import MODELS
from common.statistics.follow_up import at_risk
from common.study.follow_up import FollowUp
from server.report import words
from server.report.reading import main_run, set_label, sets
from server.report.schema import FollowUpMeasures, Results, RiskGroup

Row = dict[str, Any]
GROUPS = ("low", "high")
WITHHELD = "withheld: at two hospitals, or of too few patients with or without the event"
COLOURS = {"low": BLUE, "high": VERMILION}


def method_of(grid: FollowUp) -> str:
    """Describe the area of a table of performance."""
    return (
        f"cumulative, dynamic area at {grid.horizon:g} {grid.unit}, weighted for censoring; pairs"
        " within a site exact, between sites by summed counts"
    )


def performance_rows(
    found: Iterable[FollowUpFindings],
    cutoffs: Mapping[str, float],
    grid: FollowUp,
    counts: Callable[[int, int], Row],
) -> Iterator[Row]:
    """Yield a row of the table of performance: the area at the first horizon.

    Parameters
    ----------
    counts : gives patients and positives of a set as far as they may be shown.
    """
    for one in found:
        for i, (model, cutoff) in enumerate(cutoffs.items()):
            row: Row = {"model": model, "set": one.subset, "cutoff": float(cutoff)}
            row |= counts(one.patients, one.events)
            if one.shown:
                auc, error = one.areas[i, 0].tolist()
                low, high = share_interval(auc, error)
                row |= {"auc": auc, "ci_low": low, "ci_high": high, "ci_method": "logit"}
            yield {**row, "method": method_of(grid) if one.shown else WITHHELD}


def follow_up_rows(
    found: Iterable[FollowUpFindings], cutoffs: Mapping[str, float], grid: FollowUp
) -> Iterator[Row]:
    """Yield all measures of each model on each set."""
    for one in found:
        for i, (model, cutoff) in enumerate(cutoffs.items()):
            key: Row = {"model": model, "set": one.subset, "cutoff": float(cutoff)}
            if not one.shown:
                yield {**key, "note": WITHHELD}
                continue
            areas = [
                {"horizon": horizon, **_named("auc", *one.areas[i, place])}
                for place, horizon in enumerate(grid.horizons)
            ]
            yield {
                **key,
                "n": one.patients,
                "events": one.events,
                **_named("harrell", *one.harrell[i]),
                **_named("uno", *one.uno[i]),
                "areas": areas,
                "log_rank": float(one.tests[i, 0]),
                "p": float(one.tests[i, 1]),
                "log_rank_within": float(one.within[i, 0]),
                "p_within": float(one.within[i, 1]),
                "groups": list(_groups(one.groups[i], grid)),
                **_calibration(one.calibration[i]),
            }


def _calibration(found: RiskCalibration) -> Row:
    """Return predicted and observed risks of all patients, and by group of rising risk."""
    names = ("predicted", "observed", "observed_low", "observed_high")
    columns = (found.n, found.predicted, found.observed, found.low, found.high)
    calibration = [
        {"n": round(n) or None, **dict(zip(names, map(float, own), strict=True))}
        for n, *own in zip(*columns, strict=True)
    ]
    whole = dict(zip(names, map(float, found.whole), strict=True))
    return {**whole, "calibration": calibration}


def _named(name: str, value: float, error: float) -> Row:
    low, high = share_interval(float(value), float(error))
    return {name: float(value), f"{name}_low": low, f"{name}_high": high}


def _groups(found: GroupedFollowUp, grid: FollowUp) -> Iterator[Row]:
    """Yield life tables on joined periods; none where none can be shown."""
    if not found.last.size:
        return
    exposed = at_risk(found.events + found.censored)
    curve = life_table(found.events, found.censored)
    for i, group in enumerate(GROUPS):
        yield {
            "group": group,
            "times": [grid.ends[last] for last in found.last],
            "at_risk": [round(float(n)) for n in exposed[i]],
            "events": [round(float(n)) for n in found.events[i]],
            "censored": [round(float(n)) for n in found.censored[i]],
            "survival": curve.survival[i].tolist(),
            "low": curve.low[i].tolist(),
            "high": curve.high[i].tolist(),
        }


# -- page -----------------------------------------------------------------------------------------


def measured(results: Results) -> list[FollowUpMeasures]:
    """Return the rows of the main run, by set and model."""
    run, order = main_run(results), sets(results)
    rows = [row for row in results.follow_up if row.run == run]
    return sorted(rows, key=lambda row: order.index(row.set) if row.set in order else len(order))


def unit_of(results: Results) -> str:
    """Return the unit of times."""
    settings = results.settings
    return str(settings.follow_up.get("unit", "")) if settings is not None else ""


def follow_up_block(results: Results) -> Block | None:
    """Return concordance, areas and log-rank tests; None in a study without times."""
    rows = measured(results)
    if not rows:
        return None
    horizons = sorted({area.horizon for row in rows for area in row.areas})
    unit = unit_of(results)
    areas = [f"AUC at {horizon:g} {unit}".strip() for horizon in horizons]
    lines = tuple(_line(row, horizons) for row in rows)
    columns = (
        *("Model", "Set", "Patients", "Events", "Concordance (Harrell)", "Concordance (Uno)"),
        *areas,
        *("Predicted risk", "Observed risk"),
        *("P of risk groups", "P within hospitals"),
    )
    return Block("", "", columns, lines)


def _line(row: FollowUpMeasures, horizons: Sequence[float]) -> Line:
    found = {area.horizon: area for area in row.areas}
    areas = [found.get(horizon) for horizon in horizons]
    cells = (
        Cell(set_label(row.set)),
        Cell(words.MISSING if row.n is None else str(row.n)),
        Cell(words.MISSING if row.events is None else str(row.events)),
        Cell(words.auc(row.harrell), words.interval(row.harrell_low, row.harrell_high)),
        Cell(words.auc(row.uno), words.interval(row.uno_low, row.uno_high)),
        *(
            Cell(words.MISSING)
            if area is None
            else Cell(words.auc(area.auc), words.interval(area.auc_low, area.auc_high))
            for area in areas
        ),
        Cell(words.number(row.predicted)),
        Cell(words.number(row.observed), words.interval(row.observed_low, row.observed_high)),
        Cell(words.p_value(row.p)),
        Cell(words.p_value(row.p_within)),
    )
    return Line(MODELS[row.model].label, cells, row.model)


def headline(results: Results) -> str:
    """Say in a sentence what times, periods and risks are; empty in a study without times."""
    settings = results.settings
    if settings is None or not settings.follow_up:
        return ""
    unit, grid = unit_of(results), settings.follow_up
    ends, horizons = (np.atleast_1d(np.asarray(grid[name])) for name in ("ends", "horizons"))
    return (
        f"Times are in {unit}, on a grid of {len(ends)} periods up to {ends[-1]:g} {unit}: none"
        f" left a hospital. Models are Cox models within hospitals and give the risk of"
        f" {results.study.endpoint} by {horizons[0]:g} {unit}. A patient belongs to the group of"
        " high risk from the median out-of-fold risk of the training patients on."
    )


def draw_survival(results: Results) -> Iterator[Drawing]:
    """Draw survival by risk group of each model and set, with the numbers at risk."""
    for row in measured(results):
        if row.groups:
            title = f"{MODELS[row.model].label}, {set_label(row.set).lower()}"
            name = f"survival-{row.model}-{row.set}"
            paint = partial(_paint, groups=row.groups, unit=unit_of(results))
            yield draw("survival", name, title, paint, width=4.6, height=4.2)


def _paint(axes: Axes, groups: Sequence[RiskGroup], unit: str) -> None:
    for place, group in enumerate(groups):
        colour, times = COLOURS[group.group], [0.0, *group.times]
        label = f"{group.group} risk"
        axes.plot(times, _from_one(group.survival), color=colour, label=label)
        low, high = _from_one(group.low), _from_one(group.high)
        axes.fill_between(times, low, high, color=colour, alpha=0.15, lw=0)
        _write_numbers(axes, group, -0.27 - 0.08 * place)
    where = ("axes fraction", "axes fraction")
    axes.annotate("At risk", (0.0, -0.2), xycoords=where, fontsize=7, color=GREY)
    axes.set(xlim=(0, groups[0].times[-1]), ylim=(0, 1.02))
    axes.set(xlabel=f"Time, {unit}", ylabel="Without event, %")
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.legend(loc="lower left", borderpad=0)


def draw_risk_calibration(results: Results) -> Iterator[Drawing]:
    """Draw observed against predicted risks by the first horizon, a figure a set."""
    rows = measured(results)
    for name in dict.fromkeys(row.set for row in rows):
        own = [row for row in rows if row.set == name and any(g.n for g in row.calibration)]
        if own:
            paint = partial(_paint_calibration, rows=own)
            yield draw("risk", f"risk-calibration-{name}", set_label(name), paint, height=3.9)


def _paint_calibration(axes: Axes, rows: Sequence[FollowUpMeasures]) -> None:
    known: list[float] = []
    for row in rows:
        groups = [g for g in row.calibration if g.predicted is not None and g.observed is not None]
        x, y = _known(g.predicted for g in groups), _known(g.observed for g in groups)
        lows = [own.observed_low for own in groups]
        highs = [own.observed_high for own in groups]
        bars = [
            [at - (at if low is None else low) for at, low in zip(y, lows, strict=True)],
            [(at if high is None else high) - at for at, high in zip(y, highs, strict=True)],
        ]
        colour, dash = style_of(row.model)
        label = MODELS[row.model].label
        axes.errorbar(x, y, yerr=bars, color=colour, ls=dash, marker="o", ms=4, lw=1, label=label)
        known += [*x, *y, *(high for high in highs if high is not None)]
    top = min(1.0, 1.1 * max(known, default=1.0))
    axes.plot([0, top], [0, top], color=GREY, lw=1, zorder=0)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="Predicted risk", ylabel="Observed risk")
    axes.legend(loc="upper left", borderpad=0)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _from_one(shares: Sequence[float | None]) -> list[float]:
    return [1.0, *(np.nan if share is None else share for share in shares)]


def _write_numbers(axes: Axes, group: RiskGroup, height: float) -> None:
    """Write how many are at risk when some periods begin, below the axis."""
    shown = [0.0, *_ticks(group.times)]
    for begin, exposed in zip((0.0, *group.times[:-1]), group.at_risk, strict=True):
        if begin in shown:
            axes.annotate(
                str(exposed),
                (begin, height),
                xycoords=("data", "axes fraction"),
                ha="center",
                fontsize=7,
                color=COLOURS[group.group],
                annotation_clip=False,
            )


def _ticks(times: Sequence[float]) -> list[float]:
    """Return at most six of the times, well apart."""
    apart, found = times[-1] / 7.0, [0.0]
    for time in times[:-1]:
        if time - found[-1] >= apart:
            found.append(time)
    return found[1:]
