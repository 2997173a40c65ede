from __future__ import annotations

import pytest

from server.report import words
from server.report.performance import methods
from server.report.schema import Results


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (None, words.MISSING),
        (0.0, "<0.0001"),
        (0.0001, "0.00010"),
        (0.0072, "0.0072"),
        (0.042, "0.042"),
        (0.17, "0.17"),
        (0.5, "0.50"),
        (1.0, ">0.99"),
    ],
)
def test_p_values_have_two_significant_digits(p: float | None, text: str) -> None:
    assert words.p_value(p) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.96, "1 min 00 s"), (245.0, "4 min 05 s"), (7800.0, "2 h 10 min")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_999, "1 MB"), (184_620_288, "185 MB")],
)
def test_bytes_have_three_significant_digits(count: int, text: str) -> None:
    assert words.size(count) == text


def test_moments_are_dates_and_other_text_stays() -> None:
    assert words.moment("2024-01-01T09:30:00+00:00") == "1 January 2024, 09:30 UTC"
    assert words.moment("yesterday") == "yesterday"


def test_models_of_a_set_that_differ_in_cells_alone_share_one_sentence(whole: Results) -> None:
    cells = iter([(12, 9), (13, 8), (4, 17)])
    rows = tuple(
        row.model_copy(update={"method": "DeLong by histograms ({} and {} cells).".format(*own)})
        for row, own in zip(whole.performance, cells, strict=False)
        if row.run == "federated"
    )
    reported = methods(whole.model_copy(update={"performance": rows}))
    assert len(reported) == 1
    assert "(4 to 17 cells)" in reported[0]
    assert reported[0].endswith(": DeLong by histograms.")


def test_a_number_that_is_zero_as_written_has_no_sign() -> None:
    assert words.number(-0.0004) == "0.000"
    assert words.number(-0.004, 2) == "0.00"
    assert words.number(-0.006, 2) == "\N{MINUS SIGN}0.01"
