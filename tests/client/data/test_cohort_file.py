"""Files that spreadsheets write: what is read as meant, and what is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.data.cohort_file import near_misses, read_table, repeated_ids, row_number
from common.errors import InputError
from common.utils.text_file import plain_text


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
        ("", r"cohort\.csv: nothing is in it -> save it as UTF-8 CSV"),
        ("\n,,\n \n", r"cohort\.csv: nothing is in it -> save it as UTF-8 CSV"),
    ],
)
def test_what_is_no_such_table_is_refused_in_words(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, text))


def test_columns_and_ids_are_read_as_they_are_seen(tmp_path: Path) -> None:
    text = "patient_id\u200b,\u00a0label, gr\u006f\u0308\u00dfe\np\u00ad1\u00a0,\u00a01,2\u00a0\n"
    frame = read_table(write(tmp_path, text))
    assert frame.to_dict("records") == [{"patient_id": "p1", "label": "1", "gr\u00f6\u00dfe": "2"}]


@pytest.mark.parametrize("odd", ["p1", " p1", "p1\u200b", "p\u00ad1", "\u00a0p1", "p\u20601"])
def test_ids_that_look_the_same_are_one_patient(tmp_path: Path, odd: str) -> None:
    frame = read_table(write(tmp_path, f"patient_id,age\np1,60\np2,61\n{odd},62\n"))
    assert repeated_ids(frame) == {"p1": [2, 4]}


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("12", "12.0", True),
        ("M\u00fcller", "Mu\u0308ller", True),
        ("12", "12.5", False),
        ("007", "7", False),
        ("P1", "p1", False),
        ("p1.0", "p1", False),
    ],
)
def test_ids_that_programs_spell_differently_are_one_patient(
    tmp_path: Path, first: str, second: str, same: bool
) -> None:
    frame = read_table(write(tmp_path, f"patient_id,age\n{first},60\n{second},61\n"))
    assert list(repeated_ids(frame).values()) == ([[2, 3]] if same else [])


def test_leading_zeros_of_an_id_stay(tmp_path: Path) -> None:
    assert list(read_table(write(tmp_path, "patient_id\n007\n"))["patient_id"]) == ["007"]


@pytest.mark.parametrize("name", ["Age", "AGE", "a-g-e", "\uff41\uff47\uff45", "A g e"])
def test_a_column_that_is_nearly_the_studys_is_named(tmp_path: Path, name: str) -> None:
    frame = read_table(write(tmp_path, f"patient_id,{name}\np1,60\n"))
    (miss,) = near_misses(frame, ["patient_id", "age"])
    assert f"the column {plain_text(name)} is not read" in miss.what
    assert miss.remedy.startswith("call it age")


@pytest.mark.parametrize("name", ["ages", "age_2", "mask_r2"])
def test_other_columns_are_nobodys_near_miss(tmp_path: Path, name: str) -> None:
    frame = read_table(write(tmp_path, f"patient_id,{name}\np1,60\n"))
    assert not near_misses(frame, ["patient_id", "age", "mask_r1_repeat"])
    assert not near_misses(frame.assign(age=""), ["patient_id", "age"])
