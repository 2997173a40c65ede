from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from common.html.drawing import Drawing
from server.report import words
from server.report.appendix import timing_block, training_block
from server.report.figures import draw_figures
from server.report.performance import apparent_block, performance_blocks
from server.report.results import parse, to_json
from server.report.schema import Results
from server.report.study_report import render, write_report
from server.report.tables import terminal_table


class Reader(HTMLParser):
    """Cells of the performance tables by set, model and column, and every tag of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: dict[tuple[str, str, str], list[str]] = {}
        self.place = ["", "", ""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        level = {"table": ("data-set", 0), "tr": ("data-row", 1), "td": ("data-cell", 2)}.get(tag)
        if level:
            self.place[level[1]] = given.get(level[0]) or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self.place[2] = ""

    def handle_data(self, data: str) -> None:
        if all(self.place) and data.strip():
            self.cells.setdefault((self.place[0], self.place[1], self.place[2]), []).append(data)


def _read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


@pytest.fixture(scope="module")
def page(whole: Results, drawings: list[Drawing]) -> str:
    return render(whole, drawings)


def _same(part: int, whole: int) -> list[str]:
    return [f"{100 * part / whole:.0f}", f"{part}/{whole}"]


def test_every_number_of_the_performance_tables_is_that_of_the_results(
    page: str, whole: Results
) -> None:
    cells = _read(page).cells
    dash = "\N{EN DASH}"
    for row in whole.performance:
        place = (row.set, row.model)
        both = [f"{row.auc:.3f}", f"{row.ci_low:.3f}{dash}{row.ci_high:.3f}"]
        if row.run == "pooled":
            assert cells[(*place, "pooled_auc")] == both
        if row.run != "federated":
            continue
        assert None not in (row.positives, row.tp, row.tn, row.correct)
        assert cells[(*place, "auc")] == both
        assert cells[(*place, "cutoff")] == [f"{row.cutoff:.3f}"]
        assert cells[(*place, "accuracy")] == _same(row.correct or 0, row.n)
        assert cells[(*place, "sensitivity")] == _same(row.tp or 0, row.positives or 0)
        negatives = row.n - (row.positives or 0)
        assert cells[(*place, "specificity")] == _same(row.tn or 0, negatives)
        alone = [
            r.auc or 0
            for r in whole.performance
            if r.run.startswith("local:") and (r.set, r.model) == place
        ]
        span = f"{min(alone):.3f}{dash}{max(alone):.3f}"
        assert cells[(*place, "local_auc")] == [f"{sum(alone) / len(alone):.3f}", span]


def test_p_values_against_the_fusion_models_are_those_of_the_results(
    page: str, whole: Results
) -> None:
    cells = _read(page).cells
    checked = 0
    for row in whole.delong:
        if row.run != "federated" or row.p is None:
            continue
        for model, reference in ((row.model_a, row.model_b), (row.model_b, row.model_a)):
            if not reference.startswith("fusion"):
                continue
            text, below = cells[row.set, model, f"p_{reference}"]
            primary = row.role == "primary"
            assert below == ("primary" if primary else f"Holm {words.p_value(row.p_holm)}")
            if text.startswith("<"):
                assert row.p < 0.0001
            elif text.startswith(">"):
                assert row.p > 0.99
            else:
                assert float(text) == pytest.approx(row.p, abs=0.5 * 10.0 ** -len(text[2:]))
            checked += 1
    assert checked == 4 * (5 + 5)


def test_the_page_loads_nothing_and_runs_its_own_script_only(page: str) -> None:
    reader = _read(page)
    tags = [tag for tag, _ in reader.tags]
    assert not set(tags) & {"link", "img", "iframe", "object"}
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert tags.count("script") == 1
    assert f"script-src 'sha256-{digest}'" in page
    for _, attributes in reader.tags:
        for name in ("src", "href", "xlink:href", "data", "action", "srcset", "poster"):
            assert (attributes.get(name) or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "default-src 'none'" in page


def test_ids_are_unique(page: str) -> None:
    ids = [attributes["id"] for _, attributes in _read(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_same_results_give_the_same_bytes(tabular: Results) -> None:
    again = parse(json.loads(to_json(tabular)))
    assert render(again) == render(tabular)


def test_warnings_and_research_use_stand_above_the_results(page: str, whole: Results) -> None:
    head = page[: page.index('id="summary"')]
    assert "For research use only." in head
    assert all(warning in head for warning in whole.warnings)


def test_names_of_settings_in_warnings_are_code_and_everything_else_is_escaped(
    tree: dict[str, Any],
) -> None:
    tree["warnings"] = ["<b>No</b> model, by `privacy.<i>x`.", "Another."]
    text = render(parse(tree), [])
    assert "<li>&lt;b&gt;No&lt;/b&gt; model, by <code>privacy.&lt;i&gt;x</code>.</li>" in text


def test_refusals_are_listed_and_withheld_counts_say_so(page: str) -> None:
    assert "patients of external_1" in page
    assert "withheld" in page


def test_a_set_whose_numbers_are_all_withheld_says_so_everywhere(tree: dict[str, Any]) -> None:
    counts = dict.fromkeys(("n", "positives", "correct", "tp", "tn", "auc", "ci_low", "ci_high"))
    for row in tree["performance"]:
        row.update(counts if row["set"] == "external_2" else {})
    for key in ("delong", "roc", "calibration", "decision_curve", "strata", "strata_tests"):
        tree[key] = [row for row in tree[key] if row["set"] != "external_2"]
    for one in tree["participants"]:
        if "external_2" in one["sets"]:
            one["sets"]["external_2"] = {"n": None, "positives": None}
    results = parse(tree)
    # of this set alone the overview is left, and other figures say nothing of it
    others = ("roc", "calibration", "decision_curve", "strata")
    few = {**tree, **{key: [] for key in others}, "selection": {}, "training": {}}
    page = render(results, draw_figures(parse(few)))
    assert "patients withheld" in page
    assert "None" not in re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    console = Console(width=200, file=StringIO())
    console.print(terminal_table(results))
    assert "(n=withheld)" in console.file.getvalue()  # type: ignore[attr-defined]


def test_one_model_without_references_is_a_whole_page(tabular: Results, tmp_path: Path) -> None:
    path = write_report(tabular, tmp_path)
    assert path == tmp_path / "report" / "index.html"
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r'<th scope="col">([^<]*)</th>', text)
    assert not [h for h in headings if h.startswith(("Pooled", "Local-only", "P against"))]
    assert "were not run, so their columns are left out" in text
    assert "Decision fusion" not in text and "None" not in text
    assert "DeLong" not in text
    assert "No release was refused" in text


def test_a_run_without_any_model_still_gives_a_page(tree: dict[str, Any]) -> None:
    bare = {key: tree[key] for key in ("schema", "study", "run")}
    assert "No model was evaluated in this run." in render(parse(bare))


def test_a_reference_alone_is_shown_as_what_it_is(tree: dict[str, Any]) -> None:
    for key in ("performance", "delong"):
        tree[key] = [row for row in tree[key] if row["run"] == "pooled"]
    for key in ("roc", "calibration", "decision_curve", "strata", "transfers"):
        tree[key] = []
    for key in ("selection", "training", "fusion"):
        tree[key] = {}
    text = render(parse(tree))
    assert "Pooled AUC" in text
    assert "Federated AUC" not in text


def test_names_from_outside_cannot_become_markup(tree: dict[str, Any]) -> None:
    nasty = "<script>alert(1)</script>"
    tree["study"]["endpoint"] = nasty
    tree["warnings"] = [nasty]
    tree["refusals"][0]["subset"] = nasty
    names = tree["selection"]["federated"]["clinical"]["svm"]["weights"]
    names[nasty] = 0.5
    for key in ("performance", "roc", "calibration", "decision_curve", "strata"):
        tree[key] = []
    tree["training"] = {}
    tree["selection"] = {"federated": {"clinical": tree["selection"]["federated"]["clinical"]}}
    page = render(parse(tree))
    assert page.count("<script") == 1 and "alert" not in page.replace("&lt;script&gt;alert", "")


def test_the_time_of_the_whole_command_is_not_added_to_the_phases(tree: dict[str, Any]) -> None:
    tree["timing"] = {
        "cohort": {"federated": 2.0},
        "deep": {"federated": 3.0},
        "whole study": {"federated": 50.0},
    }
    block = timing_block(parse(tree))
    assert block is not None
    times = [(line.head, line.cells[0].text) for line in block.lines]
    assert times[2:] == [
        ("All phases", "5.0 s"),
        ("Whole command, with preparation and references", "50.0 s"),
    ]


def test_few_patients_with_the_endpoint_are_warned_of(
    tree: dict[str, Any],
) -> None:
    for row in tree["performance"]:
        if row["set"] == "internal" and row["run"] == "federated":
            row.update(
                positives=7,
                tp=7,
                correct=row["tn"] + 7,
                auc=1.0,
                ci_low=0.8,
                ci_high=1.0,
                ci_method="score",
            )
    text = render(parse(tree), [])
    assert "fewer than 20 patients with the endpoint" in text
    assert "0.800\N{EN DASH}1.000" in text


def test_what_a_model_owes_to_knowing_its_patients_stands_beside_its_area(whole: Results) -> None:
    block = apparent_block(whole)
    assert block is not None
    rows = {
        row.model: row for row in whole.performance if (row.run, row.set) == ("federated", "train")
    }
    assert [line.key for line in block.lines] == list(rows)
    for line in block.lines:
        own = rows[line.key]
        assert own.auc is not None and own.apparent_auc is not None
        expected = [own.auc, own.apparent_auc, own.apparent_auc - own.auc]
        assert [cell.text for cell in line.cells] == [f"{value:.3f}" for value in expected]


def test_results_without_apparent_areas_have_no_such_table(tree: dict[str, Any]) -> None:
    for row in tree["performance"]:
        row["apparent_auc"] = None
    assert apparent_block(parse(tree)) is None


def test_a_training_is_one_line_with_its_rounds_as_whole_numbers(tree: dict[str, Any]) -> None:
    series = tree["training"]["federated"]["dl2d"]["fold0"]
    series |= {"train_loss": [0.7, 0.5, 0.4], "validation_loss": [0.7, 0.6, 0.65]}
    series |= {"held_out_loss": [0.62], "best_round": [2.0]}
    block = training_block(parse(tree))
    assert block is not None and len(block.lines) == 12
    assert [(cell.text, cell.small) for cell in block.lines[0].cells] == [
        ("3", ""),
        ("2", ""),
        ("0.400", "first 0.700"),
        ("0.650", "first 0.700"),
        ("0.620", ""),
    ]


def test_losses_that_no_training_has_are_no_column(tree: dict[str, Any]) -> None:
    for variants in tree["training"]["federated"].values():
        for series in variants.values():
            series |= {"validation_loss": [], "held_out_loss": []}
    block = training_block(parse(tree))
    assert block is not None
    assert block.columns == ("Training", "Rounds", "Rounds kept", "Training loss")


@pytest.mark.parametrize(
    ("method", "n", "warned"),
    [
        ("DeLong, patients in groups of 3 or more (one site)", 60, True),
        ("DeLong, patients in groups of 3 or more (one site)", 100, False),
        ("DeLong, exact (one site)", 60, False),
    ],
)
def test_a_small_set_whose_scores_lie_in_cells_warns_of_its_p_values(
    whole: Results, method: str, n: int, warned: bool
) -> None:
    changed = {"n": n, "positives": 20, "method": method, "correct": None, "tp": None, "tn": None}
    rows = tuple(
        row.model_copy(update=changed) if row.set == "external_1" else row
        for row in whole.performance
    )
    results = whole.model_copy(update={"performance": rows})
    (block,) = [one for one in performance_blocks(results) if one.key == "external_1"]
    assert ("a P may be off" in block.note) == warned
