"""Text of others on a screen: it cannot hide, move or overwrite what a person reads."""

from __future__ import annotations

import io
import logging

import pytest
from rich.table import Table

from common.utils.console import PlainConsole, PlainFormatter
from common.utils.text_file import check_printable, escaped, on_one_line

HIDE, UP, BACK, TURN = "\x1b[8m", "\x1b[1A", "\r", "\u202e"
WINDOW_TITLE, C1 = "\x1b]0;title\x07", "\x9b8m"
COMMANDS = [HIDE, UP, BACK, TURN, WINDOW_TITLE, C1, "\x08", "\u200b", "\u2028"]


@pytest.fixture
def file() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(file: io.StringIO) -> PlainConsole:
    return PlainConsole(file=file, force_terminal=True, width=200, color_system="standard")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_does_not_print_is_spelled_out(command: str) -> None:
    for spelled in (on_one_line(f"a{command}b"), escaped(f"a{command}b")):
        assert spelled.isprintable()
        assert spelled.startswith("a\\")
        assert spelled.endswith("b")


def test_text_that_prints_stays_as_it_is() -> None:
    for text in ("age ≥ 60 µg/l, Kołobrzeg 医院", "95\u00a0%"):
        assert on_one_line(text) == escaped(text) == text


def test_lines_stay_lines_only_where_they_may() -> None:
    assert on_one_line("a\nb") == "a\\nb"
    assert escaped("a\nb") == "a\nb"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_console_prints_no_command_of_a_text(
    command: str, console: PlainConsole, file: io.StringIO
) -> None:
    text = f"before{command}after"
    console.emit(text)
    console.print(text, highlight=False)
    console.error(ValueError(text))
    table = Table("column")
    table.add_row(text)
    console.print(table)
    assert command not in file.getvalue()
    assert file.getvalue().count("before") == 4


def test_a_told_text_is_one_line_and_no_markup(console: PlainConsole, file: io.StringIO) -> None:
    console.emit("[red]a[/red]\nthresholds: none")
    assert file.getvalue() == "[red]a[/red]\\nthresholds: none\n"


def test_the_consoles_own_colours_stay(console: PlainConsole, file: io.StringIO) -> None:
    console.error(ValueError("wrong"))
    assert "\x1b[31merror\x1b[0m" in file.getvalue()


def test_a_log_on_a_screen_holds_no_command() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "refuses %s", (f"sum{HIDE}",), None)
    assert PlainFormatter("%(message)s").format(record) == "refuses sum\\x1b[8m"


@pytest.mark.parametrize(
    "value", ["a\nb", ("fine", f"a{HIDE}"), {"key": [f"a{TURN}"]}, {f"a{BACK}": 1}]
)
def test_a_text_that_does_not_print_is_found_however_deep(value: object) -> None:
    with pytest.raises(ValueError, match=r"do not print \(U\+[0-9A-F]{4}\)"):
        check_printable(value)


def test_what_prints_and_what_is_no_text_passes() -> None:
    check_printable(("a b", 1, None, {"c": 2.0}))
