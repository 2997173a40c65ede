"""Clinical table filled and z-scored on the pooled rows, as the reference of the clinical model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from client.workspace import Workspace
from common.statistics.base import Float, Int, Rows
from common.study.model import ClinicalColumn, Study
from common.transforms.views import materialise
from server.phases.fitted_model import FittedModel
from sim.equality import references
from sim.equality.findings import Findings, at_most
from sim.equality.linear import before_machine, steps_of
from sim.equality.sites import PooledTables, pooled_rows


def pooled_clinical(sites: Mapping[str, Workspace], study: Study) -> Rows:
    """Return z-scores of the training rows: numbers filled with the mean, categories with the mode.

    A variable that some training site lacks altogether gets a companion column where the study
    wants it; columns that do not vary are left out, and so are nearly constant ones.
    """
    coded = pooled_rows(sites, study, "coded", "train")
    own = [sites[name].tables.read("coded", "train").values for name in study.training_sites]
    blocks: list[tuple[str, Float]] = []
    flags: list[tuple[str, Float]] = []
    for index, column in enumerate(study.clinical):
        cells = coded.values[:, index]
        missing = np.isnan(cells)
        if missing.all():
            continue
        made = _columns(column, cells, missing)
        blocks += made
        lacks = any(np.isnan(values[:, index]).all() for values in own)
        if lacks and study.selection.missing_indicators:
            flags.append((f"{made[0][0]}:missing", missing.astype(np.float64)))
    every = blocks + flags
    raw = np.column_stack([values for _, values in every])
    varies = np.ptp(raw, axis=0) > 0
    z, _ = references.standardised(raw[:, varies])
    names = tuple(name for (name, _), good in zip(every, varies, strict=True) if good)
    usual = _usual(study, names, raw[:, varies], z, coded.fold)
    kept = tuple(name for name, good in zip(names, usual, strict=True) if good)
    return Rows(values=z[:, usual], columns=kept, label=coded.label, fold=coded.fold)


def _usual(
    study: Study, names: tuple[str, ...], raw: Float, z: Float, fold: Int
) -> NDArray[np.bool_]:
    """Return the columns that are not nearly constant; a rare level joins the reference level."""
    fewest = study.privacy.min_category
    usual = ~references.nearly_constant(z, fold, fewest)

    def too_few(flag: Float) -> bool:
        ones = [flag[fold == k].sum() for k in range(study.folds)]
        zeros = [(1.0 - flag)[fold == k].sum() for k in range(study.folds)]
        return references.too_few(ones, fewest) or references.too_few(zeros, fewest)

    for column in study.clinical:
        levels = [i for i, name in enumerate(names) if name.partition("=")[0] == column.name]
        levels = [i for i in levels if "=" in names[i] and ":" not in names[i]]
        for i in levels:
            usual[i] &= not too_few(raw[:, i])
        while kept := [i for i in levels if usual[i]]:
            if not too_few(raw[:, kept].sum(axis=1)):
                break
            usual[min(kept, key=lambda i: raw[:, i].sum())] = False
    for i, name in enumerate(names):
        usual[i] &= not (name.endswith(":missing") and too_few(raw[:, i]))
    return usual


def compare_filling(
    findings: Findings,
    model: FittedModel,
    tables: PooledTables,
    pooled: Rows,
    traffic: tuple[int, float],
) -> None:
    """Compare columns of the clinical model, and the values of those in the final machine.

    Parameters
    ----------
    pooled : from `pooled_clinical`, clipped in guarded mode.
    """
    steps = steps_of(model)
    own = set(steps["columns"]["names"])
    own -= {*steps["constant"]["names"], *steps["rare"]["names"]}
    rows = materialise(before_machine(model.final), tables, "train")
    at = [pooled.columns.index(name) for name in rows.columns if name in pooled.columns]
    used = [i for i, name in enumerate(rows.columns) if name in pooled.columns]
    step = findings.step("clinical: z-score", "StandardScaler", traffic)
    step.add("columns of one side only", len(own ^ set(pooled.columns)), at_most(0))
    step.add(
        "values, in SD",
        np.abs(rows.values[:, used] - pooled.values[:, at]).max(),
        at_most(1e-9),
    )


def _columns(column: ClinicalColumn, cells: Float, missing: Float) -> list[tuple[str, Float]]:
    known = cells[~missing.astype(np.bool_)]
    if column.kind in ("continuous", "ordinal"):
        return [(column.name, np.where(missing, known.mean(), cells))]
    filled = np.where(missing, stats.mode(known).mode, cells)
    return [
        (f"{column.name}={level}", (filled == index).astype(np.float64))
        for index, level in enumerate(column.levels)
        if index > 0
    ]
