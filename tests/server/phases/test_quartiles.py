"""Quartiles and rank tests of skewed columns over hospitals, against numpy and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.learning.quantile_cells import ROUNDS
from common.statistics.base import Rows
from common.statistics.histogram import Histogram
from common.statistics.site_quartiles import SiteQuartiles
from common.statistics.table1 import JoinedHistogram
from common.study.model import Study
from server.federation.federation import Federation
from server.phases import table1 as phase
from server.phases.quartiles import UNMASKED, UNORDERED
from server.report.rows import table1_rows
from tests import builders

from .shapes import SHAPES

SHARES = [0.25, 0.5, 0.75]
SIZES = {"train": 240, "t": 110}


def table1(federation: Federation) -> list[dict[str, Any]]:
    return table1_rows(federation.study, phase.table1(federation))


def rows_of(values: Any) -> Rows:
    return Rows(
        values=values,
        columns=tuple(SHAPES),
        label=np.arange(len(values)) % 2.0,
        fold=np.arange(len(values), dtype=np.int64) % 5,
    )


def drawn(seed: int, sizes: dict[str, int]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shifts = dict(zip(sizes, (0.0, 0.25, 0.5), strict=False))
    return {
        name: np.column_stack([draw(rng, n, shifts[name]) for _, draw in SHAPES.values()])
        for name, n in sizes.items()
    }


def study_of(sites: int, alone: bool = False, **privacy: Any) -> Study:
    names = "abcdef"[:sites]
    return builders.open_study(
        sites=names,
        tests={"t": ("external_test", names[:1] if alone else names)},
        clinical=[
            builders.number(name, summary="median", decimals=decimals)
            for name, (decimals, _) in SHAPES.items()
        ],
        privacy=privacy,
    )


def federation_of(study: Study, pooled: dict[str, Any], seed: int) -> builders.Recorded:
    """Patients dealt to hospitals of different sizes; a set of one hospital is the first one's."""
    names = [site.name for site in study.sites]
    rng = np.random.default_rng(seed)
    dealt: dict[str, dict[str, Rows]] = {name: {} for name in names}
    for subset, values in pooled.items():
        share = np.arange(1.0, len(names) + 1) ** 1.0
        if len(study.members(subset)) == 1:
            share = np.eye(len(names))[0]
        home = rng.choice(len(names), len(values), p=share / share.sum())
        for index, name in enumerate(names):
            dealt[name][f"coded@{subset}"] = rows_of(values[home == index])
    return builders.federation(dealt, study)


def allowed(values: Any, decimals: int | None) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    unit = 0.0 if decimals is None else 10.0**-decimals
    return max(unit, 0.01 * (high - low), 1e-12 * float(np.abs(high)))


@pytest.mark.parametrize("sites", [3, 4, 5, 6])
def test_quartiles_of_every_shape_are_within_the_bound_and_p_is_that_of_scipy(sites: int) -> None:
    pooled = drawn(sites, SIZES)
    study = study_of(sites)
    federation = federation_of(study, pooled, sites)
    asked = federation.rounds
    rows = {row["variable"]: row for row in table1(federation)}
    withheld = []
    for index, (name, (decimals, _)) in enumerate(SHAPES.items()):
        samples = [values[:, index] for values in pooled.values()]
        for subset, sample in zip(pooled, samples, strict=True):
            cell = rows[name]["sets"][subset]
            for share, key in zip(SHARES, ("q1", "median", "q3"), strict=True):
                if cell[key] is None:
                    withheld.append((name, subset, key))
                    continue
                error = abs(cell[key] - np.quantile(sample, share))
                assert error <= allowed(sample, decimals), (name, subset, key)
                assert sample.min() <= cell[key] <= sample.max(), (name, subset, key)
        if np.ptp(np.concatenate(samples)) == 0:
            assert np.isnan(rows[name]["p"])
            continue
        expected = stats.mannwhitneyu(*samples, method="asymptotic").pvalue
        # z may be off by about 0.03
        assert rows[name]["p"] == pytest.approx(expected, abs=0.03), name
        if expected < 0.1:
            assert rows[name]["p"] == pytest.approx(expected, rel=0.15), name
    assert withheld == []
    assert len(asked) <= ROUNDS


def test_most_columns_take_two_rounds() -> None:
    study = study_of(3)
    federation = federation_of(study, drawn(1, SIZES), 1)
    asked = federation.rounds
    table1(federation)
    columns = [{name for item in items for name in item.view.outputs()} for items in asked]
    assert columns[0] == set(SHAPES)
    assert len(columns[2]) < len(SHAPES) / 2
    cells = max(item.statistic.edges.shape[1] for items in asked for item in items)
    assert cells <= 1500


def test_three_sets_are_compared_by_kruskal_and_wallis() -> None:
    sizes = {"train": 150, "t": 60, "u": 45}
    pooled = drawn(5, sizes)
    study = study_of(4)
    second = study.test_sets[0].model_copy(update={"name": "u"})
    study = study.model_copy(update={"test_sets": (*study.test_sets, second)})
    rows = {row["variable"]: row for row in table1(federation_of(study, pooled, 2))}
    for index, name in enumerate(SHAPES):
        samples = [values[:, index] for values in pooled.values()]
        if np.ptp(np.concatenate(samples)) > 0:
            expected = stats.kruskal(*samples).pvalue
            assert rows[name]["p"] == pytest.approx(expected, abs=0.03), name


def test_a_hospital_that_holds_a_set_alone_tells_its_quartiles_and_joined_cells() -> None:
    pooled = drawn(2, SIZES)
    study = study_of(4, alone=True, masking="where_possible", min_rows=4, min_cell=3)
    federation = federation_of(study, pooled, 3)
    asked = federation.rounds
    rows = {row["variable"]: row for row in table1(federation)}
    about_it = [item.statistic for items in asked for item in items if item.subset == "t"]
    kinds = [type(statistic) for statistic in about_it]
    assert sorted({kind.__name__ for kind in kinds}) == ["JoinedHistogram", "SiteQuartiles"]
    # once for columns with decimals, once for the others
    assert kinds.count(JoinedHistogram) == kinds.count(SiteQuartiles) == 2
    for index, (name, (decimals, _)) in enumerate(SHAPES.items()):
        sample = pooled["t"][:, index]
        cell = rows[name]["sets"]["t"]
        found = np.array([cell[key] for key in ("q1", "median", "q3")])
        if name == "absurd_outlier":
            assert np.isfinite(found.astype(float)).all()
        error = np.abs(found - np.quantile(sample, SHARES)).max()
        assert error <= allowed(sample, decimals), name
        assert sample.min() <= found.min() <= found.max() <= sample.max()
        samples = [pooled["train"][:, index], sample]
        if np.ptp(np.concatenate(samples)) > 0:
            expected = stats.mannwhitneyu(*samples, method="asymptotic").pvalue
            assert rows[name]["p"] == pytest.approx(expected, abs=0.06), name


def test_without_masks_columns_without_decimals_are_withheld_and_say_why() -> None:
    pooled = drawn(3, {"train": 80, "t": 40})
    study = study_of(3, min_rows=4, min_cell=3)
    federation = federation_of(study, pooled, 4)
    asked = federation.rounds
    rows = {row["variable"]: row for row in table1(federation)}
    for name, (decimals, _) in SHAPES.items():
        cell = rows[name]["sets"]["train"]
        if decimals is None:
            assert (cell["median"], cell["note"]) == (None, UNMASKED)
        else:
            assert cell["median"] is not None
    plain = [item for items in asked for item in items if isinstance(item.statistic, Histogram)]
    recorded = {name for name, (decimals, _) in SHAPES.items() if decimals is not None}
    assert {name for item in plain for name in item.view.outputs()} == recorded


def test_a_set_whose_cells_are_joined_too_much_is_not_compared() -> None:
    pooled = drawn(4, {"train": 120, "t": 20})
    study = study_of(3, alone=True, masking="where_possible", min_rows=4, min_cell=3)
    federation = federation_of(study, pooled, 5)
    row = {row["variable"]: row for row in table1(federation)}["lognormal_two"]
    assert np.isnan(row["p"])
    assert row["note"] == f"without t: {UNORDERED}"
    assert row["sets"]["t"]["median"] is not None


def marker(seed: int, n: int, shift: float, centre: float, spread: float, limits: Any) -> Any:
    """Log-normal values that stick at the limits of detection."""
    values = np.exp(np.random.default_rng(seed).normal(centre + shift, spread, n))
    return np.clip(values, *limits)


# decimals, centre and spread of the logarithm, limits of detection
MARKERS: dict[str, tuple[int, float, float, tuple[float, float]]] = {
    "crp": (1, 1.2, 1.6, (0.6, np.inf)),
    "crp_of_the_healthy": (1, -1.4, 1.8, (0.3, np.inf)),  # over half at the limit
    "psa": (2, 1.0, 1.5, (0.05, np.inf)),
    "ca19_9": (1, 2.6, 2.2, (2.0, 10_000.0)),
    "afp": (1, 1.5, 2.8, (1.3, 200_000.0)),
}


@pytest.mark.parametrize("sites", [3, 5])
@pytest.mark.parametrize("declared", [True, False], ids=["with decimals", "without"])
def test_medians_and_tests_of_laboratory_markers_are_within_a_hundredth_of_the_pooled_ones(
    sites: int, declared: bool
) -> None:
    names, home = "abcde"[:sites], np.random.default_rng(sites)
    clinical = [
        builders.number(name, summary="median", decimals=decimals if declared else None)
        for name, (decimals, *_) in MARKERS.items()
    ]
    tests = {"t": ("external_test", names)}
    study = builders.open_study(sites=names, tests=tests, clinical=clinical)
    pooled = {
        subset: np.column_stack(
            [
                np.round(marker(10 * sites + i, n, shift, centre, spread, limits), decimals)
                for i, (decimals, centre, spread, limits) in enumerate(MARKERS.values())
            ]
        )
        for subset, n, shift in (("train", 300, 0.0), ("t", 120, 0.3))
    }
    dealt: dict[str, dict[str, Rows]] = {name: {} for name in names}
    for subset, values in pooled.items():
        at = home.choice(sites, len(values), p=np.arange(1, sites + 1) / (sites * (sites + 1) / 2))
        for index, name in enumerate(names):
            own = values[at == index]
            label, fold = np.arange(len(own)) % 2.0, np.arange(len(own), dtype=np.int64) % 5
            dealt[name][f"coded@{subset}"] = Rows(own, tuple(MARKERS), label, fold)
    rows = {row["variable"]: row for row in table1(builders.federation(dealt, study))}
    for index, name in enumerate(MARKERS):
        samples = [values[:, index] for values in pooled.values()]
        for subset, sample in zip(pooled, samples, strict=True):
            for share, key in zip(SHARES, ("q1", "median", "q3"), strict=True):
                exact = np.quantile(sample, share)
                assert rows[name]["sets"][subset][key] == pytest.approx(exact, rel=0.01), name
        expected = stats.mannwhitneyu(*samples, method="asymptotic").pvalue
        z, exact = (stats.norm.isf(p / 2) for p in (rows[name]["p"], expected))
        assert z == pytest.approx(exact, abs=0.02), name
