"""Approvals: signed by the site, renewed, taken back, and not to be written by others."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from client.gate.approvals import approve, read_approvals, revoke
from client.store.site_db import FILE
from common.errors import InputError, SignatureError
from common.masking import identity
from common.masking.fixed_point import framed, to_text

KEY = identity.generate()
STUDY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def work(tmp_path: Path) -> Path:
    approve(tmp_path, KEY, STUDY, "larynx")
    approve(tmp_path, KEY, OTHER, "pharynx")
    return tmp_path


def digests(work: Path) -> list[str]:
    return [one.digest for one in read_approvals(work, KEY.public_key())]


def test_what_was_approved_is_read_back(work: Path) -> None:
    assert digests(work) == [STUDY, OTHER]
    assert [one.name for one in read_approvals(work, KEY.public_key())] == ["larynx", "pharynx"]


def test_nothing_is_approved_at_first(tmp_path: Path) -> None:
    assert digests(tmp_path) == []


def test_approving_again_makes_no_second_entry(work: Path) -> None:
    approve(work, KEY, STUDY, "larynx")
    assert digests(work) == [OTHER, STUDY]


def test_what_is_revoked_is_no_longer_approved(work: Path) -> None:
    assert revoke(work, KEY, STUDY[:8]).name == "larynx"
    assert digests(work) == [OTHER]


@pytest.mark.parametrize("start", ["c" * 8, "a" * 7, ""])
def test_revoking_needs_the_start_of_one_digest(work: Path, start: str) -> None:
    with pytest.raises(InputError, match="begin like this"):
        revoke(work, KEY, start)


def earlier(kind: str, digest: str, name: str) -> dict[str, str]:
    """Entry as release 0.1.0 wrote it, which signed the kind of what was approved too."""
    date = "2026-01-02T03:04:05+00:00"
    signature = to_text(identity.sign(KEY, "approval", framed(kind, digest, name, date)))
    return {"kind": kind, "digest": digest, "name": name, "date": date, "signature": signature}


def test_studies_that_were_approved_with_the_last_release_stay_approved(tmp_path: Path) -> None:
    """It had approvals of apps too, which say nothing now, whatever is in them."""
    entries = [earlier("study", STUDY, "larynx"), earlier("app", OTHER, "fedlnm 0.1.0")]
    (tmp_path / "approvals.json").write_text(json.dumps(entries))
    assert digests(tmp_path) == [STUDY]


def test_the_approval_of_an_app_is_none_of_a_study(tmp_path: Path) -> None:
    for kind in ("study", "anything"):
        work = tmp_path / kind
        work.mkdir()
        changed = [earlier("app", OTHER, "larynx") | {"kind": kind}]
        (work / "approvals.json").write_text(json.dumps(changed))
        with pytest.raises(SignatureError, match="identity key"):
            read_approvals(work, KEY.public_key())


@pytest.mark.parametrize("field", ["digest", "name", "date", "signature"])
def test_an_entry_that_somebody_changed_stops_everything(work: Path, field: str) -> None:
    with sqlite3.connect(work / FILE) as connection:
        connection.execute(f"UPDATE approvals SET {field} = 'other' WHERE digest = ?", (STUDY,))  # noqa: S608
    with pytest.raises(SignatureError, match="identity key"):
        read_approvals(work, KEY.public_key())


def test_approvals_of_another_key_do_not_hold(work: Path) -> None:
    with pytest.raises(SignatureError):
        read_approvals(work, identity.generate().public_key())
