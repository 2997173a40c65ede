"""Table 1 against scipy's tests on the pooled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from scipy import stats

from client.workspace import Workspace
from common.statistics.base import Float
from common.study.model import Study
from sim.equality.findings import Findings, at_most
from sim.equality.sites import pooled_rows

EXACT = 1e-10
# two Monte Carlo estimates of one p from 99 999 tables each differ by less, almost surely
MONTE_CARLO = 0.01
RESAMPLES, OTHER_SEED = 99_999, 1

Row = Mapping[str, Any]


@dataclass
class _Largest:
    """Largest differences so far; withheld and grouped values are kept apart."""

    counts: float = 0.0
    moments: float = 0.0
    p: float = 0.0
    monte_carlo: float | None = None
    grouped: float | None = None
    bands_wrong: int = 0
    held_back: int = 0


def compare_table1(
    findings: Findings,
    rows: Sequence[Row],
    sites: Mapping[str, Workspace],
    study: Study,
    traffic: tuple[int, float],
) -> None:
    """Compare counts, means, medians and p of every variable; withheld values are not compared."""
    sets = ["train", *(test.name for test in study.test_sets)]
    values = {name: pooled_rows(sites, study, "coded", name) for name in sets}
    columns = {column.name: i for i, column in enumerate(study.clinical)}
    found = _Largest()
    for variable, own in groupby(rows, key=lambda row: str(row["variable"]).split(" (")[0]):
        at = columns.get(variable)
        cells = {s: values[s].label if at is None else values[s].values[:, at] for s in sets}
        present = {s: cell[~np.isnan(cell)] for s, cell in cells.items()}
        listed = list(own)
        for level, row in enumerate(listed):
            _cells(found, row, level, present)
        _p(found, listed, present, study)
    step = findings.step(f"Table 1, {len(rows)} rows", "scipy, numpy", traffic)
    step.add("counts", found.counts, at_most(0))
    step.add("mean, SD, quartiles, in SD", found.moments, at_most(EXACT))
    step.add("p", found.p, at_most(EXACT))
    if found.monte_carlo is not None:
        step.add("p by Monte Carlo", found.monte_carlo, at_most(MONTE_CARLO))
    if found.grouped is not None:
        step.add("p of grouped ranks", found.grouped)
    if found.held_back:
        step.add("cells held back by a rule", found.held_back)
        step.add("bands of p that are wrong", found.bands_wrong, at_most(0))


def _cells(found: _Largest, row: Row, level: int, present: Mapping[str, Float]) -> None:
    for name, cell in row["sets"].items():
        values = present[name]
        if cell["suppressed"]:
            found.held_back += 1
            continue
        if row["level"] is not None:
            own = int((values == level).sum())
            found.counts = max(found.counts, abs(cell["n"] - own))
            continue
        found.counts = max(found.counts, abs(cell["n"] - values.size))
        exact = {"mean": values.mean(), "sd": values.std(ddof=1)}
        quartiles = np.quantile(values, [0.25, 0.5, 0.75])
        exact |= dict(zip(("q1", "median", "q3"), quartiles, strict=True))
        # a site that holds a set alone rounds its quartiles
        grouped = "(grouped)" in row["test"] or bool(row.get("note"))
        for key in exact.keys() & cell.keys():
            if not grouped and cell[key] is not None:
                difference = float(abs(cell[key] - exact[key]) / exact["sd"])
                found.moments = max(found.moments, difference)


def _p(found: _Largest, rows: Sequence[Row], present: Mapping[str, Float], study: Study) -> None:
    """Compare p, or the band published in its place.

    A set that one site holds alone is left out if it withholds cells or had to join too many.
    """
    first = rows[0]
    alone = {test.name for test in study.test_sets if len(test.sites) == 1}
    note = str(first.get("note", ""))
    left_out = {s for s in alone if note.startswith("without") and s in note}
    dropped = {s for row in rows for s in alone if row["sets"][s]["suppressed"]} | left_out
    used = [values for s, values in present.items() if s not in dropped and values.size]
    name = str(first["test"])
    exact = _test(name.removesuffix(" (grouped)"), used, len(rows))
    band = first.get("p_band")
    if band is not None:
        found.bands_wrong += not band[0] <= exact <= band[1]
    if first["p"] is None or np.isnan(first["p"]):
        return
    difference = abs(first["p"] - exact)
    if name.endswith("(grouped)"):
        found.grouped = max(found.grouped or 0.0, difference)
    elif "Monte Carlo" in name:
        found.monte_carlo = max(found.monte_carlo or 0.0, difference)
    else:
        found.p = max(found.p, difference)


def _test(name: str, groups: Sequence[Float], levels: int) -> float:
    if name in ("t", "ANOVA"):
        return float(stats.f_oneway(*groups).pvalue)
    if name == "Mann-Whitney":
        two = stats.mannwhitneyu(*groups, alternative="two-sided", method="asymptotic")
        return float(two.pvalue)
    if name == "Kruskal-Wallis":
        return float(stats.kruskal(*groups).pvalue)
    table = np.array([[(group == level).sum() for group in groups] for level in range(levels)])
    table = table[table.sum(axis=1) > 0]
    if name == "Fisher":
        return float(stats.fisher_exact(table).pvalue)
    if name == "Fisher (Monte Carlo)":
        method = stats.MonteCarloMethod(
            n_resamples=RESAMPLES, batch=1_000, rng=np.random.default_rng(OTHER_SEED)
        )
        return float(stats.fisher_exact(table, method=method).pvalue)
    return float(stats.chi2_contingency(table, correction=False).pvalue)
