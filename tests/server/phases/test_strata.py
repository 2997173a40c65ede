"""Areas within levels over sites, against scikit-learn and DeLong on the pooled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from common.evaluation.delong import auc_interval, exact, logit_estimate
from common.evaluation.level_areas import areas_by_level, difference_test
from common.statistics.base import Rows
from common.statistics.class_histogram import QUANTILES, score_edges
from common.study.model import PrivacySettings, Study
from common.study.strata import level_codes, level_names
from server.phases.strata import strata_cuts, strata_findings
from server.report.performance_records import StratumTest
from server.report.rows import FEW, SMALL, UNMASKED, level_fits, strata_rows
from tests import builders

NAMES = ("clinical", "radiomics")
N = 160
RANDOM = np.random.default_rng(4)
LABELS = (RANDOM.random(N) < 0.4).astype(float)
LOGITS = RANDOM.normal(size=(N, 2)) + LABELS[:, None] * np.array([1.4, 0.7])
SCORES = 1 / (1 + np.exp(-LOGITS))
SITE = np.arange(N) % 7 % 4
LEVEL = (RANDOM.random(N) < 0.45).astype(float)
EDGES = score_edges(np.quantile(SCORES, QUANTILES, axis=0).T)


def sites_of(codes: Any) -> dict[str, dict[str, Rows]]:
    def rows(values: Any, columns: tuple[str, ...], own: Any) -> Rows:
        return Rows(values[own], columns, LABELS[own], np.full(int(own.sum()), -1))

    return {
        name: {
            "scores@t": rows(SCORES, NAMES, site == SITE),
            "strata@t": rows(codes[:, None], ("sex",), site == SITE),
        }
        for site, name in enumerate("abcd")
    }


@dataclass
class Found:
    """Rows of results.json, and the sites that were asked for them."""

    strata: list[dict[str, Any]]
    strata_tests: list[dict[str, Any]]
    fits: list[dict[str, Any]]


def find(codes: Any, **privacy: Any) -> tuple[Found, builders.Recorded]:
    study = builders.open_study(
        sites="abcd",
        strata=["sex"],
        tests={"t": ("external_test", "abcd")},
        clinical=[builders.levels("sex", "female", "male")],
    )
    federation = builders.federation(sites_of(codes), study)
    # the sites answer any question; what is asked follows the usual thresholds
    usual = PrivacySettings(**privacy)
    federation.study = study.model_copy(update={"privacy": usual})
    found = strata_findings(federation, NAMES, EDGES, {}, {})
    fits = [*level_fits(NAMES, found, usual.min_cell)]
    return Found(*strata_rows(NAMES, found), fits), federation


def test_areas_intervals_and_tests_are_those_of_the_pooled_rows() -> None:
    found, sites = find(LEVEL)
    assert len(sites.rounds) == 3
    assert len(found.strata) == 4
    for row in found.strata:
        own = ("female", "male").index(row["level"]) == LEVEL
        column = NAMES.index(row["model"])
        assert (row["n"], row["positives"]) == (own.sum(), LABELS[own].sum())
        expected = roc_auc_score(LABELS[own], SCORES[own, column])
        assert row["auc"] == pytest.approx(expected, abs=0.01)
        pooled = exact(SCORES[own], LABELS[own])
        positives = LABELS[own].sum()
        counts = own.sum() - positives, positives
        whole = auc_interval(expected, pooled.covariance[column, column], *counts)
        width = whole.high - whole.low
        assert row["ci_high"] - row["ci_low"] == pytest.approx(width, rel=0.12)
    for row in found.strata_tests:
        column = NAMES.index(row["model"])
        parts = [exact(SCORES[i == LEVEL], LABELS[i == LEVEL]) for i in (0, 1)]
        a, b = (float(part.auc[column]) for part in parts)
        va, vb = (float(part.covariance[column, column]) for part in parts)
        spread = va / (a * (1 - a)) ** 2 + vb / (b * (1 - b)) ** 2
        z = (special.logit(a) - special.logit(b)) / np.sqrt(spread)
        assert row["p"] == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.08)
        assert row["levels"] == 2


def test_calibration_within_levels_is_that_of_the_pooled_rows() -> None:
    found, sites = find(LEVEL)
    assert len(sites.rounds) == 3
    assert len(found.fits) == 4
    for row in found.fits:
        own = ("female", "male").index(row["level"]) == LEVEL
        x = LOGITS[own, NAMES.index(row["model"])]
        line = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x[:, None], LABELS[own])
        assert row["slope"] == pytest.approx(line.coef_[0, 0], abs=0.02)
        assert row["intercept"] == pytest.approx(line.intercept_[0], abs=0.02)
        expected = LABELS[own].sum() / SCORES[own, NAMES.index(row["model"])].sum()
        assert row["oe"] == pytest.approx(expected, rel=1e-9)
        assert (row["n"], row["note"]) == (own.sum(), "")


def test_of_a_level_with_few_patients_only_counts_are_asked_for() -> None:
    codes = np.zeros(N)
    codes[np.flatnonzero(LABELS == 1)[:4]] = 1
    codes[np.flatnonzero(LABELS == 0)[:5]] = 1
    found, sites = find(codes)
    male = [row for row in found.strata if row["level"] == "male"]
    assert all((row["n"], row["positives"], row["note"]) == (9, 4, FEW) for row in male)
    assert all(not np.isfinite(row["auc"]) for row in male)
    assert not found.strata_tests
    few = [row for row in found.fits if row["level"] == "male"]
    assert [(row["note"], "slope" in row) for row in few] == [(FEW, False)] * 2
    levels = [item.view.transforms[-1].level for asked in sites.rounds[1:] for item in asked]
    assert set(levels) == {0}
    cells = [item.statistic.edges.shape[1] for item in sites.rounds[0][1:]]
    assert cells == [2, 2]


def test_a_small_count_takes_a_second_level_with_it() -> None:
    codes = np.zeros(N)
    codes[np.flatnonzero(LABELS == 1)[:2]] = 1
    codes[np.flatnonzero(LABELS == 0)[:30]] = 1
    found, _ = find(codes)
    assert {row["note"] for row in found.strata} == {SMALL}
    assert not any("n" in row for row in found.strata)


def test_without_masks_nothing_is_asked_for() -> None:
    found, sites = find(LEVEL, masking="off")
    assert not sites.rounds
    assert {row["note"] for row in found.strata} == {UNMASKED}


def test_one_site_says_of_its_levels_what_the_coordinator_would_publish() -> None:
    rows = Rows(values=SCORES, columns=NAMES, label=LABELS, fold=np.full(N, -1))
    codes = LEVEL.copy()
    codes[:3] = np.nan
    whole = areas_by_level(rows, codes, 2, PrivacySettings(), EDGES)
    assert not whole.hidden.any()
    for level in (0, 1):
        own = codes == level
        expected = roc_auc_score(LABELS[own], SCORES[own, 0])
        assert whole.areas[level].auc[0] == pytest.approx(expected, abs=0.005)
    few = np.zeros(N)
    few[np.flatnonzero(LABELS == 1)[:1]] = 1
    hidden = areas_by_level(rows, few, 2, PrivacySettings(), EDGES)
    assert hidden.hidden.all() and not hidden.counts.any()
    assert all(area.n == 0 and np.isnan(area.auc).all() for area in hidden.areas)
    assert all(fit.n == 0 and np.isnan(fit.slope).all() for fit in hidden.fits)
    assert [fit.n for fit in whole.fits] == [int((codes == level).sum()) for level in (0, 1)]
    assert all(np.isfinite(fit.slope).all() for fit in whole.fits)


def test_the_test_of_two_areas_is_the_square_of_z_on_the_logit() -> None:
    counts = np.full((2, 2), 30.0)
    statistic, freedom, p = difference_test([0.8, 0.7], [0.004, 0.006], counts)
    spread = sum(logit_estimate(*one, 30, 30)[1] for one in ((0.8, 0.004), (0.7, 0.006)))
    z = (special.logit(0.8) - special.logit(0.7)) / np.sqrt(spread)
    assert (statistic, freedom) == (pytest.approx(z**2), 1)
    assert p == pytest.approx(2 * stats.norm.sf(z))
    assert difference_test([0.8, np.nan], [0.1, np.nan], counts)[1] == 0


@pytest.mark.parametrize(
    ("sizes", "area"), [(((25, 35), (18, 26)), 0.95), (((12, 40), (25, 60), (15, 15)), 0.8)]
)
def test_the_test_of_equal_areas_rejects_one_in_twenty(sizes: Any, area: float) -> None:
    rng = np.random.default_rng(5)
    shift = np.sqrt(2) * stats.norm.ppf(area)
    counts = np.array([[n, p] for p, n in sizes], dtype=float)
    found = []
    for _ in range(600):
        parts = []
        for positives, negatives in sizes:
            label = np.repeat([1.0, 0.0], [positives, negatives])
            parts.append(exact(rng.normal(shift * label)[:, None], label))
        areas = [float(part.auc[0]) for part in parts]
        variances = [float(part.covariance[0, 0]) for part in parts]
        found.append(difference_test(areas, variances, counts)[2])
    # three standard errors of 600 draws
    assert abs(np.mean(np.array(found) < 0.05) - 0.045) < 0.027


def test_a_level_in_perfect_order_takes_part_in_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = SCORES.copy()
    ordered = LEVEL == 0
    scores[ordered, 1] = 0.15 + 0.6 * LABELS[ordered]
    monkeypatch.setitem(globals(), "SCORES", scores)
    found, _ = find(LEVEL)
    areas = {(row["model"], row["level"]): row["auc"] for row in found.strata}
    assert areas["radiomics", "female"] == 1.0
    clinical, radiomics = found.strata_tests
    assert clinical["p"] > 0 and clinical["note"] == ""
    assert (radiomics["model"], radiomics["levels"]) == ("radiomics", 2)
    assert 0.0 < radiomics["p"] < 0.01
    StratumTest(run="federated", **radiomics)


def strata_study(*columns: dict[str, Any]) -> Study:
    names = [column["name"] for column in columns]
    return builders.open_study(clinical=list(columns), strata=names)


def coded_sites(values: Any, columns: tuple[str, ...]) -> Any:
    """Training patients of three unequal sites, in random order."""
    order = np.random.default_rng(2).permutation(len(values))
    shares = np.split(order, [len(order) * 3 // 10, len(order) * 13 // 20])
    return {
        name: {
            "coded": Rows(
                values=values[own],
                columns=columns,
                label=np.arange(own.size) % 2 * 1.0,
                fold=np.arange(own.size) % 5,
            )
        }
        for name, own in zip("abc", shares, strict=True)
    }


def test_cuts_are_medians_of_all_training_patients() -> None:
    study = strata_study(
        builders.number("age"),
        builders.levels("stage", "1", "2", "3", "4"),
    )
    rng = np.random.default_rng(1)
    values = np.column_stack([rng.normal(62, 9, 200), rng.choice(4, 200, p=[0.3, 0.25, 0.25, 0.2])])
    cuts = strata_cuts(builders.federation(coded_sites(values, ("age", "stage")), study))
    assert cuts["age"] == pytest.approx(np.median(values[:, 0]), abs=0.5)
    assert cuts["stage"] == 1.0


@pytest.mark.parametrize(
    ("patients", "low", "high"),
    [
        # the training, internal and external sets of the paper
        ((96, 117, 67, 20), "T1 to T2", "T3 to T4"),
        ((31, 34, 19, 6), "T1 to T2", "T3 to T4"),
        ((33, 52, 29, 6), "T1 to T2", "T3 to T4"),
        ((2, 6, 15, 21), "T1 to T3", "T4"),
        # half of the patients up to a level are enough
        ((20, 30, 30, 20), "T1 to T2", "T3 to T4"),
        ((50, 20, 20, 10), "T1", "T2 to T4"),
        ((49, 21, 20, 10), "T1 to T2", "T3 to T4"),
        # a median at the top, of all levels or of those that occur, leaves somebody above the cut
        ((10, 10, 20, 60), "T1 to T3", "T4"),
        ((30, 70, 0, 0), "T1", "T2 to T4"),
        ((60, 0, 0, 40), "T1", "T2 to T4"),
    ],
)
def test_the_median_level_is_the_last_of_the_lower_part(
    patients: tuple[int, ...], low: str, high: str
) -> None:
    stage = builders.levels("stage", "T1", "T2", "T3", "T4")
    study = strata_study(stage)
    values = np.repeat(np.arange(4.0), patients)[:, None]
    cuts = strata_cuts(builders.federation(coded_sites(values, ("stage",)), study))
    assert level_names(study.clinical[0], cuts["stage"]) == (low, high)


@pytest.mark.parametrize("decimals", [0, 1, None])
def test_patients_at_a_continuous_median_belong_to_the_lower_part(decimals: int | None) -> None:
    study = strata_study(builders.number("age", decimals=decimals))
    # every fifth patient is 62, as many are younger as are older
    ages = np.concatenate([np.linspace(40, 61, 80), np.full(40, 62.0), np.linspace(63, 84, 80)])
    cuts = strata_cuts(builders.federation(coded_sites(ages[:, None], ("age",)), study))
    codes = level_codes(study, ages[:, None], cuts)[:, 0]
    assert (codes[ages == 62.0] == 0.0).all()
    assert (codes[ages > 63.0] == 1.0).all()


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        (RANDOM.lognormal(4, 2.5, 200), None),
        (np.round(RANDOM.lognormal(4, 2.5, 200), 1), 1),
        (np.append(RANDOM.normal(60, 9, 199), 1e6), None),
        (1e9 + RANDOM.normal(0, 1, 200), None),
        (np.append(RANDOM.pareto(0.5, 199), 1e12), None),
        (-RANDOM.lognormal(0, 3, 200), None),
    ],
)
def test_a_skewed_column_is_cut_into_halves(values: Any, decimals: int | None) -> None:
    study = strata_study(builders.number("x", decimals=decimals))
    cuts = strata_cuts(builders.federation(coded_sites(values[:, None], ("x",)), study))
    codes = level_codes(study, values[:, None], cuts)[:, 0]
    assert 90 <= codes.sum() <= 110
    low, _ = level_names(study.clinical[0], cuts["x"])
    assert float(low.removeprefix("up to ")) == cuts["x"]


@pytest.mark.parametrize("decimals", [1, None])
@pytest.mark.parametrize("rest", [np.linspace(1, 400, 80), RANDOM.lognormal(4, 1, 80).clip(0, 499)])
def test_where_most_patients_have_the_highest_value_the_others_are_the_lower_part(
    rest: Any, decimals: int | None
) -> None:
    study = strata_study(builders.number("x", decimals=decimals))
    values = np.concatenate([np.round(rest, 1), np.full(120, 500.0)])
    cuts = strata_cuts(builders.federation(coded_sites(values[:, None], ("x",)), study))
    codes = level_codes(study, values[:, None], cuts)[:, 0]
    assert (codes[values == 500.0] == 1.0).all()
    assert 70 <= (codes == 0.0).sum() <= 80


def test_where_most_patients_have_the_lowest_value_they_are_the_lower_part() -> None:
    study = strata_study(builders.number("x"))
    values = np.concatenate([np.zeros(130), RANDOM.exponential(30, 70)])
    cuts = strata_cuts(builders.federation(coded_sites(values[:, None], ("x",)), study))
    assert cuts == {"x": 0.0}
