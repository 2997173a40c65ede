"""Tables as REDCap and Excel write them, and the codes in them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pytest

from client.data.table_text import TableError
from client.importing import table
from client.importing.mapping import FILE, ImportMapping, read_mapping, write_mapping
from client.importing.table import (
    cohort_rows,
    decoded,
    read_hospital_table,
    unknown_codes,
    wanted_columns,
)
from common.errors import InputError
from common.study.model import Study
from tests import builders


def workbook(path: Path, rows: list[list[object]], title: str = "patients") -> Path:
    book = openpyxl.Workbook()
    book.active.title = "notes"
    sheet = book.create_sheet(title)
    for row in rows:
        sheet.append(row)
    book.save(path)
    return path


def study() -> Study:
    return builders.study(
        clinical=[
            builders.number("age", unit="years"),
            builders.levels("hpv", "-", "+", missing=["n/a"]),
        ]
    )


def test_cells_are_what_a_person_would_type(tmp_path: Path) -> None:
    rows = [
        ["id", "whole", "part", "day", "time", "text", "flag", "empty"],
        ["7", 61.0, 0.25, datetime(2020, 1, 2), datetime(2020, 1, 2, 3, 4), "a\nb", True, None],
        ["8", 12, -1.5, date(2020, 1, 2), "", "+", False, None],
    ]
    frame = read_hospital_table(workbook(tmp_path / "t.xlsx", rows), "patients")
    assert frame.iloc[0].tolist() == [
        *("7", "61", "0.25", "2020-01-02", "2020-01-02T03:04:00", "a b", "1", "")
    ]
    assert frame.iloc[1].tolist()[:6] == ["8", "12", "-1.5", "2020-01-02", "", "+"]


def test_the_faults_of_a_table_have_the_words_of_the_cohorts_reader(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", [["id", "age", "age"], ["7", 1, 2]])
    with pytest.raises(TableError, match="the column age is there twice"):
        read_hospital_table(path, "patients")
    (tmp_path / "t.csv").write_text("id;age\n7;1\n")
    with pytest.raises(TableError, match="separated by semicolons"):
        read_hospital_table(tmp_path / "t.csv")


def test_a_sheet_or_workbook_that_is_none_is_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", [["id"], ["7"]])
    with pytest.raises(InputError, match="notes, patients"):
        read_hospital_table(path, "patient")
    (tmp_path / "u.xlsx").write_bytes(b"encrypted")
    with pytest.raises(InputError, match="not a workbook"):
        read_hospital_table(tmp_path / "u.xlsx")
    with pytest.raises(InputError, match="no such file"):
        read_hospital_table(tmp_path / "v.xlsx")


def test_rows_are_those_of_the_study_through_the_codes(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "t.xlsx",
        [["id", "pn", "alter", "p16"], ["7", "ja", 61, 1.0], ["8", "nein", 62, "n/a"]],
    )
    mapping = ImportMapping(
        id="id",
        columns={"label": "pn", "age": "alter", "hpv": "p16"},
        constants={"split": "train"},
        codes={"label": {"ja": "1", "nein": "0"}, "hpv": {"1": "+"}},
    )
    frame = read_hospital_table(path, "patients")
    assert list(unknown_codes(frame, mapping, study())) == []
    first, second = cohort_rows(frame, mapping, study()).values()
    assert first == {"label": "1", "split": "train", "age": "61", "hpv": "+"}
    assert second["hpv"] == "n/a"
    assert wanted_columns(study()) == ("label", "split", "age", "hpv")


def test_codes_that_the_study_does_not_know_are_listed_once(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,pn\n1,ja\n2,ja\n3,\n4,0\n")
    mapping = ImportMapping(columns={"label": "pn"})
    frame = read_hospital_table(tmp_path / "t.csv")
    assert list(unknown_codes(frame, mapping, study())) == [("label", "ja")]


def test_a_code_is_read_in_all_forms_of_its_number() -> None:
    mapping = ImportMapping(codes={"sex": {"1": "male"}})
    assert decoded("sex", "1.0", mapping) == "male"
    assert decoded("sex", "", mapping) == "" and decoded("sex", "2", mapping) == "2"


def test_the_mapping_is_kept_as_it_was_answered(tmp_path: Path) -> None:
    assert read_mapping(tmp_path / FILE) == ImportMapping()
    mapping = ImportMapping(
        id="a b",
        match="AccessionNumber",
        roi=("GTV", "x"),
        columns={"age": "Alter (Jahre)"},
        codes={"sex": {"1": "male", "": "female"}},
        choices={"P-b": "c"},
    )
    write_mapping(tmp_path / FILE, mapping)
    assert read_mapping(tmp_path / FILE) == mapping
    (tmp_path / FILE).write_text('match = "Name"\n')
    with pytest.raises(InputError, match="match"):
        read_mapping(tmp_path / FILE)
    (tmp_path / FILE).write_text('idd = "x"\n')
    with pytest.raises(InputError, match="idd"):
        read_mapping(tmp_path / FILE)


def test_the_mapping_in_the_docs_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "import.md").read_text(encoding="utf-8")
    (block,) = (part.split("```")[0] for part in page.split("```toml\n")[1:])
    (tmp_path / FILE).write_text(block, encoding="utf-8")
    mapping = read_mapping(tmp_path / FILE)
    assert mapping.codes["sex"]["2"] == "female" and mapping.readings["r2"]
    assert set(ImportMapping.model_fields) == set(mapping.model_fields_set), "all keys are shown"


def altered(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Write a workbook whose parts are changed, or left out."""
    whole = workbook(path.with_name("whole.xlsx"), [["id", "age"], ["7", 61]])
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            part = change(name, old.read(name))
            if part is not None:
                new.writestr(name, part)
    return path


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/worksheets/sheet2.xml", "xl/styles.xml"])
@pytest.mark.parametrize("how", ["cut", "gone", "noise"])
def test_a_damaged_part_of_a_workbook_is_one_sentence(part: str, how: str, tmp_path: Path) -> None:
    def change(name: str, content: bytes) -> bytes | None:
        ways = {"cut": content[: len(content) // 2], "gone": None, "noise": b"\0\xff" * 99}
        return ways[how] if name == part else content

    path = altered(tmp_path / "t.xlsx", change)
    if (part, how) == ("xl/styles.xml", "gone"):
        assert len(read_hospital_table(path, "patients")) == 1, "it can do without"
        return
    with pytest.raises(InputError, match=r"not a workbook that can be read|no sheet patients"):
        read_hospital_table(path, "patients")


def test_a_cell_that_is_no_number_is_one_sentence(tmp_path: Path) -> None:
    path = altered(tmp_path / "t.xlsx", lambda _, part: part.replace(b"<v>61</v>", b"<v>6x</v>"))
    with pytest.raises(InputError, match="not a workbook that can be read"):
        read_hospital_table(path, "patients")


def test_a_workbook_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MOST_WORKBOOK", 2**20)
    monkeypatch.setattr(table.openpyxl, "load_workbook", None)
    path = altered(tmp_path / "t.xlsx", lambda _, part: part + b" " * 2**20)
    assert path.stat().st_size < 2**17
    with pytest.raises(InputError, match="a workbook with more than 1 MiB in it"):
        read_hospital_table(path, "patients")


def test_cells_far_beyond_the_table_take_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some programs say that a sheet reaches to its last possible row and column."""
    path = altered(
        tmp_path / "t.xlsx", lambda _, part: part.replace(b'ref="A1:B2"', b'ref="A1:XFD1048576"')
    )
    assert read_hospital_table(path, "patients").shape == (1, 2)
    monkeypatch.setattr(table, "MOST_WORKBOOK", 2**15)
    far = workbook(tmp_path / "far.xlsx", [["id", *[None] * 3000, "age"] for _ in range(12)])
    with pytest.raises(InputError, match="a workbook with more than 32 KiB in it"):
        read_hospital_table(far, "patients")


def test_rows_may_end_before_the_last_column(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", [["id", "age", "hpv"], ["7"], ["8", 3, "+"]])
    assert read_hospital_table(path, "patients").to_numpy().tolist() == [
        ["7", "", ""],
        ["8", "3", "+"],
    ]


def test_a_percentage_keeps_its_sign(tmp_path: Path) -> None:
    """A spreadsheet shows 45% and stores 0.45, which the study would take for the number."""
    path = workbook(tmp_path / "t.xlsx", [["id", "share", "plain"], ["7", 0.07, 0.07]])
    book = openpyxl.load_workbook(path)
    book["patients"]["B2"].number_format = "0.0%"
    book["patients"]["C2"].number_format = '0.00" of 100%"'
    book.save(path)
    assert read_hospital_table(path, "patients").iloc[0].tolist() == ["7", "7%", "0.07"]


@pytest.mark.parametrize("fault", ["hidden rows", "merged cells", "formulas without values"])
def test_a_sheet_that_shows_something_else_than_it_holds_is_refused(
    fault: str, tmp_path: Path
) -> None:
    rows = [["id", "age", "site"], ["7", 61, "A"], ["8", 62, None], ["9", 63, "B"]]
    path = workbook(tmp_path / "t.xlsx", rows)
    book = openpyxl.load_workbook(path)
    sheet = book["patients"]
    sheet.row_dimensions[9].hidden = True  # nothing is in it
    if fault == "hidden rows":
        sheet.row_dimensions[3].hidden = True
    elif fault == "merged cells":
        sheet.merge_cells("C2:C3")
    else:
        sheet["B3"] = "=2026-1964"
    book.save(path)
    with pytest.raises(InputError, match=fault) as said:
        read_hospital_table(path, "patients")
    assert said.value.where.split()[-1] in ("3", "C2:C3", "B3")


def test_a_formula_whose_value_is_an_empty_text_is_an_empty_cell(tmp_path: Path) -> None:
    formula = b'<c r="B2" t="str"><f>IF(1,"","")</f><v></v></c>'
    plain = b'<c r="B2" t="n"><v>61</v></c>'
    path = altered(tmp_path / "t.xlsx", lambda _, part: part.replace(plain, formula))
    assert read_hospital_table(path, "patients").iloc[0].tolist() == ["7", ""]


def test_a_hidden_sheet_is_read_only_by_its_name(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", [["id"], ["7"]])
    book = openpyxl.load_workbook(path)
    book["notes"].append(["old"])
    book["notes"].append(["1"])
    book["notes"].sheet_state = "hidden"
    book.active = 1
    book.save(path)
    assert list(read_hospital_table(path).columns) == ["id"]
    assert list(read_hospital_table(path, "notes").columns) == ["old"]


def coded(tmp_path: Path, cells: str, **codes: str) -> tuple[object, ImportMapping]:
    """Return a table with one column for the label, and its mapping."""
    (tmp_path / "t.csv").write_text("id,pn\n" + "".join(f"{n},{c}\n" for n, c in enumerate(cells)))
    given = ImportMapping(columns={"label": "pn"}, codes={"label": codes} if codes else {})
    return read_hospital_table(tmp_path / "t.csv"), given


def test_a_known_number_is_asked_about_where_another_number_is_unknown(tmp_path: Path) -> None:
    """The number 1 is a no where 2 is a yes: both would be the study's 1."""
    frame, mapping = coded(tmp_path, "1212")
    assert list(unknown_codes(frame, mapping, study())) == [("label", "1"), ("label", "2")]
    frame, mapping = coded(tmp_path, "1212", **{"2": "1"})
    assert list(unknown_codes(frame, mapping, study())) == [("label", "1")]
    frame, mapping = coded(tmp_path, "1212", **{"1": "0", "2": "1"})
    assert list(unknown_codes(frame, mapping, study())) == []


@pytest.mark.parametrize("codes", [{}, {"2": "1"}])
def test_rows_are_not_taken_by_half_a_list_of_codes(tmp_path: Path, codes: dict[str, str]) -> None:
    frame, mapping = coded(tmp_path, "12", **codes)
    rest = {"constants": {"split": "train", "age": "1", "hpv": "+"}}
    with pytest.raises(InputError, match=r'pn has codes of its own.*"1" means'):
        cohort_rows(frame, mapping.model_copy(update=rest), study())


@pytest.mark.parametrize(
    ("heading", "fits"),
    [("Alter (years)", True), ("age [months]", False), ("age (at CT)", True), ("age", True)],
)
def test_a_heading_in_another_unit_is_refused(tmp_path: Path, heading: str, fits: bool) -> None:
    (tmp_path / "t.csv").write_text(f"id,{heading}\n1,61\n")
    constants = {"split": "train", "label": "1", "hpv": "+"}
    mapping = ImportMapping(columns={"age": heading}, constants=constants)
    frame = read_hospital_table(tmp_path / "t.csv")
    if fits:
        assert cohort_rows(frame, mapping, study())[0]["age"] == "61"
        return
    with pytest.raises(InputError, match="is in months, the study's age in years"):
        cohort_rows(frame, mapping, study())
