"""Show how models foretell a time to event, of a hospital's own patients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from client.report.site_run import SiteRun, title_of
from common.evaluation.follow_up import life_table, share_interval
from common.evaluation.follow_up_findings import FollowUpFindings, measure_locally
from common.html.drawing import BLUE, VERMILION, Drawing, draw
from common.html.pages import Block, Cell, Line
from common.models import label_of
from common.statistics.base import Rows
from common.study.follow_up import FollowUp

DASH = "\N{EN DASH}"
CELLS = 1000
"""Cells of the risk, whose middle stands for the risks in it: fine enough for three decimals."""


def performance(models: Sequence[str], found: FollowUpFindings, grid: FollowUp) -> Block:
    """Return concordance, areas, risks and tests of all models as a table."""
    areas = [f"AUC at {horizon:g} {grid.unit}" for horizon in grid.horizons]
    ends = ("Predicted risk", "Observed risk", "P of risk groups")
    columns = ("Model", "Concordance (Harrell)", "Concordance (Uno)", *areas, *ends)
    lines = tuple(Line(label_of(m), _measures(found, i)) for i, m in enumerate(models))
    return Block("", "", columns, lines)


def _measures(found: FollowUpFindings, i: int) -> tuple[Cell, ...]:
    predicted, observed, low, high = found.calibration[i].whole.tolist()
    return (
        _estimate(*found.harrell[i].tolist()),
        _estimate(*found.uno[i].tolist()),
        *(_estimate(*area) for area in found.areas[i].tolist()),
        Cell(_number(predicted)),
        Cell(_number(observed), f"{_number(low)}{DASH}{_number(high)}"),
        Cell(_number(float(found.tests[i, 1]))),
    )


def _estimate(value: float, error: float) -> Cell:
    if not np.isfinite(value):
        return Cell(DASH)
    low, high = share_interval(value, error)
    return Cell(_number(value), f"{_number(low)}{DASH}{_number(high)}")


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else DASH


def calibration(models: Sequence[str], found: FollowUpFindings) -> Block:
    """Return predicted and observed risks in groups of rising risk; withheld ones are left out."""
    lines = tuple(
        Line(
            label_of(model),
            (
                Cell(f"{n:.0f}"),
                Cell(_number(predicted)),
                Cell(_number(observed), f"{_number(low)}{DASH}{_number(high)}"),
            ),
        )
        for model, own in zip(models, found.calibration, strict=True)
        for n, predicted, observed, low, high in zip(
            own.n, own.predicted, own.observed, own.low, own.high, strict=True
        )
        if n
    )
    return Block("", "", ("Model", "Patients", "Predicted risk", "Observed risk"), lines)


def curves(models: Sequence[str], found: FollowUpFindings, grid: FollowUp) -> list[Drawing]:
    """Draw life tables of the patients of low and of high risk, a figure a model."""
    return [
        draw("survival", f"survival-{model}", label_of(model), paint, width=3.4, height=3.1)
        for i, model in enumerate(models)
        if found.groups[i].last.size
        for paint in (partial(_paint, found=found, i=i, grid=grid),)
    ]


def _paint(axes: Axes, found: FollowUpFindings, i: int, grid: FollowUp) -> None:
    group = found.groups[i]
    curve = life_table(group.events, group.censored)
    times = [0.0, *(grid.ends[last] for last in group.last.tolist())]
    for place, (colour, name) in enumerate(((BLUE, "low risk"), (VERMILION, "high risk"))):
        own = [1.0, *curve.survival[place].tolist()]
        axes.plot(times, own, color=colour, label=name)
    axes.set(xlim=(0, times[-1]), ylim=(0, 1.02), xlabel=f"Time, {grid.unit}")
    axes.set(ylabel="Without event")
    axes.legend(loc="lower left")


def followed_of(
    run: SiteRun,
) -> tuple[list[tuple[str, str, Block, list[Drawing]]], list[str]]:
    """Return title, note, measures and curves of each test set, and reasons for sets without.

    Measures are exact, for the hospital's own eyes. Risk groups are parted at the median of the
    hospital's own patients, since the study's cut-offs are not kept here.
    """
    found: list[tuple[str, str, Block, list[Drawing]]] = []
    without: list[str] = []
    grid = run.study.time_grid
    last = np.array(grid.last_periods, dtype=np.int64)
    for subset in run.test_sets:
        rows = _rows(run, subset)
        if rows is None:
            without.append(f"{subset}: not evaluated yet")
            continue
        cuts = np.median(rows.values, axis=0)
        edges = np.tile(np.linspace(0.0, 1.0, CELLS + 1), (cuts.size, 1))
        measured = measure_locally(rows, subset, cuts, edges, last, grid.periods, 1)
        if not measured.shown:
            without.append(f"{subset}: the patients here all had the event, or none had")
            continue
        note = f"{rows.n} patients, {measured.events} with the event."
        table = performance(rows.columns, measured, grid)
        found.append((title_of(subset), note, table, curves(rows.columns, measured, grid)))
    return found, without


def _rows(run: SiteRun, subset: str) -> Rows | None:
    """Return risks and outcomes of a test set, None where the run has not scored it."""
    scores = run.table("scores", subset)
    if scores is None:
        return None
    own = {patient.patient_id: patient for patient in run.patients(subset)}
    patients = [own[name] for name in scores.patients]
    return Rows(
        values=scores.values,
        columns=tuple(scores.columns),
        label=np.array([float(patient.label) for patient in patients]),
        fold=np.full(len(patients), -1, dtype=np.int64),
        period=np.array([patient.period for patient in patients], dtype=np.int64),
    )
