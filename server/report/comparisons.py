"""Comparisons of models: the primary one, and exploratory ones corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.html.pages import Block, Cell, Line
from common.models import MODELS
from common.statistics.base import Float
from common.study.analysis import PrimaryComparison
from common.utils.portable import Z_95
from server.report import words
from server.report.performance_records import DeLong
from server.report.reading import main_run, set_label
from server.report.schema import Results

PRIMARY, EXPLORATORY = "primary", "exploratory"

Row = dict[str, Any]


def with_roles(rows: Sequence[Mapping[str, Any]], primary: PrimaryComparison | None) -> list[Row]:
    """Return the rows of one run's paired tests with their roles; Holm's P of the exploratory.

    Parameters
    ----------
    rows : with `set`, `model_a`, `model_b` and `p`.
    """
    roles = [PRIMARY if _is(row, primary) else EXPLORATORY for row in rows]
    others = [i for i, role in enumerate(roles) if role == EXPLORATORY]
    corrected = holm([_number(rows[i]["p"]) for i in others])
    found = [{**row, "role": role} for row, role in zip(rows, roles, strict=True)]
    if primary is not None:
        found = [_as_declared(row, primary) if row["role"] == PRIMARY else row for row in found]
    for i, p in zip(others, corrected.tolist(), strict=True):
        found[i]["p_holm"] = p
    return found


def with_holm(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of one run's tests of subgroups with Holm's P, all of them exploratory."""
    corrected = holm([_number(row["p"]) for row in rows]).tolist()
    return [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]


def _is(row: Mapping[str, Any], primary: PrimaryComparison | None) -> bool:
    if primary is None or row["set"] != primary.set:
        return False
    return {row["model_a"], row["model_b"]} == {primary.model_a, primary.model_b}


def _as_declared(row: Row, primary: PrimaryComparison) -> Row:
    """Return the row with the models in the order of the study file."""
    if row["model_a"] == primary.model_a:
        return row
    turned = {"model_a": primary.model_a, "model_b": primary.model_b, "z": _negated(row["z"])}
    low, high = row["difference_high"], row["difference_low"]
    ends = {"difference": row["difference"], "difference_low": low, "difference_high": high}
    return {**row, **turned, **{name: _negated(value) for name, value in ends.items()}}


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _number(p: float | None) -> float:
    return math.nan if p is None else float(p)


def difference_of(auc_a: float, auc_b: float, z: float) -> Row:
    """Return the difference of two AUCs with its 95 % interval, from the z of the paired test.

    >>> found = difference_of(0.9, 0.8, 2.0)
    >>> round(found["difference"], 3), round(found["difference_low"], 3)
    (0.1, 0.002)
    """
    difference = auc_a - auc_b
    half = abs(Z_95 * difference / z) if z and math.isfinite(z) else math.nan
    return {
        "difference": difference,
        "difference_low": difference - half,
        "difference_high": difference + half,
    }


def primary_row(results: Results) -> DeLong | None:
    """Return the primary comparison of the main run."""
    run = main_run(results)
    return next((row for row in results.delong if row.run == run and row.role == PRIMARY), None)


def primary_block(results: Results) -> Block | None:
    """Return the table of the primary comparison."""
    row = primary_row(results)
    if row is None:
        return None
    span = words.signed_interval(row.difference_low, row.difference_high)
    cells = (
        Cell(words.number(row.difference), span, "difference"),
        Cell(words.p_value(row.p), key="p_primary", strong=row.p is not None and row.p < 0.05),
    )
    pair = f"{MODELS[row.model_a].label} against {words.lowered(MODELS[row.model_b].label)}"
    title = f"{pair}, {set_label(row.set).lower()}"
    columns = ("Primary comparison", "Difference of AUCs (95% CI)", "P (DeLong)")
    return Block("", "", columns, (Line(title, cells, "primary"),), "primary", sortable=False)


def primary_sentence(results: Results) -> str:
    """Write the result of the primary comparison for the summary; empty without one."""
    row = primary_row(results)
    if row is None or row.difference is None:
        return ""
    span = words.signed_interval(row.difference_low, row.difference_high)
    one, other = (words.lowered(MODELS[name].label) for name in (row.model_a, row.model_b))
    return (
        f"Primary comparison, declared before: on the {set_label(row.set).lower()} the AUC of"
        f" {one} minus that of {other} is"
        f" {words.number(row.difference)} (95% CI {span}), P {_with_sign(words.p_value(row.p))}."
    )


def _with_sign(p: str) -> str:
    return f"{p[0]} {p[1:]}" if p[:1] in "<>" else f"= {p}"


def comparison_sentence(results: Results) -> str:
    """Say which comparison is primary, and what the P values of the others are corrected for."""
    run = main_run(results)
    others = [row for row in results.delong if row.run == run and row.role == EXPLORATORY]
    tested = sum(row.p_holm is not None for row in others)
    if not results.delong:
        return ""
    corrected = (
        f"All other comparisons are exploratory: under each P stands that corrected by Holm for"
        f" their number ({tested}, over all sets)."
    )
    if primary_row(results) is None:
        declared = results.settings and results.settings.analysis.get("primary")
        why = (
            "The primary comparison that the study declared could not be tested."
            if declared
            else "The study declared no primary comparison."
        )
        return f"{why} {corrected.replace('All other', 'All')}"
    return (
        f"The primary comparison was declared in the study that the hospitals approved. {corrected}"
    )


def holm(p: Sequence[float] | Float) -> Float:
    """Return P values (n,) corrected by Holm's method (1979, Scand J Stat 6:65-70).

    They bound the chance of any false finding among the tests, whatever their dependence. A test
    that was not made (NaN) does not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(given))
    order = known[np.argsort(given[known], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    corrected = np.full(given.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return corrected
