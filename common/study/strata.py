"""Strata of a study: their levels, the level of each patient, and the columns that folds deal by.

A column with two levels, or with unordered ones, is used unchanged. A continuous column and an
ordinal one with more levels are cut in two at the median of the training patients, which belongs to
the lower part, as the paper compares T1-2 with T3-4.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.statistics.base import Float
from common.study.model import ClinicalColumn, Study
from common.transforms import InLevel, Select
from common.transforms.views import Joined, View, table


def dealt_columns(study: Study) -> tuple[ClinicalColumn, ...]:
    """Return the clinical columns whose rare levels decide the folds; see `client.data.folds`."""
    if study.privacy.min_category < 2 or "clinical" not in study.tables:
        return ()
    return tuple(c for c in study.clinical if c.kind in ("binary", "categorical"))


def asks_for_levels(study: Study) -> bool:
    """Return whether hospitals need the counts of all of them before they deal.

    A hospital that trains alone, such as the imagined one of a pooled reference, knows them.
    """
    return len(study.training_sites) > 1 and bool(dealt_columns(study))


TABLE = "strata"


def strata_columns(study: Study) -> tuple[ClinicalColumn, ...]:
    """Return the study's strata, in its order."""
    by_name = {column.name: column for column in study.clinical}
    return tuple(by_name[name] for name in study.strata)


def is_cut(column: ClinicalColumn) -> bool:
    """Return whether a cut makes the column's levels."""
    return column.kind == "continuous" or (column.kind == "ordinal" and len(column.levels) > 2)


def most_levels(column: ClinicalColumn) -> int:
    """Return the largest possible number of levels."""
    return 2 if is_cut(column) else len(column.levels)


def level_names(column: ClinicalColumn, cut: float | None) -> tuple[str, ...]:
    """Return the levels in words; a column that lacks a cut it needs has none."""
    if not is_cut(column):
        return column.levels
    if cut is None:
        return ()
    if column.kind == "continuous":
        value = f"{cut:.12g} {column.unit}".strip()
        return f"up to {value}", f"over {value}"
    low, high = column.levels[: int(cut) + 1], column.levels[int(cut) + 1 :]
    return _span(low), _span(high)


def _span(levels: tuple[str, ...]) -> str:
    return levels[0] if len(levels) == 1 else f"{levels[0]} to {levels[-1]}"


def level_codes(study: Study, coded: Float, cuts: Mapping[str, float]) -> Float:
    """Return the level of every patient in every stratum (n, strata), NaN where there is none.

    Parameters
    ----------
    coded : (n, clinical columns), numbers and level indices as read.
    cuts : by column; a value up to the cut has level 0, one above it level 1.
    """
    place = {column.name: i for i, column in enumerate(study.clinical)}
    codes = np.full((coded.shape[0], len(study.strata)), np.nan)
    for position, column in enumerate(strata_columns(study)):
        values = coded[:, place[column.name]]
        if not is_cut(column):
            codes[:, position] = values
        elif column.name in cuts:
            above = (values > cuts[column.name]).astype(np.float64)
            codes[:, position] = np.where(np.isfinite(values), above, np.nan)
    return codes


def level_view(models: tuple[str, ...], variable: str, level: int) -> View:
    """Return the view of the test patients of one level: the only view that leaves rows out."""
    scores = table("scores").then(Select(columns=models))
    levels = table(TABLE).then(Select(columns=(variable,)))
    step = InLevel(column=variable, level=level, columns=models)
    return View(source=Joined(parts=(scores, levels)), transforms=(step,))
