"""cohort.csv: what is refused, in which words, and how folds are dealt."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.cohort import ORIGIN, check_cohort, path_remedy, read_cohort
from client.data.cohort_file import read_table
from client.data.table_text import TableError
from common.errors import InputError
from common.study.model import Study
from tests import builders

HEART = Path(__file__).parents[4] / "shared" / "data" / "heart"
HEADER = "patient_id,label,split,age,stage"
GOOD = ["p1,0,train,60,1", "p2,1,train,,2.0", "p3,0,internal_test,-1,3"]


def small_study(**overrides: Any) -> Study:
    return builders.study(
        sites="a",
        visitors="b",
        tests={"internal": ("internal_test", "a")},
        clinical=[
            builders.number("age", missing=["-1"], decimals=1),
            builders.levels("stage", "1", "2", "3"),
        ],
        **overrides,
    )


@pytest.fixture
def study() -> Study:
    return small_study()


def write(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    (folder / "cohort.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder


def test_values_levels_and_missing_cells_are_read(tmp_path: Path, study: Study) -> None:
    cohort = read_cohort(write(tmp_path, GOOD), "a", study)
    assert [p.patient_id for p in cohort.patients] == ["p1", "p2", "p3"]
    assert cohort.patients[0].clinical == {"age": 60.0, "stage": 0.0}
    assert cohort.patients[1].clinical["stage"] == 1.0, "2.0 is the level 2"
    assert str(cohort.patients[1].clinical["age"]) == "nan"
    assert str(cohort.patients[2].clinical["age"]) == "nan", "-1 stands for missing"
    assert not cohort.problems


def test_a_missing_file_is_named(tmp_path: Path, study: Study) -> None:
    with pytest.raises(InputError, match=r"cohort\.csv: no such file"):
        read_cohort(tmp_path, "a", study)


def test_a_missing_column_is_named_with_its_remedy(tmp_path: Path, study: Study) -> None:
    write(tmp_path, ["p1,0,train,60"], header="patient_id,label,split,age")
    with pytest.raises(InputError, match=r"missing column stage -> add the column"):
        read_cohort(tmp_path, "a", study)


def test_a_patient_listed_twice_is_named_with_both_rows(tmp_path: Path, study: Study) -> None:
    with pytest.raises(InputError, match=r"duplicate patient p1 \(rows 2, 5\)"):
        read_cohort(write(tmp_path, [*GOOD, GOOD[0]]), "a", study)


def test_an_id_with_a_space_behind_it_is_the_same_patient(tmp_path: Path, study: Study) -> None:
    with pytest.raises(InputError, match=r"duplicate patient p1 \(rows 2, 5\)"):
        read_cohort(write(tmp_path, [*GOOD, "p1 ,1,train,60,1"]), "a", study)


def test_a_decimal_comma_in_every_row_moves_no_column(tmp_path: Path, study: Study) -> None:
    rows = ["p1,0,train,60,5,1", "p2,1,train,61,2,1"]
    with pytest.raises(InputError, match="more cells than there are columns"):
        read_cohort(write(tmp_path, rows), "a", study)


def test_cells_left_out_at_the_end_of_a_row_are_refused(tmp_path: Path, study: Study) -> None:
    with pytest.raises(InputError, match=r"line 5: rows have fewer cells .*\(4 cells, 5 columns\)"):
        read_cohort(write(tmp_path, [*GOOD, "p4,0,train,60"]), "a", study)


def test_an_empty_file_says_so(tmp_path: Path, study: Study) -> None:
    with pytest.raises(InputError, match="no patients"):
        read_cohort(write(tmp_path, []), "a", study)


@pytest.mark.parametrize(
    ("row", "where", "what"),
    [
        ("p9,0,training,60,1", "row 5 column split", 'unknown split "training"'),
        ("p9,0,train,60,4", "row 5 column stage", 'unknown level "4"'),
        ("p9,2,train,60,1", "row 5 column label", '"2" is not 0 or 1'),
        ("p9,,train,60,1", "row 5 column label", '"" is not 0 or 1'),
        ("p9,0,train,old,1", "row 5 column age", '"old" is not a number'),
        ("p9,0,train,6_0,1", "row 5 column age", '"6_0" is not a number'),
        ("p9,0,train,-1e15,1", "row 5 column age", '"-1e15" is too large (1e+15 and more)'),
        ("p9,0,train,60.25,1", "row 5 column age", '"60.25" has more than 1 decimals'),
        (",0,train,60,1", "row 5 column patient_id", "empty"),
        ("'9,0,train,60,1", "row 5 column patient_id", "an id cannot begin with '"),
        ('"=""9""",0,train,60,1', "row 5 column patient_id", "an id cannot begin with ="),
        ("\u00a0#9,0,train,60,1", "row 5 column patient_id", "an id cannot begin with #"),
        ("(row 3),0,train,60,1", "row 5 column patient_id", "an id like the name of a row"),
    ],
)
def test_a_bad_cell_is_a_problem_of_that_patient_alone(
    tmp_path: Path, study: Study, row: str, where: str, what: str
) -> None:
    cohort = read_cohort(write(tmp_path, [*GOOD, row]), "a", study)
    assert len(cohort.patients) == 3
    (problem,) = cohort.problems
    assert where in problem.where
    assert problem.what.startswith(what)
    assert problem.remedy


def test_splits_are_read_as_they_are_seen(tmp_path: Path, study: Study) -> None:
    rows = [row.replace("train", "\u00a0train\u200b") for row in GOOD]
    cohort = read_cohort(write(tmp_path, rows), "a", study)
    assert [p.split for p in cohort.patients] == ["train", "train", "internal_test"]


def test_a_misspelt_optional_column_is_not_left_out_in_silence(tmp_path: Path) -> None:
    study = small_study(base_models=["clinical", "dl3d"])
    header = "patient_id,image,mask,Mask_R2,label,split,age,stage"
    with pytest.raises(InputError, match=r"the column Mask_R2 is not read: .* -> call it mask_r2"):
        read_cohort(write(tmp_path, ["p1,i,m,m2,0,train,60,1"], header=header), "a", study)


def test_missing_image_and_mask_files_are_problems(tmp_path: Path) -> None:
    study = small_study(base_models=["clinical", "dl3d"])
    header = "patient_id,image,mask,label,split,age,stage"
    cohort = read_cohort(write(tmp_path, ["p1,no.nii.gz,,0,train,60,1"], header=header), "a", study)
    assert [p.what for p in cohort.problems] == ["missing file no.nii.gz", "empty"]


def test_a_study_with_images_needs_image_columns(tmp_path: Path) -> None:
    study = small_study(base_models=["clinical", "dl3d"])
    with pytest.raises(InputError, match="missing column image, mask"):
        read_cohort(write(tmp_path, GOOD), "a", study)


def test_a_training_site_without_training_rows_is_refused(tmp_path: Path, study: Study) -> None:
    cohort = read_cohort(write(tmp_path, [GOOD[2]]), "a", study)
    with pytest.raises(InputError, match="no training rows"):
        check_cohort(cohort, study)


def test_one_class_only_is_refused(tmp_path: Path, study: Study) -> None:
    cohort = read_cohort(write(tmp_path, [GOOD[0], GOOD[2]]), "a", study)
    with pytest.raises(InputError, match="one class only: all 1 training rows have label 0"):
        check_cohort(cohort, study)


def test_a_test_set_without_rows_is_refused(tmp_path: Path, study: Study) -> None:
    cohort = read_cohort(write(tmp_path, GOOD[:2]), "a", study)
    with pytest.raises(InputError, match="no rows with split internal_test for the test set"):
        check_cohort(cohort, study)


def test_a_site_that_is_not_on_the_roster_is_refused(tmp_path: Path, study: Study) -> None:
    cohort = read_cohort(write(tmp_path, GOOD), "z", study)
    with pytest.raises(InputError, match="the study has no site called z"):
        check_cohort(cohort, study)


def test_folds_are_balanced_and_do_not_depend_on_the_files_order(
    tmp_path: Path, study: Study
) -> None:
    rows = [f"p{i},{int(i % 3 == 0)},train,50,1" for i in range(33)]
    first = read_cohort(write(tmp_path, rows), "a", study)
    second = read_cohort(write(tmp_path, rows[::-1]), "a", study)
    folds = {p.patient_id: p.fold for p in first.patients}
    assert folds == {p.patient_id: p.fold for p in second.patients}
    for label in (0, 1):
        sizes = Counter(p.fold for p in first.patients if p.label == label)
        assert max(sizes.values()) - min(sizes.values()) <= 1
    sizes = Counter(folds.values())
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_folds_are_the_same_when_hospitals_are_pooled(tmp_path: Path, study: Study) -> None:
    # the first of them as if it were prefixed already
    rows = [f"{'a/' if i == 0 else ''}p{i},{i % 2},train,50,1" for i in range(20)]
    own = read_cohort(write(tmp_path, rows), "a", study)
    pooled_rows = [f"a/{row},a" for row in rows] + [f"b/{row},b" for row in rows]
    folder = write(tmp_path, pooled_rows, f"{HEADER},{ORIGIN}")
    pooled = read_cohort(folder, "pooled", study, pooled=True)
    from_a = {p.own_id: p.fold for p in pooled.patients if p.origin == "a"}
    assert from_a == {p.patient_id: p.fold for p in own.patients}


@pytest.mark.parametrize("name", ["origin", ORIGIN])
def test_a_hospitals_own_column_of_origins_moves_nobody(
    tmp_path: Path, study: Study, name: str
) -> None:
    plain = read_cohort(write(tmp_path, GOOD), "a", study)
    own = write(tmp_path, [f"{row},b" for row in GOOD], f"{HEADER},{name}")
    cohort = read_cohort(own, "a", study)
    assert {p.origin for p in cohort.patients} == {"a"}
    assert len(cohort.subset(study, "internal")) == 1
    assert [p.fold for p in cohort.patients] == [p.fold for p in plain.patients]


DAMAGE = st.lists(
    st.tuples(
        st.integers(0, 400), st.binary(max_size=2) | st.sampled_from([b'"', b",", b"\n", b"\r"])
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def damaged(content: bytes, damage: list[tuple[int, bytes]]) -> bytes:
    for at, put in damage:
        place = at % len(content)
        # nothing to put in takes a byte away
        content = content[:place] + put + content[place + (not put) :]
    return content


def records(content: bytes) -> int:
    """Lines that hold more than separators, without the heading."""
    lines = re.split(r"\r\n|\r|\n", content.decode("utf-8-sig"))
    return sum(bool(line.replace('""', "").replace(",", "").strip()) for line in lines) - 1


@settings(max_examples=300)
@given(DAMAGE)
def test_every_patient_of_a_damaged_file_is_read_listed_or_the_file_refused(
    scratch: Path, damage: list[tuple[int, bytes]]
) -> None:
    content = damaged("\n".join([HEADER, *GOOD, 'p4,1,train,"61.5",2', ""]).encode(), damage)
    (scratch / "cohort.csv").write_bytes(content)
    try:
        cohort = read_cohort(scratch, "a", small_study())
    except InputError as error:
        assert error.remedy
    else:
        bad = {problem.patient_id for problem in cohort.problems}
        assert len(cohort.patients) + len(bad) == records(content)


@pytest.mark.skipif(not HEART.is_dir(), reason="the real data are not on this machine")
@settings(max_examples=60)
@given(st.sets(st.integers(1, 200), min_size=1, max_size=3), st.integers(0, 8))
def test_quotation_marks_left_open_in_a_real_file_swallow_nobody(
    scratch: Path, rows: set[int], cell: int
) -> None:
    lines = (HEART / "va" / "cohort.csv").read_text(encoding="utf-8").splitlines()
    for row in rows:
        cells = lines[row].split(",")
        lines[row] = ",".join([*cells[:cell], f'"{cells[cell]}', *cells[cell + 1 :]])
    (scratch / "cohort.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(TableError) as caught:
        read_table(scratch / "cohort.csv")
    (fault,) = caught.value.faults
    assert fault.lines == tuple(row + 1 for row in sorted(rows))


@pytest.mark.skipif(not HEART.is_dir(), reason="the real data are not on this machine")
@pytest.mark.parametrize("hospital", ["cleveland", "hungarian", "switzerland", "va"])
def test_real_files_are_read_as_pandas_reads_them(hospital: str) -> None:
    path = HEART / hospital / "cohort.csv"
    reference = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert read_table(path).to_dict("list") == reference.to_dict("list")


def test_an_id_is_judged_as_at_its_own_hospital_when_hospitals_are_pooled(
    tmp_path: Path, study: Study
) -> None:
    rows = [f"b/{row},b" for row in [*GOOD, "'9,0,train,60,1"]]
    pooled = read_cohort(write(tmp_path, rows, f"{HEADER},{ORIGIN}"), "pooled", study, pooled=True)
    assert [problem.patient_id for problem in pooled.problems] == ["b/'9"]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("images\\p1.nii.gz", "write / between folders"),
        ("file:///data/p1.nii.gz", "instead of an address"),
        ("images/P1.nii.gz", "differ only in upper and lower case"),
        ("Images/p1.nii.gz", "differ only in upper and lower case"),
        ("images/p2345.nii.gz", 'the folder "images" has nothing called "p2345.nii.gz"'),
        ("elsewhere/p1.nii.gz", 'has nothing called "elsewhere"'),
    ],
)
def test_a_path_that_leads_nowhere_is_told_where_it_leaves_the_folders(
    tmp_path: Path, cell: str, words: str
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "p1.nii.gz").touch()
    assert words in path_remedy(tmp_path, cell)


def test_a_name_in_another_unicode_form_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "L\u00e9sion.nii.gz").touch()
    remedy = path_remedy(tmp_path, "Le\u0301sion.nii.gz")
    assert "how their accents are stored" in remedy
