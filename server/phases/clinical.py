"""Clinical model: missing values, z-score, LASSO, SVM (paper, "Clinical model construction").

Missing values are filled once, with means and most frequent levels of all training patients. These
see no label, so that no fold is spared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from common.dossier.disclosure import Phase, sum_disclosure
from common.messages.exchanges import SumItem
from common.models import MODELS
from common.statistics.base import Float
from common.statistics.fold_histogram import FoldHistogramResult, Support
from common.statistics.moments import Means, Missingness
from common.study.model import Study
from common.transforms import Impute, Select
from common.transforms.views import View, table
from server.phases.fitted_model import FittedModel, ModelPhase, register
from server.phases.linear import fit_linear_model, linear_asks
from server.phases.near_zero_variance import (
    fold_histograms,
    frequent_alone,
    frequent_clinical,
    rows_and_ones,
    split,
    variance_asks,
)
from server.phases.protocol import Federation
from server.phases.standardise import moments_asks, standardise


def fit_clinical(federation: Federation) -> FittedModel:
    """Fit the clinical model."""
    columns = federation.columns("clinical")
    raw = table("clinical").then(Select(columns=columns))
    means, missing = federation.sum_many(
        [SumItem(Means(), raw, "train"), SumItem(Missingness(), raw, "train")]
    )
    known = tuple(name for name, n in zip(columns, missing.present, strict=True) if n > 0)
    at = [columns.index(name) for name in known]
    fill = fill_values(federation.study, columns, means.mean)[at]
    lacking = [
        name
        for name, sites in zip(columns, missing.sites_lacking, strict=True)
        if sites > 0 and name in known
    ]
    study = federation.study
    flags = _indicators(study, lacking) if study.selection.missing_indicators else ()
    impute = Impute(columns=known, fill=fill, indicators=flags)
    filled = raw.restrict(known).then(impute)
    (scaled,), (constant,) = standardise(federation, [filled])
    view, support, rare, notes, differ = _without_rare(federation, scaled)
    nobody = [name for name in columns if name not in known]
    if nobody:
        notes.append(f"no site has a value of {', '.join(nobody)}: left out")
    selection: dict[str, Any] = {
        "steps": (
            {"step": "columns", "names": filled.outputs()},
            {"step": "constant", "names": constant},
            {"step": "rare", "names": rare},
        ),
        "notes": tuple(notes),
        "left_out": _left_out(federation.study, view.outputs(), differ),
    }
    outer = federation.study.folds + 1
    views = [view] * outer
    return fit_linear_model(federation, "clinical", views, [support] * outer, views, selection)


def clinical_asks(study: Study) -> Phase:
    """Declare what `fit_clinical` asks for."""
    width, filled = len(study.clinical_columns), widest_clinical(study)
    fitted, rounds = linear_asks(study, filled, tables=1)
    asked = (
        sum_disclosure(study, Means(), width),
        sum_disclosure(study, Missingness(), width),
        *moments_asks(study, filled, 1),
        variance_asks(study, filled),
        *fitted,
    )
    return Phase("clinical", "The clinical model", 4 + rounds, asked)


def widest_clinical(study: Study) -> int:
    """Return the most columns that the filled table has, with a companion for each variable."""
    flags = len(study.clinical) if study.selection.missing_indicators else 0
    return len(study.clinical_columns) + flags


def _without_rare(
    federation: Federation, view: View
) -> tuple[View, Support, tuple[str, ...], list[str], dict[str, int]]:
    """Leave nearly constant columns out; one round.

    Returns
    -------
    The view, its evidence, names of what is left out, notes, and how many patients differ from the
    most frequent level, or usual value, of each clinical column.
    """
    study, names = federation.study, view.outputs()
    (found,) = federation.sum_many(fold_histograms(study, [view]))
    stays = frequent_clinical(study, names, found)
    kept, rare = split(names, stays)
    alone = split(names, frequent_alone(study, names, found))[0]
    support = found.support().narrow(np.flatnonzero(stays))
    notes = _merged(study, rare, alone)
    return view.restrict(kept), support, rare, notes, _differ(study, names, found)


def _differ(study: Study, names: tuple[str, ...], found: FoldHistogramResult) -> dict[str, int]:
    """Count the patients who differ from the most frequent level, or usual value, by column."""
    rows, ones = rows_and_ones(found)
    apart, place = found.support().apart.sum(axis=0), {name: i for i, name in enumerate(names)}
    differ = {}
    for column in study.clinical:
        levels = [place[n] for level in column.levels if (n := f"{column.name}={level}") in place]
        if column.name in place:
            differ[column.name] = round(float(apart[place[column.name]]))
        elif levels:
            n, own = rows[:, levels[0]].sum(), ones[:, levels].sum(axis=0)
            differ[column.name] = round(float(n - max(n - own.sum(), own.max())))
    return differ


def _left_out(
    study: Study, kept: tuple[str, ...], differ: dict[str, int]
) -> tuple[dict[str, Any], ...]:
    """List the declared columns of which nothing is kept, with the patients who differ.

    Parameters
    ----------
    differ : by column; columns without any value, or with one value, are not among them.
    """
    used = {name.partition("=")[0] for name in kept}
    return tuple(
        {
            "column": column.name,
            "differ": shown_count(differ.get(column.name, 0), study.privacy.min_cell),
        }
        for column in study.clinical
        if column.name not in used
    )


def shown_count(n: int, minimum: int) -> int | None:
    """Return a count, None where it is small enough to be withheld."""
    return None if 0 < n < minimum else n


def _merged(study: Study, rare: tuple[str, ...], alone: tuple[str, ...]) -> list[str]:
    """Say why columns were left out: too few differ in them, or have their reference level.

    Parameters
    ----------
    alone : columns that are frequent by their own counts.
    """
    notes = []
    few = [name for name in rare if name not in alone]
    if few:
        listed = ", ".join(few)
        notes.append(
            f"too few patients differ in {listed}: left out, a level joins its reference level"
        )
    for column in study.clinical:
        levels = {f"{column.name}={level}" for level in column.levels}
        joins = [name for name in rare if name in alone and name in levels]
        if joins:
            which = "the rarest other level, joins" if len(joins) == 1 else "the rarest ones, join"
            notes.append(
                f"too few patients have the reference level {column.name}={column.levels[0]}:"
                f" {', '.join(joins)}, {which} it"
            )
    return notes


def fill_values(study: Study, columns: tuple[str, ...], mean: Float) -> Float:
    """Return the mean of a number or order, the most frequent level of a category.

    Parameters
    ----------
    mean : (p,), by clinical column; of level columns the share of that level.
    """
    fill = mean.copy()
    place = {name: i for i, name in enumerate(columns)}
    for column in study.clinical:
        if column.kind in ("continuous", "ordinal"):
            continue
        at = [place[f"{column.name}={level}"] for level in column.levels[1:]]
        shares = np.array([1.0 - mean[at].sum(), *mean[at]])
        mode = int(np.argmax(np.nan_to_num(shares)))
        fill[at] = [1.0 if index == mode else 0.0 for index in range(1, len(column.levels))]
    return fill


def _indicators(study: Study, lacking: list[str]) -> tuple[str, ...]:
    """Choose one companion column for each clinical variable that some site lacks altogether.

    A companion is 1 at that site and seldom elsewhere, so that it stands for the site. What a model
    learns from it is how frequent the endpoint is there, which other hospitals do not share.
    """
    chosen = []
    for column in study.clinical:
        own = [
            name for name in lacking if name == column.name or name.startswith(f"{column.name}=")
        ]
        chosen.extend(own[:1])
    return tuple(chosen)


register(
    ModelPhase(
        MODELS["clinical"], lambda sites, _: fit_clinical(sites), clinical_asks, widest_clinical
    )
)
