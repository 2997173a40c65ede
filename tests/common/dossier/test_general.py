"""The general dossier names all that can leave, and is the one that is checked in."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.disclosure.rule import RULES, rules_of
from common.dossier.general import (
    NOT_MEASURED,
    Attack,
    attacks,
    attacks_section,
    axes,
    fields_of,
    first_sentence,
    general_dossier,
    message_texts,
    rounding,
    rule_text,
    travelling_classes,
    type_words,
)
from common.masking.narrow import Packed
from common.messages.exchanges import (
    CATALOGUE,
    REPLIES_IN_PLACE,
    RowsReply,
    SumReply,
    Totals,
    TrainReply,
)
from common.statistics.base import statistic_classes
from common.statistics.counts import LevelCounts
from common.statistics.fold_histogram import FoldHistogram

ROOT = Path(__file__).resolve().parents[3]


def test_the_dossier_in_docs_is_that_of_this_code() -> None:
    stored = (ROOT / "docs" / "privacy-dossier.md").read_text(encoding="utf-8")
    assert stored == general_dossier(), "run `make dossier`"


def test_every_field_that_travels_is_described_and_no_other() -> None:
    texts = message_texts()
    assert set(texts) == set(travelling_classes())
    for name, cls in travelling_classes().items():
        assert set(texts[name].fields) == set(fields_of(cls)), name
        assert set(texts[name].masked) <= set(fields_of(cls)), name
        assert all(len(words) > 4 for words in texts[name].fields.values()), name


def test_every_exchange_with_all_its_fields_stands_in_the_dossier() -> None:
    text = general_dossier()
    for name, exchange in CATALOGUE.items():
        section = text.split(f"\n### {name}\n")[1].split("\n### ")[0]
        for cls in (exchange.request, exchange.reply):
            for field in fields_of(cls):
                assert f"| `{field}` |" in section, (name, field)


def test_every_answer_says_what_an_attacker_could_do() -> None:
    texts = message_texts()
    for exchange in CATALOGUE.values():
        assert texts[exchange.reply.__name__].attack.endswith("."), exchange.reply


def test_what_travels_as_ring_elements_is_what_is_called_masked() -> None:
    texts = message_texts()
    masked = {(name, field) for name, text in texts.items() for field in text.masked}
    rings = {
        (cls.__name__, field)
        for cls in travelling_classes().values()
        if cls is not Totals  # sums over all sites, on their way back to them
        for field, hint in fields_of(cls).items()
        if any(ring in type_words(hint) for ring in ("uint64", "uint32")) or hint == Packed
    }
    # bytes that are no ring elements: signatures and keys
    rings = {(name, field) for name, field in rings if name not in ("SignReply", "OpenReply")}
    # epsilon is a bound on the cost, made of settings and counts that are known; an objection is
    # mostly empty, else two rounded losses of enough patients; departures count rounds
    echo = {"site", "session", "number", "request", "attempt", "epsilon", "objection", "departures"}
    numbers = {(c.__name__, f) for c in (SumReply, TrainReply, RowsReply) for f in fields_of(c)}
    assert masked == rings == {(name, field) for name, field in numbers if field not in echo}


@pytest.mark.parametrize("name", statistic_classes())
def test_a_statistic_says_what_it_is_and_what_an_attacker_could_do(name: str) -> None:
    text = statistic_classes()[name]
    assert text.about.endswith(".")
    assert text.attack.endswith(".")
    assert len(text.attack.split()) >= 8
    assert f"\n### {name}\n" in general_dossier()


def test_every_rule_is_described_used_and_shown() -> None:
    text = rule_text()
    assert set(text.messages) == set(CATALOGUE)
    used = {
        name
        for names in (
            text.every_sum,
            text.training_sum,
            *text.messages.values(),
            *([rule.name for rule in rules_of(c.kind)] for c in statistic_classes().values()),
        )
        for name in names
    }
    assert used == set(RULES)
    shown = general_dossier().split("\n## The rules\n")[1].split("\n## ")[0]
    assert all(f"| `{name}` |" in shown for name in RULES)


def test_an_attack_has_a_figure_with_its_source_or_none() -> None:
    for one in attacks():
        assert bool(one.result) == bool(one.source), one.name
        assert not one.source or (ROOT / one.source).is_file(), one.name


def test_figures_of_attacks_are_shown_when_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Attack("a", "Search.", "plain", "5 of 9 patients", "tests/x.py")
    open_one = Attack("b", "Guess.", "masked", "", "")
    monkeypatch.setattr("common.dossier.general.attacks", lambda: (measured, open_one))
    text = attacks_section()
    assert "| Search. | plain | 5 of 9 patients (tests/x.py) |" in text
    assert f"| Guess. | masked | {NOT_MEASURED} |" in text


def test_answers_in_place_of_any_other_are_shown() -> None:
    text = general_dossier()
    assert all(f"\n`{cls.__name__}`\n" in text for cls in REPLIES_IN_PLACE)


def test_shapes_read_well() -> None:
    assert axes(("folds", "columns * (columns + 1) / 2")) == "folds x columns (columns + 1) / 2"
    assert axes(("problems", "columns + 1")) == "problems x (columns + 1)"
    assert axes(("1",)) == "1"


def test_a_first_sentence_does_not_end_within_an_ellipsis() -> None:
    assert first_sentence(LevelCounts).endswith("missing values are left out.")
    assert first_sentence(FoldHistogram) == "Counts per fold, column and cell."


def test_rounding_of_counts_is_none_and_of_others_a_power_of_two() -> None:
    assert rounding(0.5) == "none (whole numbers)"
    assert rounding(2.0**-32) == "2^-32"
