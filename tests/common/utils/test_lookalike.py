"""Names that look the same are the same, and what differs is shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.utils.text_file import difference, nearest, plain_text

_INVISIBLE = ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u200e", "\ufe0f", "\0"]
_SPACES = [" ", "\u00a0", "\u2009", "\u202f", "\u3000", "\t", "\r", "\n"]
_NAMES = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12)


@given(st.text())
def test_a_plain_text_is_its_own_plain_text(text: str) -> None:
    assert plain_text(plain_text(text)) == plain_text(text)


@given(_NAMES, st.lists(st.tuples(st.integers(0, 12), st.sampled_from(_INVISIBLE))))
def test_invisible_characters_at_any_place_change_no_name(
    name: str, added: list[tuple[int, str]]
) -> None:
    spoiled = name
    for at, one in added:
        spoiled = spoiled[:at] + one + spoiled[at:]
    assert plain_text(spoiled) == plain_text(name)


@given(_NAMES, st.sampled_from(_SPACES), st.sampled_from(_SPACES))
def test_every_kind_of_space_is_a_space_and_outer_ones_do_not_count(
    name: str, outer: str, inner: str
) -> None:
    assert plain_text(f"{outer}{name}{inner}1{outer}") == plain_text(f"{name} 1")


@given(_NAMES, st.sampled_from(["NFC", "NFD"]))
def test_composed_and_decomposed_accents_are_the_same(name: str, form: str) -> None:
    assert plain_text(unicodedata.normalize(form, name)) == plain_text(name)


@pytest.mark.parametrize(
    "pair", [("GTV", "gtv"), ("GTV1", "GTV 1"), ("GTV", "GT\u0412"), ("²", "2")]
)
def test_names_that_can_be_told_apart_stay_different(pair: tuple[str, str]) -> None:
    assert plain_text(pair[0]) != plain_text(pair[1])


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_difference_is_always_described_and_prints(a: str, b: str) -> None:
    said = difference(a, b)
    assert ("are the same" in said) == (a == b)
    assert not any(unicodedata.category(one) in ("Cf", "Cc") for one in said)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("GTV", "GTV\u00a0", "U+00A0 NO-BREAK SPACE"),
        ("GTV", "\ufeffGTV", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("GTV", "gtv", "upper and lower case"),
        ("GTV 1", "GTV  1", "number of spaces"),
        ("GTV", "GT\u0412", "U+0412 CYRILLIC CAPITAL LETTER VE"),
        ("GTV_1", "GTV1", "the second lacks _ (U+005F)"),
        ("GTV1", "GTV 1", "the first lacks a space"),
        ("Le\u0301sion", "L\u00e9sion", "how their accents are stored"),
    ],
)
def test_what_differs_is_named(a: str, b: str, said: str) -> None:
    assert said in difference(a, b)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gtv", "GTV"),
        ("GTV-1", "GTV 1"),
        ("\uff27\uff34\uff36", "GTV"),
        ("TumourLeft", "Tumor left"),
        ("GT\u0412", "GTV"),
        ("PTV", None),
        ("bladder", None),
    ],
)
def test_the_name_that_was_meant_is_found(text: str, found: str | None) -> None:
    assert nearest(text, ["GTV", "GTV 1", "Tumor left", "Lung"]) == found


def test_without_names_none_is_near() -> None:
    assert nearest("GTV", []) is None
