"""Bad input ends with exit code 1 and a message that names the place and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import builders
from tests.fixtures.programs import Finished, run_simulation

NAMES = ("a", "b", "c")


def run_study(folder: Path, *options: str) -> Finished:
    return run_simulation(folder, NAMES, folder / "run", "--cache", folder / "cache", *options)


def replace(path: Path, old: str, new: str, count: int = -1) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def spoil_column(folder: Path) -> None:
    replace(folder / "b/cohort.csv", ",marker,", ",market,")


def spoil_split(folder: Path) -> None:
    replace(folder / "b/cohort.csv", ",train,", ",training,", 1)


def spoil_level(folder: Path) -> None:
    replace(folder / "b/cohort.csv", ",male,", ",Male,", 1)


def spoil_duplicate(folder: Path) -> None:
    replace(folder / "b/cohort.csv", "b1,", "b0,", 1)


def spoil_no_training(folder: Path) -> None:
    replace(folder / "b/cohort.csv", ",train,", ",internal_test,")


def spoil_one_class(folder: Path) -> None:
    replace(folder / "b/cohort.csv", ",1,train,", ",0,train,")


def spoil_study(folder: Path) -> None:
    replace(folder / "study.toml", 'name = "tabular"', 'name = "tabular"\nfold = 5')


def spoil_site(folder: Path) -> None:
    (folder / "b").rename(folder / "d")
    (folder / "b").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_column, "missing column marker -> add the column"),
        (spoil_split, 'cohort.csv row 2 column split: unknown split "training" -> use one of'),
        (spoil_level, 'column sex: unknown level "Male" -> use one of female, male'),
        (spoil_duplicate, "duplicate patient b0 (rows 2, 3) -> keep one row per patient"),
        (spoil_no_training, "no training rows (split = train) -> add training patients"),
        (spoil_one_class, "one class only: all 45 training rows have label 0"),
        (spoil_study, 'unknown key "fold"; did you mean "folds"?'),
        (spoil_site, "no cohort.csv in this folder -> give hospital folders"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input_is_refused_in_words(tabular: Path, spoil: object, message: str) -> None:
    spoil(tabular)  # type: ignore[operator]
    done = run_study(tabular)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_patient_is_left_out_only_on_the_sites_word(tabular: Path) -> None:
    spoil_level(tabular)
    (tabular / "b" / "site.toml").write_text(
        'name = "b"\nexclude_bad_patients = true\n', encoding="utf-8"
    )
    done = run_study(tabular)
    assert done.returncode == 0, done.stderr
    assert 'unknown level "Male"' in done.stderr
    assert "1 left out" in done.stdout
    page = (tabular / "run/report/index.html").read_text(encoding="utf-8")
    assert "b left out 1 patient(s)" in page


def test_an_unknown_engine_or_reference_is_wrong_usage(tabular: Path) -> None:
    assert run_study(tabular, "--engine", "spark").returncode == 2
    assert run_study(tabular, "--reference", "oracle").returncode == 2


def test_too_few_patients_are_refused_by_rule_and_threshold(tabular: Path) -> None:
    builders.amend(tabular / "study.toml", privacy={"min_rows": 50})
    done = run_study(tabular)
    assert done.returncode == 1
    assert "refuses: rule rows, threshold 50, training patients" in done.stderr
