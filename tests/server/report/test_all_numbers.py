"""Every AUC, interval, count and P on the page is that of results.json."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from common.html.drawing import Drawing
from common.models import MODELS
from server.report import words
from server.report.leave_one_out import summary_rows
from server.report.results import parse
from server.report.schema import Results
from server.report.study_report import render
from server.report.tables import write_tables

DASH = "\N{EN DASH}"


class Cells(HTMLParser):
    """Texts of all cells by section, row heading and column number."""

    def __init__(self) -> None:
        super().__init__()
        self.section = ""
        self.rows: dict[str, list[list[str]]] = {}
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self.section = given.get("id") or ""
        elif tag == "tr":
            self.rows.setdefault(self.section, []).append([])
        elif tag in ("td", "th"):
            self.rows[self.section][-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[self.section][-1][-1] += f"{data.strip()} "


@pytest.fixture(scope="module")
def page(whole: Results, drawings: list[Drawing]) -> str:
    return render(whole, drawings)


@pytest.fixture(scope="module")
def rows(page: str) -> dict[str, list[list[str]]]:
    reader = Cells()
    reader.feed(page)
    return {
        name: [[cell.strip() for cell in row] for row in found]
        for name, found in reader.rows.items()
    }


def test_every_auc_and_interval_shown_is_one_of_the_results(page: str, whole: Results) -> None:
    """Three decimals, alone or joined by a dash: nothing else on the page looks like that."""
    known = {
        words.auc(value)
        for row in (
            *whole.performance,
            *whole.site_performance,
            *whole.leave_one_out,
            *whole.strata,
        )
        for value in (row.auc, row.ci_low, row.ci_high)
    }
    for row in whole.performance:
        if row.apparent_auc is not None and row.auc is not None:
            known |= {words.auc(row.apparent_auc), words.number(row.apparent_auc - row.auc)}
    known |= {words.auc(row.cutoff) for row in whole.performance if row.cutoff is not None}
    known |= {words.auc(value) for value in (whole.ceiling or {}).values()}
    known |= {words.auc(c.cv_auc) for f in whole.fusion.values() for c in f.candidates}
    known |= {words.number(row.brier) for row in (*whole.calibration, *whole.recalibration)}
    known |= {words.number(row.net_benefit) for row in whole.recalibration}
    known |= {
        words.auc(value)
        for row in whole.performance
        for value in (row.average_precision, row.ap_low, row.ap_high)
    }
    known |= {words.auc((r.positives or 0) / (r.n or 1)) for r in whole.performance}
    known |= {
        words.number(value)
        for row in whole.delong
        for value in (row.difference, row.difference_low, row.difference_high)
    }
    areas = [line for line in summary_rows(whole) if line[1] == "auc"]
    known |= {words.auc(float(x)) for one in areas for x in (*one[3:6], *one[8:]) if x is not None}
    known = {text.removeprefix(words.MINUS) for text in known}
    federated = [row for row in whole.performance if row.run.startswith("local:")]
    for name, model in {(row.set, row.model) for row in federated}:
        alone = [r.auc or 0.0 for r in federated if (r.set, r.model) == (name, model)]
        known.add(words.auc(sum(alone) / len(alone)))
    body = page[: page.index('id="training"')]
    text = re.sub(
        r"<path[^>]*>|<use[^>]*>|<svg[^>]*>|style=\"[^\"]*\"|transform=\"[^\"]*\"|data-order=\"[^\"]*\"",
        "",
        body,
    )
    tables = re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    without_p = re.sub(r'data-cell="p_[^>]*>.*?</td>', "", tables)
    summary = without_p[without_p.index('<section id="performance"') :]
    summary = summary[: summary.index('<section id="selection"')]
    shown = re.findall(r"(?<![\d.])[01]\.\d{3}(?!\d)", summary)
    assert len(shown) > 300
    assert set(shown) <= known


def test_strata_stand_with_their_counts_and_p(
    rows: dict[str, list[list[str]]], whole: Results
) -> None:
    models = list(MODELS)
    shown = [row for row in rows["strata"] if row and ": T" in row[0]]
    expected = []
    for name in dict.fromkeys(row.set for row in whole.strata):
        for level in dict.fromkeys(row.level for row in whole.strata):
            by_model = {r.model: r for r in whole.strata if (r.set, r.level) == (name, level)}
            first = next(iter(by_model.values()))
            cells = [
                f"{r.auc:.3f} {r.ci_low:.3f}{DASH}{r.ci_high:.3f}"
                for r in (by_model[model] for model in models)
            ]
            expected.append([f"T stage: {level}", f"{first.n}, {first.positives}", *cells])
    assert shown == expected
    tests = [row[2:] for row in rows["strata"] if row and row[0].endswith(": P")]
    assert tests == [["0.75 Holm >0.99"] * 6] * 4


def test_a_difference_that_was_not_tested_is_named_with_its_reason(tree: dict[str, Any]) -> None:
    why = "not tested: the AUC of T1 to T2 has no variance"
    for test in tree["strata_tests"]:
        if (test["set"], test["model"]) == ("external_1", "clinical"):
            test |= {"statistic": None, "p": None, "note": why}
    page = render(parse(tree), [])
    assert page.count(f"No P for T stage, Clinical ({why}).") == 1


def test_each_hospitals_own_evaluation_stands_with_its_counts(
    page: str, rows: dict[str, list[list[str]]], whole: Results
) -> None:
    shown = {row[0]: row[1:] for row in rows["per-site"] if row[0] != "Hospital"}
    assert list(shown) == ["north", "east"]
    for site, cells in shown.items():
        own = [row for row in whole.site_performance if row.site == site]
        expected = [f"{r.auc:.3f} {r.ci_low:.3f}{DASH}{r.ci_high:.3f}" for r in own]
        assert cells == [f"{own[0].n}, {own[0].positives}", *expected]
    assert "No AUC of south: too few patients there" in page


def test_participants_are_those_of_the_results(
    rows: dict[str, list[list[str]]], whole: Results
) -> None:
    shown = {row[0]: row[1:] for row in rows["participants"]}
    sets = ["train", "internal", "external_1", "external_2"]
    for one in whole.participants:
        cells = []
        for name in sets:
            count = one.sets.get(name)
            reported = (
                "withheld" if count and count.positives is None else count and count.positives
            )
            cells.append(f"{count.n} {reported} with finding" if count else "")
        assert shown[one.site] == [*cells, str(one.excluded)]
    assert shown["All"][0] == "300 124 with finding"


def test_what_left_is_added_up_from_the_transfers(
    rows: dict[str, list[list[str]]], whole: Results
) -> None:
    titles, *lines = rows["ledger"]
    for line in lines:
        own = [row for row in whole.transfers if row.site == line[0]]
        for exchange, label in words.EXCHANGE_LABELS.items():
            if label in titles:
                kept = [row for row in own if row.exchange == exchange]
                size = words.size(sum(row.bytes_up for row in kept))
                wanted = f"{sum(row.messages for row in kept)} {size}"
                assert line[titles.index(label)] == wanted
        held = sum(row.site == line[0] for row in whole.refusals)
        assert line[titles.index("Held back")] == str(held)
        assert line[-1] == "40"


def test_every_list_of_the_results_has_its_table(whole: Results, tmp_path: Path) -> None:
    names = {path.stem for path in write_tables(whole, tmp_path)}
    assert names >= {
        *(
            "performance",
            "site_performance",
            "leave_one_out",
            "leave_one_out_summary",
            "delong",
            "table1",
            "selection",
            "strata",
            "strata_tests",
        ),
        *("participants", "lasso_cv", "lasso_path", "correlation", "training", "ledger"),
    }
    for path in (tmp_path / "tables").glob("*.csv"):
        rows = len(path.read_text(encoding="utf-8").splitlines()) - 1
        # two hospitals with an area are too few for a summary
        assert (rows > 0) is (path.stem != "heterogeneity"), path.name
