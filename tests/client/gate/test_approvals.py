"""Approvals: signed by the site, renewed, taken back, and not to be written by others."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from client.gate.approvals import approve, approved, read_approvals, revoke
from client.store.site_db import FILE
from common.errors import InputError, SignatureError
from common.masking import identity

KEY = identity.generate()
STUDY, APP = "a" * 64, "b" * 64


@pytest.fixture
def work(tmp_path: Path) -> Path:
    approve(tmp_path, KEY, "study", STUDY, "larynx")
    approve(tmp_path, KEY, "app", APP, "fedlnm 0.1.0")
    return tmp_path


def test_what_was_approved_is_read_back(work: Path) -> None:
    found = read_approvals(work, KEY.public_key())
    assert approved(found, "study") == {STUDY}
    assert approved(found, "app") == {APP}
    assert [entry.name for entry in found] == ["larynx", "fedlnm 0.1.0"]


def test_nothing_is_approved_at_first(tmp_path: Path) -> None:
    assert read_approvals(tmp_path, KEY.public_key()) == ()


def test_approving_again_makes_no_second_entry(work: Path) -> None:
    approve(work, KEY, "study", STUDY, "larynx")
    assert [one.kind for one in read_approvals(work, KEY.public_key())] == ["app", "study"]


def test_a_study_and_an_app_of_one_digest_are_two_things(work: Path) -> None:
    approve(work, KEY, "app", STUDY, "other")
    revoked = read_approvals(work, KEY.public_key())
    assert approved(revoked, "app") == {STUDY, APP}
    assert approved(revoked, "study") == {STUDY}


def test_what_is_revoked_is_no_longer_approved(work: Path) -> None:
    assert revoke(work, KEY, STUDY[:8]).name == "larynx"
    assert approved(read_approvals(work, KEY.public_key()), "study") == frozenset()


@pytest.mark.parametrize("start", ["c" * 8, "a" * 7, ""])
def test_revoking_needs_the_start_of_one_digest(work: Path, start: str) -> None:
    with pytest.raises(InputError, match="begin like this"):
        revoke(work, KEY, start)


@pytest.mark.parametrize("field", ["kind", "digest", "name", "date", "signature"])
def test_an_entry_that_somebody_changed_stops_everything(work: Path, field: str) -> None:
    with sqlite3.connect(work / FILE) as connection:
        connection.execute(f"UPDATE approvals SET {field} = 'other' WHERE digest = ?", (STUDY,))  # noqa: S608
    with pytest.raises(SignatureError, match="identity key"):
        read_approvals(work, KEY.public_key())


def test_approvals_of_another_key_do_not_hold(work: Path) -> None:
    with pytest.raises(SignatureError):
        read_approvals(work, identity.generate().public_key())
