"""Rosters: a site knows by its own records whose key a hospital that leaves must have."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from client.store.rosters import Rosters

from common.errors import StudyError
from common.masking import identity
from common.masking.agreement import roster_digest
from common.masking.leaving import LeftSite

KEYS = {name: identity.generate() for name in "abcd"}
ROSTER = {name: identity.public_text(key.public_key()) for name, key in KEYS.items()}
DIGEST = roster_digest(ROSTER)


@pytest.fixture
def rosters(tmp_path: Path) -> Rosters:
    assert Rosters(tmp_path).keep(ROSTER) == DIGEST
    return Rosters(tmp_path)


def test_a_roster_is_recalled_by_its_digest(rosters: Rosters) -> None:
    assert rosters.recall(DIGEST) == ROSTER
    assert rosters.recall("0" * 64) == {}


def test_rosters_are_private_files(rosters: Rosters, tmp_path: Path) -> None:
    (path,) = (tmp_path / "rosters").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ['{"a": "x"}', "not JSON", '{"a": 1}', ""])
def test_a_damaged_roster_is_found(rosters: Rosters, tmp_path: Path, text: str) -> None:
    (path,) = (tmp_path / "rosters").iterdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match="the roster of an earlier release is damaged"):
        rosters.recall(DIGEST)


def test_a_site_that_signed_with_the_key_on_record_is_proven_to_have_left(rosters: Rosters) -> None:
    assert rosters.proves(LeftSite.sign(KEYS["d"], "d", DIGEST))


def test_a_statement_with_another_key_or_for_another_roster_or_site_proves_nothing(
    rosters: Rosters,
) -> None:
    coordinators_own = {**ROSTER, "d": identity.public_text(KEYS["a"].public_key())}
    signed = LeftSite.sign(KEYS["d"], "d", DIGEST)
    for statement in (
        LeftSite.sign(KEYS["a"], "d", DIGEST),
        LeftSite.sign(KEYS["a"], "d", roster_digest(coordinators_own)),
        LeftSite.sign(KEYS["d"], "c", DIGEST),
        LeftSite.sign(KEYS["d"], "nobody", DIGEST),
        signed.model_copy(update={"signature": LeftSite.sign(KEYS["a"], "d", DIGEST).signature}),
    ):
        assert not rosters.proves(statement)
