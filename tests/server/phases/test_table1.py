"""Table 1 over hospitals with real messages, against scipy on the pooled rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from client.app import app
from common.statistics.base import Rows
from server.federation.federation import Federation
from server.phases import table1 as phase
from server.report.rows import slice_rows, table1_rows
from sim.engines.inprocess import InProcessGrid
from sim.sites import place_sites
from tests import builders

Table = dict[str, Any]
SITES = {"a": 70, "b": 64, "c": 120}
COLUMNS = [
    builders.number("age", unit="years", decimals=0),
    builders.number("size", summary="median", decimals=1),
    builders.number("marker", summary="median"),
    builders.levels("sex", "female", "male"),
    builders.levels("stage", "1", "2", "3"),
    builders.levels("rare", "no", "yes"),
    builders.number("absent"),
    builders.levels("gone", "no", "yes"),
    builders.number("constant"),
    builders.number("tied", summary="median", decimals=0),
]
INTERNAL = {"internal": ("internal_test", "abc")}
EXTERNAL = {"external": ("external_test", "bc")}
ALONE = {"external": ("external_test", "c")}
SPLITS = {"train": "train", "internal": "internal_test", "external": "external_test"}


def patients(site: str, n: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for index in range(n):
        split = ("train", "train", "internal_test", "external_test")[index % 4]
        shift = {"train": 0.0, "internal_test": 0.3, "external_test": 0.5}[split]
        if site == "a" and split == "external_test":
            split = "train"
        yield {
            "patient_id": f"{site}{index}",
            "label": int(rng.random() < 0.5) if index > 1 else index,
            "split": split,
            "age": "" if rng.random() < 0.1 else f"{rng.normal(61 + 3 * shift, 9):.0f}",
            # no value of this one at a whole hospital
            "size": "" if site == "b" else f"{rng.gamma(3, 4 + shift):.1f}",
            "marker": f"{rng.lognormal(shift, 1):.5f}",
            "sex": "male" if rng.random() < 0.7 else "female",
            "stage": str(rng.integers(1, 4)),
            "rare": "yes" if rng.random() < 0.04 else "no",
            "absent": "",
            "gone": "",
            "constant": "0.1",
            "tied": "4",
        }


def table1(federation: Federation) -> list[dict[str, Any]]:
    return table1_rows(federation.study, phase.table1(federation))


def study_over(
    folder: Path, sets: builders.Tests, **privacy: Any
) -> tuple[Federation, list[dict[str, Any]]]:
    rng = np.random.default_rng(3)
    pooled: list[dict[str, Any]] = []
    for name, n in SITES.items():
        rows = list(patients(name, n, rng))
        pooled += rows
        (folder / name).mkdir(parents=True)
        with (folder / name / "cohort.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    # small folds would stop the study at enrolment; here only Table 1 is asked for
    privacy = {"masking": "off", "min_class_per_fold": 0, **privacy}
    study = builders.study(tests=sets, clinical=COLUMNS, privacy=privacy)
    sites = place_sites(
        {name: folder / name for name in SITES},
        folder / "run",
        folder / "cache",
        exclude_bad_patients=False,
    )
    federation = Federation(InProcessGrid(app, sites), study, "r")
    federation.enrol()
    return federation, pooled


def column(pooled: list[dict[str, Any]], name: str, group: str) -> list[Any]:
    own = [row[name] for row in pooled if row["split"] == SPLITS[group]]
    return [value for value in own if value != ""]


def numbers(pooled: list[dict[str, Any]], name: str, group: str) -> Any:
    return np.array(column(pooled, name, group), dtype=np.float64)


def contingency(pooled: list[dict[str, Any]], name: str, groups: list[str]) -> Any:
    levels = sorted({row[name] for row in pooled if row[name] != ""})
    return np.array([[column(pooled, name, g).count(v) for v in levels] for g in groups])


def row_of(rows: list[Table], variable: str, level: str | None = None) -> Table:
    (found,) = [r for r in rows if r["variable"] == variable and r["level"] == level]
    return found


def test_two_sets_equal_scipy_on_the_pooled_rows(tmp_path: Path) -> None:
    federation, pooled = study_over(tmp_path, INTERNAL, min_cell=0)
    rows = table1(federation)
    groups = ["train", "internal"]

    age = row_of(rows, "age (years)")
    samples = [numbers(pooled, "age", g) for g in groups]
    assert age["test"] == "t"
    assert age["p"] == pytest.approx(stats.ttest_ind(*samples).pvalue, rel=1e-12)
    for name, sample in zip(groups, samples, strict=True):
        assert age["sets"][name]["mean"] == pytest.approx(sample.mean(), rel=1e-13)
        assert age["sets"][name]["sd"] == pytest.approx(sample.std(ddof=1), rel=1e-13)
        assert age["sets"][name]["n"] == sample.size

    size = row_of(rows, "size")
    samples = [numbers(pooled, "size", g) for g in groups]
    assert size["test"] == "Mann-Whitney"
    exact = stats.mannwhitneyu(*samples, method="asymptotic")
    assert size["p"] == pytest.approx(exact.pvalue, rel=1e-12)
    for name, sample in zip(groups, samples, strict=True):
        found = [size["sets"][name][key] for key in ("q1", "median", "q3")]
        assert found == pytest.approx(np.quantile(sample, [0.25, 0.5, 0.75]), abs=1e-12)

    sex = row_of(rows, "sex", "male")
    expected = stats.chi2_contingency(contingency(pooled, "sex", groups), correction=False)
    assert (sex["test"], sex["p"]) == ("chi-square", pytest.approx(expected.pvalue, rel=1e-12))

    rare = row_of(rows, "rare", "yes")
    fisher = stats.fisher_exact(contingency(pooled, "rare", groups))
    assert (rare["test"], rare["p"]) == ("Fisher", pytest.approx(fisher.pvalue, rel=1e-12))


def test_three_sets_equal_scipy_on_the_pooled_rows(tmp_path: Path) -> None:
    federation, pooled = study_over(tmp_path, INTERNAL | EXTERNAL, min_cell=0)
    rows = table1(federation)
    groups = ["train", "internal", "external"]

    age = row_of(rows, "age (years)")
    expected = stats.f_oneway(*(numbers(pooled, "age", g) for g in groups)).pvalue
    assert (age["test"], age["p"]) == ("ANOVA", pytest.approx(expected, rel=1e-12))

    size = row_of(rows, "size")
    expected = stats.kruskal(*(numbers(pooled, "size", g) for g in groups)).pvalue
    assert (size["test"], size["p"]) == ("Kruskal-Wallis", pytest.approx(expected, rel=1e-12))

    stage = row_of(rows, "stage", "2")
    expected = stats.chi2_contingency(contingency(pooled, "stage", groups), correction=False)
    assert (stage["test"], stage["p"]) == ("chi-square", pytest.approx(expected.pvalue, rel=1e-12))


def test_each_test_set_against_the_training_set_equals_scipy_on_the_pooled_rows(
    tmp_path: Path,
) -> None:
    federation, pooled = study_over(tmp_path, INTERNAL | EXTERNAL, min_cell=0)
    asked: list[Any] = []
    ask = federation.sum_many
    federation.sum_many = lambda items: asked.append(items) or ask(items)  # type: ignore
    rows = table1(federation)
    assert len(asked) == 2  # no question more than the table takes
    for name in ("internal", "external"):
        groups = ["train", name]
        samples = {c: [numbers(pooled, c, g) for g in groups] for c in ("age", "size")}
        tables = {c: contingency(pooled, c, groups) for c in ("sex", "stage", "rare")}
        expected = {
            ("age (years)", None): ("t", stats.ttest_ind(*samples["age"])),
            ("size", None): (
                "Mann-Whitney",
                stats.mannwhitneyu(*samples["size"], method="asymptotic"),
            ),
            **{
                (c, "male" if c == "sex" else "2"): (
                    "chi-square",
                    stats.chi2_contingency(tables[c], correction=False),
                )
                for c in ("sex", "stage")
            },
            ("rare", "no"): ("Fisher", stats.fisher_exact(tables["rare"])),
        }
        for where, (test, exact) in expected.items():
            pair = row_of(rows, *where)["pairs"][name]
            assert (pair["test"], pair["p"]) == (test, pytest.approx(exact.pvalue, rel=1e-12))
        marker = row_of(rows, "marker")["pairs"][name]
        about = stats.mannwhitneyu(*(numbers(pooled, "marker", g) for g in groups))
        assert marker["test"] == "Mann-Whitney (grouped)"
        assert marker["p"] == pytest.approx(about.pvalue, abs=0.02)


def test_one_test_set_is_compared_by_the_one_test_of_the_table(tmp_path: Path) -> None:
    federation, _ = study_over(tmp_path, INTERNAL, min_cell=0)
    assert not any(row["pairs"] for row in table1(federation))


def test_without_decimals_medians_are_close_and_labelled(tmp_path: Path) -> None:
    federation, pooled = study_over(tmp_path, INTERNAL | EXTERNAL, min_cell=0)
    marker = row_of(table1(federation), "marker")
    samples = {g: numbers(pooled, "marker", g) for g in SPLITS}
    assert marker["test"] == "Kruskal-Wallis (grouped)"
    assert marker["p"] == pytest.approx(stats.kruskal(*samples.values()).pvalue, abs=0.02)
    for name, sample in samples.items():
        share = (sample < marker["sets"][name]["median"]).mean()
        assert share == pytest.approx(0.5, abs=0.05)


def test_columns_of_medians_take_two_rounds_with_decimals_and_without(tmp_path: Path) -> None:
    federation, _ = study_over(tmp_path, INTERNAL, min_cell=0)
    federation.transfers.phase = "table1"
    table1(federation)
    clinical = tuple(c for c in federation.study.clinical if c.name != "marker")
    study = federation.study.model_copy(update={"clinical": clinical})
    again = Federation(federation.grid, study, "s")
    again.enrol()
    again.transfers.phase = "table1"
    table1(again)

    def rounds(one: Federation) -> set[int]:
        return {r["messages"] for r in one.transfers.table() if r["phase"] == "table1"}

    assert rounds(federation) == rounds(again) == {2}


def test_columns_that_tell_nothing_have_no_p_and_say_how_many_are_missing(tmp_path: Path) -> None:
    federation, pooled = study_over(tmp_path, INTERNAL)
    rows = table1(federation)
    sizes = {g: len([r for r in pooled if r["split"] == SPLITS[g]]) for g in ("train", "internal")}
    absent, constant, tied = (row_of(rows, name) for name in ("absent", "constant", "tied"))
    assert all(np.isnan(row["p"]) for row in (absent, constant, tied, row_of(rows, "gone", "yes")))
    assert absent["missing"] == row_of(rows, "gone", "no")["missing"] == sizes
    for name in sizes:
        assert absent["sets"][name] == {"n": 0, "mean": None, "sd": None, "suppressed": False}
        assert constant["sets"][name]["mean"] == 0.1
        assert constant["sets"][name]["sd"] == 0.0
        found = tied["sets"][name]
        assert (found["q1"], found["median"], found["q3"]) == (4.0, 4.0, 4.0)
    missing = row_of(rows, "size")["missing"]["train"]
    assert missing == sum(r["split"] == "train" and r["size"] == "" for r in pooled) > 0


def test_a_small_count_is_withheld_with_another_and_p_is_a_band(tmp_path: Path) -> None:
    federation, pooled = study_over(tmp_path, INTERNAL, min_cell=6)
    rows = [row_of(table1(federation), "rare", level) for level in ("no", "yes")]
    small = [g for g in ("train", "internal") if 0 < column(pooled, "rare", g).count("yes") < 6]
    assert small
    for row in rows:
        assert {name: cell["suppressed"] for name, cell in row["sets"].items()} == {
            name: name in small for name in row["sets"]
        }
        assert all(row["sets"][name]["n"] is None for name in small)
        assert np.isnan(row["p"])
        exact = stats.fisher_exact(contingency(pooled, "rare", ["train", "internal"])).pvalue
        low, high = row["p_band"]
        assert low <= exact <= high


def test_the_p_of_a_pair_with_a_small_count_is_a_band_or_withheld(tmp_path: Path) -> None:
    federation, pooled = study_over(tmp_path, INTERNAL | EXTERNAL, min_cell=6)
    row = row_of(table1(federation), "rare", "yes")
    for name, pair in row["pairs"].items():
        if not any(row["sets"][g]["suppressed"] for g in ("train", name)):
            continue
        assert np.isnan(pair["p"])
        exact = stats.fisher_exact(contingency(pooled, "rare", ["train", name])).pvalue
        if pair["p_band"] is None:
            assert (pair["test"], pair["note"]) == (None, "P withheld: small counts")
        else:
            assert pair["p_band"][0] <= exact <= pair["p_band"][1]
    assert any(cell["suppressed"] for cell in row["sets"].values())


def test_a_set_of_one_site_sends_no_small_cell_and_the_other_sets_are_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation, pooled = study_over(tmp_path, INTERNAL | ALONE, min_cell=5)
    seen: list[tuple[Any, Any]] = []
    ask = federation.sum_many

    def listen(items: Any) -> list[Any]:
        results = ask(items)
        seen.extend(zip(items, results, strict=True))
        return results

    monkeypatch.setattr(federation, "sum_many", listen)
    rows = table1(federation)
    sent = [r.counts for item, r in seen if item.subset == "external" and hasattr(r, "counts")]
    levels, *histograms = sorted(sent, key=lambda counts: counts.shape[1])
    assert len(histograms) == 2
    for counts in (levels[:, :-1], *histograms):
        assert ((counts == 0) | (counts >= 5)).all()
    own = [row for row in pooled if row["patient_id"].startswith("c")]
    assert 0 < column(own, "rare", "external").count("yes") < 5
    assert row_of(rows, "rare", "no")["sets"]["external"]["n"] is None
    # its cells of five among some thirty patients leave the ranks too uncertain
    size = row_of(rows, "size")
    assert (size["test"], size["note"][:16]) == ("Mann-Whitney", "without external")
    whole = numbers(own, "size", "external")
    found = [size["sets"]["external"][key] for key in ("q1", "median", "q3")]
    assert found == pytest.approx(np.quantile(whole, [0.25, 0.5, 0.75]), rel=1e-12)

    def of_c(name: str, groups: list[str]) -> Any:
        return np.array(
            [
                [column(own if g == "external" else pooled, name, g).count(v) for g in groups]
                for v in sorted({row[name] for row in pooled})
            ]
        )

    whole = stats.chi2_contingency(of_c("sex", ["train", "internal", "external"]), correction=False)
    assert row_of(rows, "sex", "male")["p"] == pytest.approx(whole.pvalue, rel=1e-12)
    rare = row_of(rows, "rare", "no")
    assert rare["pairs"]["external"]["note"] == "P withheld: small counts"
    # which test two sets with withheld counts had would tell of these counts
    assert (rare["test"], rare["p_band"]) == (None, None)


def test_a_set_that_withholds_counts_is_named_where_the_test_leaves_it_out(tmp_path: Path) -> None:
    federation, pooled = study_over(tmp_path, INTERNAL | ALONE, min_cell=13)
    stage = row_of(table1(federation), "stage", "1")
    assert stage["sets"]["external"]["n"] is None
    assert stage["note"] == "without external: small counts"
    counts = contingency(pooled, "stage", ["train", "internal"])
    expected = stats.chi2_contingency(counts, correction=False).pvalue
    assert stage["p"] == pytest.approx(expected, rel=1e-12)


def test_a_column_of_few_values_at_one_site_is_not_told(tmp_path: Path) -> None:
    federation, pooled = study_over(tmp_path, ALONE, min_rows=30)
    own = [row for row in pooled if row["patient_id"].startswith("c")]
    present = len(column(own, "age", "external"))
    assert 0 < present < 30
    row = row_of(table1(federation), "age (years)")
    nothing = {"n": None, "mean": None, "sd": None, "suppressed": True}
    assert row["sets"]["external"] == nothing
    assert row["missing"]["external"] is None
    assert row["sets"]["train"]["mean"] is not None


def slices_of(n: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    values = random.integers(3, 14, size=(n, 1)).astype(float)
    label = (np.arange(n) % 2).astype(float)
    return Rows(values, ("slices",), label, np.arange(n) % 5)


def test_the_axial_slices_of_each_set_are_counted_and_those_of_few_patients_withheld() -> None:
    tests: Any = {
        "spread": ("internal_test", "abc"),
        "alone": ("external_test", "b"),
        "few": ("external_test", "c"),
    }
    study = builders.study(base_models=["dl2d"], clinical=[], tests=tests)
    fewest = study.privacy.min_rows
    sizes = {"train": 25, "spread": fewest, "alone": fewest, "few": fewest - 1}
    sites: dict[str, Any] = {}
    for place, site in enumerate("abc"):
        held = ["train", *(name for name, (_, own) in tests.items() if site in own)]
        sites[site] = {
            "slices" if name == "train" else f"slices@{name}": slices_of(sizes[name], 10 + place)
            for name in held
        }
    federation = builders.federation(sites, study)
    found = slice_rows(phase.table1(federation))
    expected = {
        name: sum(
            tables["slices" if name == "train" else f"slices@{name}"].values.sum()
            for site, tables in sites.items()
            if site in study.members(name)
        )
        for name in ("train", "spread", "alone")
    }
    assert {row["set"]: row["slices"] for row in found} == {**expected, "few": None}
    # what leaves the hospital that holds too few is nothing
    (few,) = (r for item, r in federation.known if item.subset == "few")
    assert few.n[0] == 0


def test_studies_without_a_network_on_slices_are_not_asked_for_them(tmp_path: Path) -> None:
    federation, _ = study_over(tmp_path, INTERNAL)
    assert slice_rows(phase.table1(federation)) == []
