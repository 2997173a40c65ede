"""A clinical cell is read as meant, or refused with the remedy that helps."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.data.clinical_values import LARGEST, coded_value
from common.errors import InputError
from common.study.model import ClinicalColumn

AGE = ClinicalColumn(name="age", kind="continuous", missing=("-1", "n. a."))
STAGE = ClinicalColumn(name="stage", kind="ordinal", levels=("T1", "T2"), missing=("Tx",))
FLAG = ClinicalColumn(name="flag", kind="binary", levels=("0", "1"))


def refusal(text: str, column: ClinicalColumn) -> InputError:
    with pytest.raises(InputError) as caught:
        coded_value(text, column)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [("60", 60), ("+5", 5), ("1e2", 100), ("-0.5", -0.5), ("007", 7), (".5", 0.5), ("0", 0)],
)
def test_numbers_are_read(text: str, value: float) -> None:
    assert coded_value(text, AGE) == value


@pytest.mark.parametrize("text", ["", "-1", "-1.0", "n. a.", "n.\u00a0a."])
def test_what_the_study_calls_missing_is_missing(text: str) -> None:
    assert math.isnan(coded_value(text, AGE))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("12,5", "write decimals with a point"),
        ("1.234,5", "write decimals with a point, and thousands without"),
        ("1,234", "thousands without any separator"),
        ("1,234.5", "thousands without any separator"),
        ("1 234", "write thousands without any separator"),
        ("1\u202f234", "write thousands without any separator"),
        ("1'234", "write thousands without any separator"),
        ("1_000", "write thousands without any separator"),
        ("1.234.567", "write thousands without any separator"),
        ("50%", "without the percent sign"),
        ("<5", "a limit is not a value"),
        ("\u2265 90", "a limit is not a value"),
        (">90", "a limit is not a value"),
        ("2024-01-05", "a date"),
        ("05.01.2024", "a date"),
        ("1/2/24", "a date"),
        ("2024-01-05 12:30:00", "a date"),
        ("5-Jan", "a date"),
        ("Mai 24", "a date"),
        ("NA", 'ask the coordinator to list "NA" under missing'),
        ("n/a", 'list "n/a" under missing'),
        ("-", 'list "-" under missing'),
        ("Unknown", 'list "Unknown" under missing'),
        ("nan", 'list "nan" under missing'),
        (r"\N", r'list "\N" under missing'),
        ("\uff11\uff12", "write it with the digits 0 to 9"),
        ("\u0661\u0662", "write it with the digits 0 to 9"),
        ("5\u00b2", "write it with the digits 0 to 9"),
        ("6\u200b0", "type it anew: the cell holds characters that do not show"),
        ("\u22125", "write a minus sign as the hyphen"),
        ("\u20135", "write a minus sign as the hyphen"),
        ("'60", "delete the apostrophe"),
        ('="60"', "save values instead of formulas"),
        ("#DIV/0!", "an error of a spreadsheet"),
        ("#N/A", "an error of a spreadsheet"),
        ("60 years", "write the number alone"),
        ("12.5mm", "write the number alone"),
        ("0x10", "write the number alone"),
        ("infinity", "correct or empty the cell"),
        ("TRUE", "correct or empty the cell"),
    ],
)
def test_what_is_no_number_is_refused_with_the_remedy_that_helps(text: str, remedy: str) -> None:
    error = refusal(text, AGE)
    assert "is not a number" in error.what
    assert remedy in error.remedy


def test_characters_that_do_not_show_are_spelled_out() -> None:
    assert refusal("6\u200b0", AGE).what == r'"6\u200b0" is not a number'


@pytest.mark.parametrize("text", ["1e-400", "-0.0001e-320", "4e-310"])
def test_numbers_that_would_become_zero_are_refused(text: str) -> None:
    assert "too close to zero" in refusal(text, AGE).what


@pytest.mark.parametrize("text", ["1e15", "-1e999", "9" * 400])
def test_numbers_that_nobody_records_are_refused(text: str) -> None:
    assert "too large" in refusal(text, AGE).what


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("t1", "differ only in upper and lower case"),
        ("T 1", "the second lacks a space"),
        ("\uff34\uff11", "differ"),
        ("NA", 'list "NA" under missing in study.toml'),
        ("?", 'list "?" under missing in study.toml'),
    ],
)
def test_an_unknown_level_is_refused_with_the_one_that_may_be_meant(text: str, hint: str) -> None:
    error = refusal(text, STAGE)
    assert error.what == f'unknown level "{text}"'
    assert error.remedy.startswith("use one of T1, T2, or empty")
    assert hint in error.remedy


@pytest.mark.parametrize("text", ["TRUE", "yes", "2", "\uff11", "1,0", "01/01/2024"])
def test_other_words_for_a_level_are_refused(text: str) -> None:
    assert "unknown level" in refusal(text, FLAG).what


@given(st.text(max_size=8), st.sampled_from([AGE, STAGE, FLAG]))
def test_any_text_is_a_value_missing_or_refused_in_words(text: str, column: ClinicalColumn) -> None:
    try:
        value = coded_value(text, column)
    except InputError as error:
        assert error.what and error.remedy
        reported = error.what + error.remedy
        assert not any(unicodedata.category(one) in ("Cc", "Cf") for one in reported)
    else:
        assert math.isnan(value) or abs(value) < LARGEST
