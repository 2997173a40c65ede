"""A line with content becomes one row, or the table is refused and the line is named."""

from __future__ import annotations

import csv
import io
import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.table_text import Fault, Row, read_sheet
from common.utils.text_file import plain_text

NAMES = ("patient_id", "label", "age")
HEAD = ",".join(NAMES)
GOOD = f"{HEAD}\np1,0,60\np2,1,61\np3,0,62\n"


def faults(text: str) -> list[tuple[tuple[int, ...], str]]:
    return [(fault.lines, fault.what) for fault in read_sheet(text).faults]


# -- what other programs write -------------------------------------------------------------------

CELLS = st.text(
    st.characters(
        blacklist_categories=["Cs", "Cc", "Zl", "Zp"], blacklist_characters="\ufeff\ufffd"
    ),
    max_size=8,
) | st.text(' ",;\t1.a', max_size=8)
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6)


def with_ids(table: list[tuple[str, str]]) -> list[list[str]]:
    return [[f"p{number}", *cells] for number, cells in enumerate(table)]


def expected(rows: list[list[str]]) -> list[tuple[str, ...]]:
    return [tuple(cell.strip() for cell in row) for row in rows]


@given(
    TABLES,
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_pythons_writer_wrote_is_read_cell_by_cell(
    table: list[tuple[str, str]], quoting: int, end: str
) -> None:
    rows = with_ids(table)
    file = io.StringIO(newline="")
    csv.writer(file, quoting=quoting, lineterminator=end).writerows([NAMES, *rows])
    sheet = read_sheet(file.getvalue())
    assert sheet.faults == ()
    assert sheet.names == NAMES
    assert [row.cells for row in sheet.rows] == expected(rows)
    assert [row.line for row in sheet.rows] == list(range(2, 2 + len(rows)))


@given(TABLES, st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]))
def test_what_pandas_wrote_is_read_cell_by_cell(table: list[tuple[str, str]], quoting: int) -> None:
    rows = with_ids(table)
    text = pd.DataFrame(rows, columns=list(NAMES)).to_csv(index=False, quoting=quoting)
    sheet = read_sheet(text)
    assert sheet.faults == ()
    assert [row.cells for row in sheet.rows] == expected(rows)


def test_numbers_that_pandas_wrote_with_its_index_are_refused_by_column() -> None:
    text = pd.DataFrame({"patient_id": ["p1", "p2"], "age": [60.5, 61]}).to_csv()
    assert faults(text) == [((1,), "column 1 has values but no name")]


# -- damage ----------------------------------------------------------------------------------------

LINES = [HEAD, "p1,0,60", 'p2,1,"61"', '"p3, the ""third""",0,62', "", ",,", "p4,1,63", "p5,0,"]
DAMAGE = st.tuples(
    st.integers(0, 90),
    st.sampled_from(["insert", "delete", "replace"]),
    st.sampled_from([*"\",\n\r;#\t 1a='\0", '"\n', '""', ',"', '",', "\r\n", "\ufeff", "\u2028"]),
)


def damaged(text: str, damages: list[tuple[int, str, str]]) -> str:
    for at, how, what in damages:
        place = at % (len(text) + 1)
        rest = text[place:] if how == "insert" else text[place + 1 :]
        text = text[:place] + ("" if how == "delete" else what) + rest
    return text


def records(text: str) -> list[tuple[str, ...]]:
    """Lines with content, cell by cell, by Python's csv module."""
    lines = re.split(r"\r\n|\n|\r", text)
    cells = [tuple(c.strip() for c in row) for line in lines for row in csv.reader([line])]
    return [row for row in cells if any(row)]


@settings(max_examples=500)
@given(st.sampled_from(["\n", "\r\n", "\r"]), st.lists(DAMAGE, max_size=5))
def test_a_damaged_table_is_read_row_by_row_or_refused(
    end: str, damages: list[tuple[int, str, str]]
) -> None:
    text = damaged(end.join(LINES) + end, damages)
    sheet = read_sheet(text)
    if sheet.faults:
        assert all(fault.lines or fault.what == "nothing is in it" for fault in sheet.faults)
        assert all(fault.remedy for fault in sheet.faults)
        return
    heading, *rows = records(text)
    named = [at for at, name in enumerate(heading) if plain_text(name)]
    assert [row.cells for row in sheet.rows] == [tuple(row[at] for at in named) for row in rows]


@given(st.text(st.sampled_from('",\n\r ab#'), max_size=60))
def test_any_text_is_read_row_by_row_or_refused(text: str) -> None:
    sheet = read_sheet(text)
    if not sheet.faults:
        assert len(sheet.rows) == len(records(text)) - 1


@given(st.integers(0, 4), st.integers(0, 3), st.booleans())
def test_a_quotation_mark_that_is_not_closed_swallows_nobody(
    row: int, cell: int, closed_later: bool
) -> None:
    lines = [HEAD, *(f"p{number},0,6{number}" for number in range(9))]
    for at in (row, row + 4) if closed_later else (row,):
        cells = lines[at].split(",")
        cells[cell % 3] = f'"{cells[cell % 3]}'
        lines[at] = ",".join(cells)
    found = faults("\n".join(lines))
    assert found[0][0][0] == row + 1
    assert "a quotation mark that is not closed" in found[0][1]


# -- by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "lines", "what"),
    [
        (['p1,0,"60', "p2,0,61", 'p3,0,"62"'], (2,), "a quotation mark that is not closed"),
        (['p1,0,"60', 'and more"', "p2,0,61"], (2,), "a quotation mark that is not closed"),
        (['p1,0,"60"x'], (2,), "text between a closing quotation mark and the next comma"),
        (['p1,0,"60" '], (2,), "text between a closing quotation mark and the next comma"),
        (['p1,0,"6\\"0"'], (2,), "text between a closing quotation mark and the next comma"),
        (['p1,0,6"'], (2,), "a quotation mark inside a cell that does not begin with one"),
        (['p1,0, "60"'], (2,), "a quotation mark inside a cell that does not begin with one"),
        (['p1,0,="60"'], (2,), "a quotation mark inside a cell that does not begin with one"),
        (["p1,0,60", "p2,0,60,5", "p3,0,61,5"], (3, 4), "rows have more cells than there are"),
        (["p1,0,60,"], (2,), "rows have more cells than there are columns (4 cells, 3 columns)"),
        (["p1,0,60", "p2,0"], (3,), "rows have fewer cells than there are columns (2 cells, 3"),
        (["p1"], (2,), "rows have fewer cells than there are columns (1 cell, 3 columns)"),
        (["p1,0,60", HEAD, "p2,0,61"], (3,), "the heading again"),
        ([HEAD], (2,), "the heading again"),
        (["p1,0,60", "age,patient_id,label", "61,p2,0"], (3,), "the heading again"),
        (["#p1,0,60"], (2,), 'a line that begins with "#", as comments do'),
        (['"#p1",0,60'], (2,), 'a line that begins with "#", as comments do'),
        (["p1,0,60", "# end of the export"], (3,), 'a line that begins with "#"'),
        (["p1,0,6\f0"], (2,), "a control character (U+000C) inside the text"),
        (["p1,0,6\x850"], (2,), "a control character (U+0085) inside the text"),
        (["p1,0,60\x1a"], (2,), "a control character (U+001A) inside the text"),
        (["p1,0,6\u20280"], (2,), "a control character (U+2028) inside the text"),
        (["p1,0,60", "\ufeffp2,0,61"], (3,), "a byte order mark (U+FEFF) inside the text"),
        (["p1,0,\ufffd"], (2,), "a replacement character (U+FFFD)"),
        (["p1,0,6\r0"], (2,), "a carriage return without a line feed"),
    ],
)
def test_doubtful_rows_are_refused_by_line(
    rows: list[str], lines: tuple[int, ...], what: str
) -> None:
    found = faults("\n".join([HEAD, *rows]) + "\n")
    assert (lines, True) in [(place, said.startswith(what)) for place, said in found]


@pytest.mark.parametrize(
    ("heading", "what"),
    [
        ("patient_id;label;age", "cells are separated by semicolons"),
        ("patient_id\tlabel\tage", "cells are separated by tabs"),
        ("patient_id|label|age", "cells are separated by vertical bars"),
        ('"patient_id";"label";"size, cm"', "cells are separated by semicolons"),
        ("sep=;", "cells are separated by semicolons"),
        ("sep=^", 'cells are separated by "^"'),
        ("patient_id,age,age", "the column age is there twice"),
        ("patient_id,age,age\u200b", "the column age is there twice"),
        (
            "patient_id,Gr\u00f6\u00dfe,Gro\u0308\u00dfe",
            "the column Gr\u00f6\u00dfe is there twice",
        ),
        ("patient_id,,age", "column 2 has values but no name"),
        (",patient_id,age", "column 1 has values but no name"),
        ("# exported today", 'a line that begins with "#"'),
        (f"Export of 2024\n\n{HEAD}", "text above the heading, which is in line 3"),
        (f"Export,,\n{HEAD}", "text above the heading, which is in line 2"),
        (f'"{HEAD}"', "the whole line stands in quotation marks"),
    ],
)
def test_a_doubtful_heading_is_refused(heading: str, what: str) -> None:
    (found, *_) = faults(f"{heading}\np1,0,60\n")
    assert found[0] == (1,)
    assert found[1].startswith(what)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.replace("\n", "\r\n", 2),
        GOOD.rstrip("\n"),
        f"sep=,\n{GOOD}",
        GOOD.replace("\n", ",,\n"),
        GOOD.replace("p2", " p2\u00a0").replace("label", " label"),
        GOOD.replace("\np2", '\n,,\n\n , ,\n"","",""\n,\np2'),
        GOOD.replace("60", '"60"').replace("patient_id", '"patient_id"'),
    ],
)
def test_harmless_forms_of_a_table_are_read_alike(text: str) -> None:
    sheet = read_sheet(text)
    assert sheet.faults == ()
    assert sheet.names == NAMES
    wanted = [("p1", "0", "60"), ("p2", "1", "61"), ("p3", "0", "62")]
    assert [row.cells for row in sheet.rows] == wanted


def test_all_faults_are_named_each_with_its_lines() -> None:
    text = f'{HEAD}\np1,0,"60\np2,0\np3,0\np4,0,6,5\n#p5,0,60\np6,0,60\n'
    sheet = read_sheet(text)
    assert [fault.lines for fault in sheet.faults] == [(6,), (2,), (3, 4), (5,)]
    assert [str(fault).partition(":")[0] for fault in sheet.faults][2] == "lines 3, 4"


def test_no_fault_repeats_a_cell() -> None:
    rows = ['SECRET,"SECRET', "SECRET", "SECRET,1,2,3", 'SECRET,"SECRET"SECRET,1', '#SECRET "']
    said = [str(fault) + fault.remedy for fault in read_sheet("\n".join([HEAD, *rows])).faults]
    assert said
    assert not any("SECRET" in text for text in said)


def test_a_long_line_of_quotation_marks_takes_no_time() -> None:
    assert faults(f"{HEAD}\np1,0,{chr(34) * 100_001}")
    assert read_sheet(f"{HEAD}\np1,0,{chr(34) * 100_000}").rows == [
        Row(2, ("p1", "0", '"' * 49_999))
    ]


def test_a_fault_of_the_whole_file_has_no_place() -> None:
    assert str(Fault((), "nothing is in it", "")) == "nothing is in it"
