"""Pseudonyms follow from a secret of the site, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from client.check.naming import reasons
from client.data.cohort import id_problem
from client.importing.pseudonyms import FILE, Pseudonyms, load_secret
from common.errors import InputError

ONE, OTHER = Pseudonyms(bytes(32)), Pseudonyms(bytes(31) + b"\1")
IDS = st.text(min_size=1).filter(lambda text: text.isprintable() and text.strip())


@given(IDS)
def test_a_pseudonym_is_an_id_that_tells_of_nobody(identifier: str) -> None:
    made = ONE.patient(identifier)
    assert id_problem(made) is None and reasons(made) == ()
    assert made == ONE.patient(f" {identifier} ") != OTHER.patient(identifier)


@given(st.integers(1, 10**30))
def test_a_uid_is_replaced_by_a_valid_one(number: int) -> None:
    original = f"1.2.276.0.{number}"
    made = UID(ONE.uid(original))
    assert made.is_valid and made != original and made == ONE.uid(original)
    assert made != OTHER.uid(original)


@given(IDS)
def test_dates_move_by_one_to_ten_years(patient: str) -> None:
    assert 365 <= ONE.days(patient) < 3650


def test_the_table_and_the_archive_may_write_a_number_differently() -> None:
    assert ONE.patient("4711") == ONE.patient("4711.0") != ONE.patient("04711")


def test_the_secret_is_made_once_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    first = load_secret(tmp_path)
    assert load_secret(tmp_path) == first != load_secret(tmp_path / "other")
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / FILE).chmod(0o644)
    with pytest.raises(InputError, match="other users"):
        load_secret(tmp_path)
    (tmp_path / FILE).write_text("00")
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(InputError, match="damaged"):
        load_secret(tmp_path)
