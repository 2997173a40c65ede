from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib as mpl

from common.html.drawing import Drawing, inline, shorten
from server.report.figures import draw_figures, write_figures
from server.report.results import parse
from server.report.schema import Results


def test_two_drawings_of_the_same_results_are_the_same_bytes_whatever_the_users_style(
    tabular: Results,
) -> None:
    first = draw_figures(tabular)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        assert draw_figures(tabular) == first


def test_each_section_has_its_figures(drawings: list[Drawing]) -> None:
    counts: dict[str, int] = {}
    for drawing in drawings:
        counts[drawing.section] = counts.get(drawing.section, 0) + 1
    per_set = {"overview": 4, "roc": 4, "calibration": 4, "decision": 4}
    models = {"lasso": 5, "path": 5, "weights": 5, "correlation": 2}
    assert counts == {**per_set, **models, "strata": 4, "flow": 1, "training": 4}


def test_figures_are_well_formed_and_carry_no_date(drawings: list[Drawing]) -> None:
    for drawing in drawings:
        ElementTree.fromstring(drawing.svg)  # noqa: S314  our own output
        assert "<metadata" not in drawing.svg


def test_a_lasso_path_names_its_largest_features(whole: Results, drawings: list[Drawing]) -> None:
    svg = {drawing.name: drawing.svg for drawing in drawings}
    for model, chosen in whole.selection["federated"].items():
        if chosen.path is not None and chosen.path.coefficients and chosen.coefficients:
            largest = max(chosen.coefficients, key=lambda name: abs(chosen.coefficients[name]))
            assert shorten(largest, 34) in svg[f"path-{model.replace('_', '-')}"]


def test_roc_legend_prints_the_auc_of_the_results(whole: Results, drawings: list[Drawing]) -> None:
    text = next(d.svg for d in drawings if d.name == "roc-external-1")
    for row in whole.performance:
        if row.run == "federated" and row.set == "external_1":
            assert f"AUC {row.auc:.3f}<" in text


def test_inline_ids_are_unique_and_references_resolve(drawings: list[Drawing]) -> None:
    seen: set[str] = set()
    for drawing in drawings:
        root = ElementTree.fromstring(inline(drawing))  # noqa: S314  our own output
        own = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
        assert not own & seen
        seen |= own
        links = [e.attrib.get("{http://www.w3.org/1999/xlink}href", "") for e in root.iter()]
        assert {link[1:] for link in links if link} <= own


def test_a_figure_that_is_no_longer_drawn_is_removed(
    drawings: list[Drawing], tmp_path: Path
) -> None:
    write_figures(drawings, tmp_path)
    kept = write_figures(drawings[:2], tmp_path)
    assert sorted((tmp_path / "figures").iterdir()) == sorted(kept)


def test_withheld_numbers_leave_gaps_not_errors(tree: dict[str, Any]) -> None:
    keys = ("performance", "roc", "calibration", "decision_curve", "strata")
    for key in keys:
        tree[key] = [r for r in tree[key] if r["set"] == "external_2" and r["run"] == "federated"]
    for row in tree["performance"]:
        row.update(auc=None, ci_low=None, ci_high=None)
    for row in tree["strata"]:
        row.update(n=None, positives=None, auc=None, ci_low=None, ci_high=None)
    for row in tree["calibration"]:
        for group in row["bins"]:
            group.update(n=None, mean_predicted=None, observed=None)
    for row in tree["decision_curve"]:
        row["net_benefit"] = [None] * 99
        row["treat_all"] = [None] * 99
    tree["selection"], tree["training"], tree["participants"] = {}, {}, []
    assert len(draw_figures(parse(tree))) == 4


def test_a_dollar_in_a_feature_name_stays_a_dollar(tree: dict[str, Any]) -> None:
    model = tree["selection"]["federated"]["clinical"]
    model["svm"]["weights"] = {"cost_$a$": 1.0, "<b>": -1.0}
    for key in ("performance", "roc", "calibration", "decision_curve", "training"):
        tree[key] = {} if key == "training" else []
    tree["selection"] = {"federated": {"clinical": model}}
    texts = "".join(d.svg for d in draw_figures(parse(tree)))
    assert "cost_$a$" in texts and "&lt;b&gt;" in texts
