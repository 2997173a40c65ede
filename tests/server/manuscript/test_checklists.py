from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest

from common.study.reporting import ReportingFields
from server.manuscript import claim, tripod_ai, tripod_ai_abstract
from server.manuscript.items import PLACES, Source, answer, missing_fields
from server.report.results import parse
from server.report.schema import Results
from server.report.study_report import render
from tests.fixtures import synthetic_results

LISTS = (tripod_ai, tripod_ai_abstract, claim)
# the official numbering: Collins et al. 2024; Tejani et al. 2024 (docs/results.md says where)
LETTERS = {
    **{3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg"},
    **{18: "abcdef", 20: "abc", 23: "ab", 27: "abc"},
}
TRIPOD = [f"{n}{letter}" for n in range(1, 28) for letter in LETTERS.get(n, " ")]
NUMBERS = {
    tripod_ai.__name__: [one.strip() for one in TRIPOD],
    tripod_ai_abstract.__name__: [str(n) for n in range(1, 14)],
    claim.__name__: [str(n) for n in range(1, 45)],
}


@pytest.fixture(scope="module")
def whole() -> Results:
    return parse(synthetic_results.build())


@pytest.fixture(scope="module")
def tabular() -> Results:
    return parse(synthetic_results.tabular())


def filled() -> dict[str, str]:
    return {name: f"text of {name}" for name in ReportingFields.model_fields}


@pytest.mark.parametrize("guideline", LISTS, ids=lambda one: one.TITLE)
def test_every_item_has_its_official_number_once_and_in_order(guideline: ModuleType) -> None:
    assert [item.number for item in guideline.ITEMS] == NUMBERS[guideline.__name__]


def test_every_item_is_in_its_official_section() -> None:
    """Sections of the 44 items of CLAIM 2024, and of the groups of TRIPOD+AI."""
    sections = [item.section.partition(": ")[2] or item.section for item in claim.ITEMS]
    wanted = {
        **{"Title": 1, "Abstract": 1, "Introduction": 2, "Study design": 2, "data": 7},
        **{"reference standard": 5, "partitions": 2, "Testing data": 1, "Model": 3},
        **{"Training": 3, "Evaluation": 7, "Results": 5, "Discussion": 2},
        "Other information": 3,
    }
    assert {name: sections.count(name) for name in dict.fromkeys(sections)} == wanted
    open_science = [item.number for item in tripod_ai.ITEMS if item.section == "Open science"]
    assert open_science == [f"18{letter}" for letter in "abcdef"]


def test_places_in_the_report_are_parts_of_it(whole: Results) -> None:
    page = render(whole, [])
    for item in (item for one in LISTS for item in one.ITEMS):
        if item.where.startswith("report, "):
            place = PLACES[item.where.removeprefix("report, ")]
            assert f'id="{place}"' in page, item


def test_a_label_keeps_its_capitals_within_a_sentence(whole: Results) -> None:
    for one in (one for each in LISTS for one in answer(each.ITEMS, whole, {})):
        assert not {"2d", "3d", "lasso"} & set(re.findall(r"\w+", one.text)), one.item


def test_what_a_run_knows_is_filled_in(whole: Results) -> None:
    texts = {one.item.number: one.text for one in answer(tripod_ai.ITEMS, whole, {})}
    assert whole.study.endpoint in texts["8a"]
    assert "(T1 < T2 < T3 < T4)" in texts["9b"]
    assert "Patients of the rarer outcome for each candidate: clinical " in texts["10"]
    assert "slope" in texts["23a"] and "sensitivity" in texts["23a"]
    assert "fedlnm-site predict fills" in texts["27a"]


def test_every_field_of_the_authors_answers_an_item() -> None:
    asked = {name for one in LISTS for item in one.ITEMS for name in item.fields}
    assert asked == set(ReportingFields.model_fields)


@pytest.mark.parametrize("guideline", LISTS, ids=lambda one: one.TITLE)
def test_no_item_is_without_an_answer_once_the_authors_have_written(
    guideline: ModuleType, whole: Results
) -> None:
    answers = answer(guideline.ITEMS, whole, filled())
    assert missing_fields(answers) == ()
    # an honest run may have nothing to warn of, but its authors have limitations
    assert [one.item.number for one in answers if not one.text] == []
    assert {one.source for one in answers} <= {Source.RUN, Source.AUTHORS, Source.BOTH}


@pytest.mark.parametrize("guideline", LISTS, ids=lambda one: one.TITLE)
def test_what_only_the_authors_know_is_named_until_they_write_it(
    guideline: ModuleType, whole: Results
) -> None:
    answers = answer(guideline.ITEMS, whole, {"ethics": "approved"})
    for one in answers:
        assert one.missing == tuple(n for n in one.item.fields if n != "ethics")
        assert bool(one.text) or one.source in (Source.WRITE, Source.NONE)


def test_the_authors_words_come_first_and_the_runs_facts_after_them(whole: Results) -> None:
    (one,) = answer([tripod_ai.ITEMS[0]], whole, {"title": "A study of larynges."})
    assert one.text.startswith("A study of larynges. Development of ")
    assert one.source is Source.BOTH


def test_facts_follow_the_run(whole: Results, tabular: Results) -> None:
    texts = {one.item.number: one.text for one in answer(tripod_ai.ITEMS, whole, {})}
    row = next(r for r in whole.performance if r.run == "federated" and r.set != "train")
    assert f"{row.n} patients, {row.positives} with the outcome" in texts["20a"]
    assert "1834 radiomics features" in texts["9a"]
    assert whole.study.digest in texts["18c"]
    clinical = {one.item.number: one.text for one in answer(tripod_ai.ITEMS, tabular, {})}
    assert "radiomics" not in clinical["9a"]


def test_synthetic_patients_are_called_so(whole: Results) -> None:
    tree: dict[str, Any] = synthetic_results.build()
    assert tree["ceiling"]
    (one,) = answer([i for i in tripod_ai.ITEMS if i.number == "5a"], parse(tree), {})
    assert one.text.startswith("THE PATIENTS ARE SYNTHETIC.")
    tree["ceiling"] = None
    (one,) = answer([i for i in tripod_ai.ITEMS if i.number == "5a"], parse(tree), {})
    assert "SYNTHETIC" not in one.text
