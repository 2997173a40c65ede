"""The choices of a study on the page: all of them, with their values, and what the paper says."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from server.report.choices import DIFFERS, GROUPS, RESNET50, Origin, paper_defaults
from server.report.recorded_settings import BLOCKS, PARTS, recorded_settings
from server.report.results import parse
from server.report.schema import RecordedSettings, Results
from server.report.study_report import render, settings_blocks, settings_sentence
from tests import builders
from tests.fixtures import synthetic_results


def shown(tree: dict[str, Any], **blocks: Any) -> dict[tuple[str, str], list[str]]:
    """Value and verdict by group and choice, of a study with these blocks."""
    if blocks:
        study = builders.study(**builders.ALL_MODELS, **blocks)
        tree["settings"] = recorded_settings(study)
    return {
        (block.title, line.head): [cell.text for cell in line.cells]
        for block in settings_blocks(parse(tree))
        for line in block.lines
    }


def test_every_setting_is_in_exactly_one_choice() -> None:
    settings = paper_defaults()
    named = Counter(
        (group.block, key) for group in GROUPS for one in group.choices for key in one.keys
    )
    expected = {("", name) for name in PARTS if name != "clinical"}
    for block in (*BLOCKS, "interpolation"):
        expected |= {(block, key) for key in getattr(settings, block)}
    assert set(named) == expected
    assert set(named.values()) == {1}


def test_the_papers_own_study_differs_from_it_only_where_it_has_to() -> None:
    tree = {**synthetic_results.STUDY, "schema": 1, "settings": paper_defaults().model_dump()}
    verdicts = {key: cells[1] for key, cells in shown(tree).items() if key[0] != "Clinical columns"}
    differing = {key: text for key, text in verdicts.items() if text.startswith(DIFFERS)}
    assert differing == {
        ("Radiomics features", "Computed on"): f"{DIFFERS}: the windowed image",
        ("2D network", "Initial weights"): f"{DIFFERS}: ImageNet",
        ("3D network", "Initial weights"): f"{DIFFERS}: Med3D",
        ("Selection of features", "LASSO on the features of each network"): (
            f"{DIFFERS}: shown beside the network's own probability (Fig. S1)"
        ),
    }
    assert set(verdicts.values()) - set(differing.values()) == set(map(str, Origin))


@pytest.mark.parametrize(
    ("blocks", "place", "cells"),
    [
        (
            {"imaging": {"window": 400}},
            ("Preparation of images", "Window"),
            ["400 HU wide, centred on 50 HU", f"{DIFFERS}: 350 HU wide, centred on 50 HU"],
        ),
        (
            {"radiomics": {"window": True}},
            ("Radiomics features", "Computed on"),
            ["the windowed image", "the paper's"],
        ),
        (
            {"dl3d": {"batch_size": 4}},
            ("3D network", "Batch"),
            ["4", "left open by the paper; default here: 8"],
        ),
        (
            {"dl2d": {"batch_size": 4}},
            ("2D network", "Batch"),
            ["4", f"{DIFFERS}: 64"],
        ),
        (
            {"privacy": {"masking": "off"}},
            ("Privacy", "Masks over sums and weights"),
            ["off", "not in the paper; default here: required"],
        ),
        (
            {"selection": {"networks": "show"}},
            ("Selection of features", "LASSO on the features of each network"),
            ["shown beside the network's own probability", "the paper's"],
        ),
        (
            {"dl2d": {"strategy": "fedprox"}},
            ("2D network", "Strategy"),
            ["fedprox (proximal_mu 0.01)", "not in the paper; default here: fedavg"],
        ),
    ],
)
def test_what_the_paper_says_of_a_choice(
    tree: dict[str, Any], blocks: dict[str, Any], place: tuple[str, str], cells: list[str]
) -> None:
    assert shown(tree, **blocks)[place] == cells


def test_every_value_of_a_choice_has_words(tree: dict[str, Any]) -> None:
    """All alternatives of all settings that are a choice of words, shown without a failure."""
    private = {"norm": "group", "select": "last", "patience": 0}
    frozen = {"norm": "frozen", "pretrained": "x.pth", "optimiser": "sgd", "local_steps": 3}
    dilated = {"dilated": True, "average_last": 0.1, "gradient_clip": 1.0, "augment": False}
    for blocks in (
        {"imaging": {"order": "resample_first"}},
        {"svm": {"kernel": "rbf"}},
        {"selection": {"networks": "use"}},
        {"fusion": {"pooling": "bins"}},
        {"fusion": {"stacker": "best"}},
        {"privacy": {"mode": "faithful", "masking": "where_possible"}},
        {
            "dl2d": {**private, "strategy_options": {"server_rate": 0.5}},
            "dl3d": {"norm": "group"},
            "differential_privacy": {"noise_multiplier": 1.0},
        },
        {"dl2d": frozen},
        {"dl3d": dilated},
    ):
        assert shown(tree, **blocks)


def test_the_2d_network_may_not_borrow_what_the_paper_says_of_the_3d_one(
    tree: dict[str, Any],
) -> None:
    blocks = {block.title: block for block in settings_blocks(parse(tree))}
    decay = {
        title: next(line.cells[1] for line in blocks[title].lines if "L2" in line.head)
        for title in ("2D network", "3D network")
    }
    assert decay["2D network"].small == "stated, but not how strong"
    assert decay["3D network"].small == "stated for the 2D network alone"
    assert {cell.text for cell in decay.values()} == {"left open by the paper"}


def test_choices_without_effect_are_left_out(tabular: Results) -> None:
    titles = [block.title for block in settings_blocks(tabular)]
    assert titles == [
        "Models and validation",
        "Clinical columns",
        "Selection of features",
        "Support vector machines",
        "Privacy",
        "Analysis",
        "Waiting",
    ]


def test_all_options_of_a_strategy_are_shown(tree: dict[str, Any]) -> None:
    cells = shown(tree, dl2d={"strategy": "fedyogi", "strategy_options": {"tau": 0.5}})
    reported, _ = cells[("2D network", "Strategy")]
    assert reported == "fedyogi (server_rate 0.01, beta_1 0.9, beta_2 0.99, tau 0.5)"


def test_the_paper_has_a_resnet50() -> None:
    assert all(paper_defaults().dl3d[key] == value for key, value in RESNET50.items())


class Section(HTMLParser):
    """Rows of the section on settings, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.rows, self.text = False, list[list[str]](), ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self.inside = ("id", "settings") in attrs
        if self.inside and tag == "tr":
            self.rows.append([])
        if self.inside and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.text += data
            if self.rows and self.rows[-1]:
                self.rows[-1][-1] += data.strip()


def test_the_page_shows_every_choice_that_counts_with_its_recorded_value(whole: Results) -> None:
    reader = Section()
    reader.feed(render(whole, []))
    settings = whole.settings
    assert settings is not None
    rows = {(row[0], row[1]) for row in reader.rows if len(row) == 3}
    for group in GROUPS:
        block = getattr(settings, group.block) if group.block else vars(settings)
        for one in group.choices if group.counts(settings) else ():
            if one.counts(settings):
                assert (one.words, one.in_words(block)) in rows
    for remark in settings.remarks:
        assert remark in reader.text
    assert settings.radiomics_file.strip() in reader.text
    assert "binWidth: 25" in reader.text
    assert ("3D network" in reader.text) and ("/somewhere" not in reader.text)


def test_the_sentence_counts_the_rows(whole: Results) -> None:
    counts = list(map(int, re.findall(r"\d+", settings_sentence(whole))))
    assert counts[0] == sum(counts[1:])
    bold = sum(
        cell.strong
        for block in settings_blocks(whole)
        for line in block.lines
        for cell in line.cells
    )
    assert counts[-1] == bold == 5


def test_a_file_of_an_earlier_release_has_no_such_section(tree: dict[str, Any]) -> None:
    del tree["settings"]
    results = parse(tree)
    assert results.settings is None
    assert 'id="settings"' not in render(results, [])


def test_settings_of_another_release_are_read_and_shown_as_far_as_they_are_known(
    tree: dict[str, Any],
) -> None:
    del tree["settings"]["imaging"]["order"]
    tree["settings"]["imaging"]["order_of_steps"] = "window_first"
    cells = shown(tree)
    assert ("Preparation of images", "Window") in cells
    assert ("Preparation of images", "Order") not in cells


def test_settings_hold_no_other_kind_of_data() -> None:
    whole = paper_defaults().model_dump()
    for bad in ([[1.0, 2.0]], {"deep": {"deeper": 1}}, float("nan")):
        with pytest.raises(ValueError):
            RecordedSettings.model_validate({**whole, "imaging": {"window": bad}})
