"""Approvals: signed by the site, renewed, taken back, and not to be written by others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.gate.approvals import approvals_path, approve, read_approvals, revoke
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
    approvals_path(tmp_path).write_text(json.dumps(entries))
    assert digests(tmp_path) == [STUDY]


def test_the_approval_of_an_app_is_none_of_a_study(tmp_path: Path) -> None:
    for changed in ({"kind": "study"}, {"kind": "anything"}):
        approvals_path(tmp_path).write_text(json.dumps([earlier("app", OTHER, "larynx") | changed]))
        with pytest.raises(SignatureError, match="identity key"):
            read_approvals(tmp_path, KEY.public_key())


@pytest.mark.parametrize("field", ["digest", "name", "date", "signature"])
def test_an_entry_that_somebody_changed_stops_everything(work: Path, field: str) -> None:
    path = approvals_path(work)
    entries = json.loads(path.read_text())
    new = {"digest": "c" * 64, "signature": entries[1]["signature"]}
    entries[0][field] = new.get(field, "other")
    path.write_text(json.dumps(entries))
    with pytest.raises(SignatureError, match="identity key"):
        read_approvals(work, KEY.public_key())


def test_approvals_of_another_key_do_not_hold(work: Path) -> None:
    with pytest.raises(SignatureError):
        read_approvals(work, identity.generate().public_key())


@pytest.mark.parametrize("text", ['{"entries": []}', '["study"]', '[{"digest": "a"}]', "[", "[1]"])
def test_a_file_that_holds_no_approvals_is_an_error(work: Path, text: str) -> None:
    approvals_path(work).write_text(text)
    with pytest.raises(InputError, match="not a file of approvals"):
        read_approvals(work, KEY.public_key())


def test_the_file_is_for_the_owner_alone(work: Path) -> None:
    assert approvals_path(work).stat().st_mode & 0o077 == 0
