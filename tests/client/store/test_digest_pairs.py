"""Pairs of digests in a file that several processes share and a crash may tear."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from client.store.digest_pairs import DigestPairs

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "r" / "pairs.txt"


def test_each_process_sees_what_all_have_added(path: Path) -> None:
    one, other = DigestPairs(path), DigestPairs(path)
    with one.exclusive():
        assert one.new() == []
        one.add([(A, B)])
    with other.exclusive():
        assert other.new() == [(A, B)]
        other.add([(A, C), (D, D)])
        assert other.new() == [(A, C), (D, D)]
        assert other.new() == []
    assert one.new() == [(A, B), (A, C), (D, D)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_line_counts_for_nothing_and_spoils_no_other(path: Path) -> None:
    pairs = DigestPairs(path)
    with pairs.exclusive():
        pairs.add([(A, B)])
    with path.open("ab") as file:
        file.write(f"{C} {D[:20]}".encode())
    again = DigestPairs(path)
    assert again.new() == [(A, B)]
    again.add([(C, A)])
    assert again.new() == [(C, A)]
    assert DigestPairs(path).new() == [(A, B), (C, A)]


def test_nothing_is_written_for_no_pairs(path: Path) -> None:
    DigestPairs(path).add([])
    assert not path.exists()
