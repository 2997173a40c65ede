"""Files that spreadsheets write: what is read as meant, and what is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.cohort_file import read_table, row_number
from common.errors import InputError


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "cohort.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_spaces_around_cells_and_names_of_columns_mean_nothing(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path, "patient_id , age\n  p1, 60 \n"))
    assert list(frame.columns) == ["patient_id", "age"]
    assert frame.to_dict("records") == [{"patient_id": "p1", "age": "60"}]


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path, b"\xef\xbb\xbfpatient_id,age\r\np1,60\r\n"))
    assert frame.to_dict("records") == [{"patient_id": "p1", "age": "60"}]


@pytest.mark.parametrize("above", ["", "\n\n", "\r\n"])
def test_rows_are_numbered_as_the_file_shows_them(tmp_path: Path, above: str) -> None:
    text = f"{above}patient_id,age\n\np1,60\n,,\n,\np2,61\n\n"
    frame = read_table(write(tmp_path, text.replace(",,\n", ",\n")))
    assert list(frame["patient_id"]) == ["p1", "p2"]
    lines = text.splitlines()
    assert [row_number(i) for i in frame.index] == [
        lines.index("p1,60") + 1,
        lines.index("p2,61") + 1,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id;age\np1;60,5\n", r"cells are separated by semicolons -> save it with commas"),
        ("patient_id\tage\np1\t60\n", r"cells are separated by tabs -> save it with commas"),
        ("patient_id,age,age\np1,60,61\n", r"the column age is there twice -> keep one"),
        ("patient_id,age, age\np1,60,61\n", r"the column age is there twice -> keep one"),
        ("patient_id,age\np\0x,60\n", r"line 2: a NUL character, which no text holds -> save it"),
        ("Müller,age\n".encode("latin-1"), r"not UTF-8 text -> save it as UTF-8 CSV"),
        ("patient_id,age\n".encode("utf-16"), r"not UTF-8 text -> save it as UTF-8 CSV"),
        ("", r"cannot be read as CSV: .* -> save it as UTF-8 CSV"),
    ],
)
def test_what_is_no_such_table_is_refused_in_words(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, text))
