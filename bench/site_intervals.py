"""Count how often intervals over hospitals hold the truth, and how often true hypotheses fall.

Scores of both classes are normal, of two models equally good whose scores correlate by a half;
`--draws` sets of each size and true AUC go through what a study asks of its hospitals: class-wise
histograms, placements and calibration sums over several, scores in groups at one. Writes its own
section of results.md.

python -m bench.site_intervals [--draws 2000] [--workers 2]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from bench.tables import conditions, put_section, table
from common.evaluation.average_precision import (
    average_precision,
    precision_error,
    precision_interval,
)
from common.evaluation.calibration_fit import (
    CalibrationFit,
    Points,
    calibration_question,
    fit_grouped,
    fit_sums,
)
from common.evaluation.delong import auc_interval, paired_test
from common.evaluation.joined_scores import group_scores, joined_areas
from common.evaluation.level_areas import difference_test
from common.statistics.base import Rows, add
from common.statistics.class_histogram import (
    QUANTILES,
    ClassHistogram,
    ClassHistogramResult,
    score_edges,
)
from common.statistics.placements import DeLongResult
from server.phases.strata import coarse_edges, placements_of

Array = NDArray[np.float64]
# patients, sites, positives: the paper's sets, and one that is hardly more than the least
SETS = {
    "300 at 4 sites": (300, 4, 126),
    "120 at 2 sites": (120, 2, 50),
    "89 at 1 site": (89, 1, 37),
    "44 at 1 site": (44, 1, 11),
    "13 at 1 site": (13, 1, 5),
}
AREAS = (0.75, 0.9, 0.95, 0.97, 0.99)
MINIMUM, FEWEST_LEVEL, FEWEST_CLASS, Z = 3, 10, 5, float(scipy.stats.norm.ppf(0.975))
KINDS = {
    "auc": "AUC",
    "precision": "average precision",
    "large": "calibration in the large",
    "slope": "calibration slope",
    "paired": "paired test, P < 0.05",
    "levels": "test of two subgroups, P < 0.05",
}


@dataclass
class Tally:
    """Successes of each kind, and trials."""

    hits: dict[str, int] = field(default_factory=dict)
    trials: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, hit: bool) -> None:
        """Count one trial."""
        self.hits[kind] = self.hits.get(kind, 0) + int(hit)
        self.trials[kind] = self.trials.get(kind, 0) + 1

    def share(self, kind: str) -> str:
        """Return the share, a dash without trials; of few, with their number."""
        trials = self.trials.get(kind, 0)
        return f"{self.hits[kind] / trials:.3f}" if trials > 100 else "-"


def drawn(label: Array, area: float, rng: np.random.Generator) -> Array:
    """Return probabilities (n, 2), calibrated, of two models of the same true AUC."""
    shift = float(scipy.stats.norm.ppf(area)) * math.sqrt(2.0)
    common, own = rng.normal(size=(label.size, 1)), rng.normal(size=(label.size, 2))
    x = math.sqrt(0.5) * (common + own) + shift * label[:, None]
    odds = label.sum() / (label.size - label.sum())
    found: Array = scipy.special.expit(shift * x - shift**2 / 2.0 + math.log(odds))
    return found


def true_precision(area: float, share: float) -> float:
    """Return the average precision of infinitely many patients."""
    shift = float(scipy.stats.norm.ppf(area)) * math.sqrt(2.0)
    tpr = (np.arange(200_000) + 0.5) / 200_000
    fpr = scipy.stats.norm.sf(scipy.stats.norm.isf(tpr) + shift)
    return float((share * tpr / (share * tpr + (1.0 - share) * fpr)).mean())


def over_sites(parts: list[Rows], statistic: Any) -> Any:
    """Return a statistic summed over sites."""
    sums = statistic.from_rows(parts[0])
    for part in parts[1:]:
        sums = add(sums, statistic.from_rows(part))
    return statistic.finalise(sums)


def measured(
    parts: list[Rows], edges: Array
) -> tuple[DeLongResult, CalibrationFit, list[Points], Array]:
    """Return what a study finds of a set, and the edges for its levels."""
    if len(parts) == 1:
        (rows,) = parts
        grouped = group_scores(rows, edges, MINIMUM)
        points = [Points.of_rows(own, rows.label) for own in grouped.values.T]
        areas = joined_areas(rows.values, rows.label, MINIMUM)
        return areas, fit_grouped(rows, edges, MINIMUM), points, edges
    histogram = over_sites(parts, ClassHistogram(edges=edges))
    first, one = [_first(part) for part in parts], _first_of(histogram)
    asked = calibration_question(one)
    fit = fit_sums(one, asked, over_sites(first, asked))
    areas = over_sites(parts, placements_of(histogram, MINIMUM))
    return areas, fit, [Points.of_cells(one, 0)], coarse_edges(one, MINIMUM)


def _first(rows: Rows) -> Rows:
    """Return the rows with the first model alone."""
    return replace(rows, values=rows.values[:, :1], columns=rows.columns[:1])


def _first_of(found: ClassHistogramResult) -> ClassHistogramResult:
    """Return the histogram of the first model alone."""
    return ClassHistogramResult(found.edges[:1], found.counts[:1], found.single[:1])


def level_areas(parts: list[Rows], edges: Array) -> DeLongResult:
    """Return the areas of the first model in a level."""
    parts = [_first(part) for part in parts]
    if len(parts) == 1:
        return joined_areas(parts[0].values, parts[0].label, MINIMUM)
    histogram = over_sites(parts, ClassHistogram(edges=edges))
    found: DeLongResult = over_sites(parts, placements_of(histogram, MINIMUM))
    return found


def trial(tally: Tally, size: tuple[int, int, int], area: float, rng: np.random.Generator) -> None:
    """Draw a set, measure it, and count what holds."""
    n, sites, positives = size
    label = rng.permutation((np.arange(n) < positives).astype(np.float64))
    values = drawn(label, area, rng)
    training = drawn((np.arange(300) < 126).astype(np.float64), area, rng)
    edges = score_edges(np.quantile(training, QUANTILES, axis=0).T)
    # unequal sites: the first has twice as many patients as the others
    site = np.minimum(np.arange(n) % (sites + 1), sites - 1)
    level = rng.integers(0, 2, n)

    def rows(own: Any) -> Rows:
        places = np.flatnonzero(own)
        fold = np.zeros(places.size, dtype=np.int64)
        return Rows(values[places], ("a", "b"), label[places], fold)

    areas, fit, points, coarse = measured([rows(site == one) for one in range(sites)], edges)
    _count_set(tally, areas, fit, points, area)
    _count_large(tally, values[:, :1], edges[:1], MINIMUM if sites == 1 else 1, rng)
    counts = [np.bincount(label[level == one].astype(int), minlength=2) for one in range(2)]
    if min(own.sum() for own in counts) < FEWEST_LEVEL or np.min(counts) < FEWEST_CLASS:
        return
    both = [
        level_areas([rows((site == s) & (level == one)) for s in range(sites)], coarse)
        for one in range(2)
    ]
    auc = [float(one.auc[0]) for one in both]
    variances = [float(one.covariance[0, 0]) for one in both]
    _, freedom, p = difference_test(auc, variances, np.array(counts, dtype=np.float64))
    if freedom:
        tally.add("levels", p < 0.05)


def _count_set(
    tally: Tally, areas: DeLongResult, fit: CalibrationFit, points: list[Points], area: float
) -> None:
    n, positives = areas.n, areas.positives
    own = auc_interval(areas.auc[0], areas.covariance[0, 0], n - positives, positives)
    tally.add("auc", own.low <= area <= own.high)
    low, high = precision_interval(
        average_precision(points[0]), precision_error(points[0]), positives
    )
    tally.add("precision", low <= TRUTH[area, positives / n] <= high)
    if np.isfinite(fit.slope[0]):
        tally.add("slope", bool(abs(fit.slope[0] - 1.0) <= Z * fit.slope_error[0]))
    p = paired_test(areas, 0, 1)[1]
    tally.add("paired", p < 0.05)


def _count_large(
    tally: Tally, values: Array, edges: Array, minimum: int, rng: np.random.Generator
) -> None:
    """Draw outcomes anew, whose number varies as that of patients to come does."""
    label = (rng.random(len(values)) < values[:, 0]).astype(np.float64)
    fit = fit_grouped(Rows(values, ("a",), label, np.zeros(label.size, np.int64)), edges, minimum)
    if np.isfinite(fit.large[0]):
        tally.add("large", bool(abs(fit.large[0]) <= Z * fit.large_error[0]))


TRUTH = {
    (area, positives / n): true_precision(area, positives / n)
    for n, _, positives in SETS.values()
    for area in AREAS
}


def one_tally(job: tuple[str, float, int]) -> Tally:
    """Return the tally of a set and true AUC."""
    name, area, draws = job
    rng, tally = np.random.default_rng([SETS[name][0], round(1000 * area)]), Tally()
    for _ in range(draws):
        trial(tally, SETS[name], area, rng)
    return tally


def tallies(draws: int, workers: int) -> dict[str, list[Tally]]:
    """Return the tally of each true AUC, by set."""
    jobs = [(name, area, draws) for name in SETS for area in AREAS]
    with ProcessPoolExecutor(workers) as pool:
        found = list(pool.map(one_tally, jobs))
    return {
        name: found[place * len(AREAS) : (place + 1) * len(AREAS)]
        for place, name in enumerate(SETS)
    }


def text(found: Mapping[str, list[Tally]], draws: int) -> str:
    """Return the section."""
    rows = [
        [name if first == 0 else "", what, *(tally.share(kind) for tally in own)]
        for name, own in found.items()
        for first, (kind, what) in enumerate(KINDS.items())
    ]
    heading = ("set", f"{draws} draws", *(f"AUC {area}" for area in AREAS))
    sizes = ", ".join(f"{name}: {size[2]} positive" for name, size in SETS.items())
    note = (
        "Share of draws whose 95 % interval holds the true value, and share in which a test of two"
        f" equal models, or of two equal subgroups of random halves, has P < 0.05. {sizes}."
        " Outcomes are drawn anew for calibration in the large. A dash: a rule withholds the figure"
        " (slopes of fewer than 15 of an outcome at one hospital,"
        f" subgroups of fewer than 10 patients or 5 of an outcome). {conditions()}"
    )
    return f"{note}\n\n{table(heading, rows)}"


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    section = text(tallies(given.draws, given.workers), given.draws)
    put_section("site-intervals", section)
    print(section)


if __name__ == "__main__":
    main()
