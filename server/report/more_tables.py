"""Tables of lists within lists, one value a line: participants, paths, correlations, training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from server.report.correlation import p_values
from server.report.schema import Results
from server.report.schema_selection import Selection

Cell = str | int | float | None
Table = list[list[Cell]]
Lines = Callable[[Selection], Iterator[list[Cell]]]


def more_tables(results: Results) -> dict[str, Table]:
    """By file name without ending, headings first."""
    return {
        "participants": _participants(results),
        "lasso_cv": _by_arm(results, ["alpha", "error", "spread"], _errors),
        "lasso_path": _by_arm(results, ["feature", "alpha", "coefficient"], _path),
        "correlation": _by_arm(results, ["feature_a", "feature_b", "correlation", "p"], _pairs),
        "training": _training(results),
    }


def _participants(results: Results) -> Table:
    rows: Table = [["site", "trains", "excluded", "set", "n", "positives"]]
    for one in results.participants:
        for name, count in one.sets.items():
            head: list[Cell] = [one.site, int(one.trains), one.excluded]
            rows.append([*head, name, count.n, count.positives])
    return rows


def _by_arm(results: Results, columns: list[Cell], lines: Lines) -> Table:
    rows: Table = [["run", "arm", *columns]]
    for run, arms in results.selection.items():
        for arm, chosen in arms.items():
            rows += [[run, arm, *line] for line in lines(chosen)]
    return rows


def _errors(chosen: Selection) -> Iterator[list[Cell]]:
    if chosen.cv is not None:
        spreads = chosen.cv.spreads or (None,) * len(chosen.cv.alphas)
        for alpha, error, spread in zip(chosen.cv.alphas, chosen.cv.errors, spreads, strict=True):
            yield [alpha, error, spread]


def _path(chosen: Selection) -> Iterator[list[Cell]]:
    if chosen.path is not None:
        for name, values in chosen.path.coefficients.items():
            for alpha, value in zip(chosen.path.alphas, values, strict=True):
                yield [name, alpha, value]


def _pairs(chosen: Selection) -> Iterator[list[Cell]]:
    """Every pair once."""
    if chosen.correlation is not None:
        names, p = chosen.correlation.names, p_values(chosen.correlation)
        for i, row in enumerate(chosen.correlation.values):
            for j in range(i):
                told = None if np.isnan(p[i, j]) else float(p[i, j])
                yield [names[i], names[j], row[j], told]


def _training(results: Results) -> Table:
    rows: Table = [["run", "network", "variant", "series", "round", "value"]]
    for run, networks in results.training.items():
        for network, variants in networks.items():
            for variant, series in variants.items():
                for name, values in series.items():
                    where: list[Cell] = [run, network, variant, name]
                    rows += [[*where, i, value] for i, value in enumerate(values, 1)]
    return rows
