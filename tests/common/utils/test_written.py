"""Numbers and levels as people write them."""

from __future__ import annotations

import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.study.model import ClinicalColumn
from common.utils.text_file import level_index, number

LEVELS = ("T1", "T 2", "m\u00e4nnlich", "3")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_python_writes_is_read_back(value: float) -> None:
    assert number(repr(value)) == value
    assert number(f"+{abs(value)!r}") == abs(value)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-9999, max_value=9999)
)
def test_a_decimal_number_is_the_nearest_one(value: Decimal) -> None:
    assert number(f"{value:f}") == float(value)


@given(st.text(max_size=6) | st.text("0123456789.,eE+-_ \uff11\u0661\u00b2", max_size=6))
def test_a_text_is_a_plain_number_or_none(text: str) -> None:
    value = number(text)
    if value is None:
        assert not text.isascii() or not text.isdigit()
    else:
        assert set(text) <= set("0123456789.eE+-")
        assert value == float(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " 1", "1 ", "1_000", "0x10", "nan", "inf", "-infinity", "1e", "e5", ".", "+", "--1"),
        *("12,5", "1.234,5", "1 234", "1'234", "50%", "<5", "true", "\uff11\uff12", "\u0661", "1j"),
        *("\u00b2", "\u22125", "1\n", "5\u200b", "2024-01-05"),
    ],
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert number(text) is None


def test_minus_zero_is_zero() -> None:
    assert str(number("-0.0")) == "0.0"


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("T1", 0),
        ("\u00a0T1\u200b", 0),
        ("T\u00a02", 1),
        (unicodedata.normalize("NFD", "m\u00e4nnlich"), 2),
        ("3.0", 3),
        ("03", 3),
        ("t1", None),
        ("T2", None),
        ("\uff13", None),
        ("", None),
    ],
)
def test_a_level_is_found_as_it_is_seen(text: str, index: int | None) -> None:
    assert level_index(text, LEVELS) == index


@pytest.mark.parametrize(
    ("levels", "missing", "message"),
    [
        (["1", "1.0"], [], 'a level is listed twice: "1" and "1.0" are the same'),
        (["a 1", "b", "a 1 "], [], "a level is listed twice"),
        (["\u00e4", "a\u0308"], [], "a level is listed twice"),
        (["0", "1"], ["0.0"], '"0" cannot be both a level and a missing value'),
        (["", "1"], [], "an empty cell is a missing value"),
    ],
)
def test_levels_that_a_cell_cannot_tell_apart_are_refused(
    levels: list[str], missing: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ClinicalColumn(name="x", kind="categorical", levels=levels, missing=missing)
