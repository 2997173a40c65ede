"""Memberships: nobody is named, and a cohort changes by nobody or by many."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest
from client.store.membership import Memberships, changed_by, load_key, membership_refusal
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError, StudyError

IDS = [f"patient-{i:03d}" for i in range(60)]


def members(*names: int) -> frozenset[str]:
    return frozenset(f"m{name}" for name in names)


def test_the_same_patients_have_the_same_digest_in_any_order(tmp_path: Path) -> None:
    memberships = Memberships(tmp_path)
    assert memberships.of(IDS) == memberships.of([*reversed(IDS), IDS[0]])
    assert memberships.of(IDS).digest != memberships.of(IDS[1:]).digest
    assert memberships.of(["Mu\u0308ller"]) == memberships.of(["M\u00fcller"])


def test_a_later_process_recognises_the_patients(tmp_path: Path) -> None:
    digest = Memberships(tmp_path).keep(Memberships(tmp_path).of(IDS))
    again = Memberships(tmp_path)
    assert again.recall(digest) == again.of(IDS)
    assert changed_by(again.recall(digest).members, again.of(IDS[3:]).members) == 3


def test_nobody_without_the_key_can_try_out_ids(tmp_path: Path) -> None:
    mine, theirs = Memberships(tmp_path / "a"), Memberships(tmp_path / "b")
    assert not mine.of(IDS).members & theirs.of(IDS).members
    plain = {hashlib.sha256(name.encode()).hexdigest() for name in IDS}
    assert not mine.of(IDS).members & plain


def test_key_and_sets_are_private_files_without_ids(tmp_path: Path) -> None:
    memberships = Memberships(tmp_path)
    memberships.keep(memberships.of(IDS))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"patient" not in path.read_bytes()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "membership.key"
    load_key(path)
    path.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        load_key(path)


@pytest.mark.parametrize("written", [b"", b"abcd\n", b"x" * 64, b"\xff" * 64])
def test_a_damaged_key_is_never_replaced(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "membership.key"
    path.write_bytes(written)
    path.chmod(0o600)
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        load_key(path)
    assert path.read_bytes() == written


def test_a_lost_or_changed_set_stops_the_rule_from_passing(tmp_path: Path) -> None:
    memberships = Memberships(tmp_path)
    digest = memberships.keep(memberships.of(IDS))
    path = tmp_path / "memberships" / f"{digest}.txt"
    path.write_text("\n".join(path.read_text(encoding="ascii").split()[1:]), encoding="ascii")
    with pytest.raises(StudyError, match="lost or damaged"):
        memberships.recall(digest)
    path.unlink()
    with pytest.raises(StudyError, match="lost or damaged"):
        memberships.recall(digest)
    with pytest.raises(StudyError, match="file name"):
        memberships.recall("../../etc/passwd")


@pytest.mark.parametrize(
    ("joined", "left", "refused"),
    [
        *[(0, 0, False), (1, 0, True), (0, 1, True), (9, 0, True), (5, 4, True)],
        *[(5, 5, False), (10, 0, False), (0, 10, False), (30, 0, False)],
    ],
)
def test_a_change_by_one_to_nine_patients_is_refused(joined: int, left: int, refused: bool) -> None:
    before = members(*range(40))
    now = members(*range(left, 40 + joined))
    refusal = membership_refusal([before], now)
    assert changed_by(before, now) == joined + left
    assert (refusal is not None) is refused
    if refusal is not None:
        assert (refusal.rule, refusal.threshold) == ("membership", 10)


def test_a_first_release_is_allowed() -> None:
    assert membership_refusal([], members(1, 2, 3)) is None


def test_a_small_change_hidden_behind_a_large_one_is_refused() -> None:
    first, second, third = members(*range(40)), members(*range(60)), members(*range(41))
    assert membership_refusal([first], second) is None
    assert membership_refusal([second], third) is None
    assert membership_refusal([first, second], third) is not None


def test_a_site_may_ask_for_a_larger_change() -> None:
    assert membership_refusal([members(*range(40))], members(*range(55)), 20) is not None


@given(*[st.frozensets(st.text(max_size=2))] * 3)
def test_changes_are_a_distance(
    one: frozenset[str], two: frozenset[str], three: frozenset[str]
) -> None:
    assert changed_by(one, one) == 0
    assert changed_by(one, two) == changed_by(two, one) == len(one - two) + len(two - one)
    assert changed_by(one, three) <= changed_by(one, two) + changed_by(two, three)
