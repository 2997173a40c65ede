"""Queries of the results that tables, figures and page share: models, sets and runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from common.models import in_order
from server.report.performance_records import DeLong, Performance
from server.report.schema import Results
from server.report.selection_records import Correlation
from server.report.words import humanise


def models(results: Results) -> list[str]:
    """Return the models with any performance, base models first."""
    return list(in_order({row.model for row in results.performance}))


def sets(results: Results) -> list[str]:
    """Return the sets with any performance: train, the declared test sets, then any other."""
    found = _unique(row.set for row in results.performance)
    declared = ["train", *(test.name for test in results.study.test_sets)]
    return [name for name in declared if name in found] + [n for n in found if n not in declared]


def test_sets(results: Results) -> list[str]:
    """Return `sets` without the training set."""
    return [name for name in sets(results) if name != "train"]


def runs(results: Results) -> list[str]:
    """Return federated, pooled, then local runs in roster order; only those that ran."""
    found = _unique(row.run for row in results.performance)
    roster = [f"local:{site.name}" for site in results.study.sites]
    order = ["federated", "pooled", *roster]
    return [run for run in order if run in found] + [run for run in found if run not in order]


def local_runs(results: Results) -> list[str]:
    """Return the runs in which one hospital trained alone."""
    return [run for run in runs(results) if run.startswith("local:")]


def main_run(results: Results) -> str:
    """Return the run that curves, weights and comparisons show: federated if there is one."""
    found = runs(results)
    return "federated" if "federated" in found or not found else found[0]


def headline_model(results: Results) -> str | None:
    """Return the model that the summary is about: decision fusion, else the next one built."""
    return next(reversed(models(results)), None)


def set_label(name: str) -> str:
    """Write a set in words: `external_test_1` and `external1` -> `External test set 1`."""
    if name == "train":
        return "Training set"
    plain = name.replace("_", " ")
    stem = plain.rstrip("0123456789")
    digits = plain[len(stem) :]
    kept = [word for word in stem.split() if word.lower() not in ("test", "set")]
    return humanise(" ".join([*kept, "test set", digits]))


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class LocalSummary:
    """AUC over the hospitals that trained alone: mean, smallest, largest, how many."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class MatrixRow:
    """One model on one set in all runs; None where a run did not give it."""

    model: str
    set: str
    federated: Performance | None
    pooled: Performance | None
    local: LocalSummary | None
    local_rows: tuple[Performance, ...]

    @property
    def any_row(self) -> Performance | None:
        """Row that tells the numbers of patients: federated, else pooled, else one hospital's."""
        return self.federated or self.pooled or next(iter(self.local_rows), None)


def performance_matrix(results: Results) -> list[MatrixRow]:
    """Return all runs side by side: a row per set and model, sets outermost."""
    index: dict[tuple[str, str, str], Performance] = {
        (row.run, row.model, row.set): row for row in results.performance
    }
    alone = local_runs(results)
    rows = []
    for name in sets(results):
        for model in models(results):
            local_rows = tuple(
                index[run, model, name] for run in alone if (run, model, name) in index
            )
            row = MatrixRow(
                model=model,
                set=name,
                federated=index.get(("federated", model, name)),
                pooled=index.get(("pooled", model, name)),
                local=_summarise(local_rows),
                local_rows=local_rows,
            )
            if row.any_row is not None:
                rows.append(row)
    return rows


def primary(row: MatrixRow, run: str) -> Performance | None:
    """Return the row's performance in the main run."""
    candidates = (row.federated, row.pooled, *row.local_rows)
    return next((found for found in candidates if found is not None and found.run == run), None)


def _summarise(rows: tuple[Performance, ...]) -> LocalSummary | None:
    aucs = [row.auc for row in rows if row.auc is not None]
    if not aucs:
        return None
    return LocalSummary(sum(aucs) / len(aucs), min(aucs), max(aucs), len(aucs))


def comparison(results: Results, run: str, name: str, model: str, reference: str) -> DeLong | None:
    """Return the test of two models on one set, in whichever order it was stored."""
    for row in results.delong:
        same_place = row.run == run and row.set == name
        if same_place and {row.model_a, row.model_b} == {model, reference}:
            return row
    return None


def deciding(results: Results) -> tuple[float, float]:
    """Return the range of thresholds of the decision curves; all in files without it."""
    written = results.settings.analysis.get("thresholds") if results.settings else None
    if not isinstance(written, tuple):
        return 0.0, 1.0
    low, high = written
    return float(low), float(high)


FEWEST_FOR_P = 3


def p_values(found: Correlation) -> NDArray[np.float64]:
    """Return two-sided P (p, p) of no correlation, NaN where the patients are not known.

    t = r sqrt((n - 2) / (1 - r^2)) with n - 2 degrees of freedom, as in scipy's `spearmanr`; an
    approximation that is good from about ten patients on. Not corrected for the number of pairs.
    """
    r = np.clip(np.array(found.values, dtype=float), -1.0, 1.0)
    if found.n is None or found.n < FEWEST_FOR_P:
        return np.full(r.shape, np.nan)
    freedom = found.n - 2
    with np.errstate(divide="ignore"):
        t = np.abs(r) * np.sqrt(freedom / (1.0 - r**2))
    p: NDArray[np.float64] = 2.0 * stdtr(freedom, -t)
    np.fill_diagonal(p, np.nan)
    return p
