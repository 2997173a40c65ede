from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from client.data.cohort import Patient
from client.store.cohorts import SMALLEST_CHANGE
from client.store.validations import Validations
from common.errors import InputError
from common.study.model import Study
from tests import builders


def patients(n: int, start: int = 0) -> list[Patient]:
    return [
        Patient(f"p{i}", "", i % 2, "external_test", -1, {"age": 50.0 + i}, None, {})
        for i in range(start, start + n)
    ]


@pytest.fixture
def study() -> Study:
    columns = [{"name": "age", "kind": "continuous"}]
    return builders.open_study(clinical=columns)


def test_the_same_patients_and_many_others_may_be_measured_again(
    tmp_path: Path, study: Study
) -> None:
    known = Validations(tmp_path, study)
    known.keep(patients(40))
    known.check(patients(40), not_sent=False)
    known.check(patients(40 + SMALLEST_CHANGE), not_sent=False)
    known.check(patients(30, start=100), not_sent=False)


def test_a_patient_more_or_fewer_is_refused_unless_nothing_was_sent(
    tmp_path: Path, study: Study
) -> None:
    Validations(tmp_path, study).keep(patients(40))
    for now in (patients(41), patients(39)):
        with pytest.raises(InputError, match="earlier validation file"):
            Validations(tmp_path, study).check(now, not_sent=False)
        Validations(tmp_path, study).check(now, not_sent=True)


@pytest.mark.parametrize("change", [{"label": 1}, {"clinical": {"age": 51.5}}])
def test_a_corrected_value_is_refused(
    tmp_path: Path, study: Study, change: dict[str, object]
) -> None:
    Validations(tmp_path, study).keep(patients(40))
    first, *others = patients(40)
    with pytest.raises(InputError, match="earlier validation file"):
        Validations(tmp_path, study).check([replace(first, **change), *others], not_sent=False)


def test_two_files_whose_difference_follows_from_a_third_are_refused(
    tmp_path: Path, study: Study
) -> None:
    known = Validations(tmp_path, study)
    known.keep(patients(60))
    known.keep(patients(30))
    with pytest.raises(InputError, match="earlier validation file"):
        known.check(patients(29, start=31), not_sent=False)
