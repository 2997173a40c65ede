"""Answers about a file are kept until the file changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from client.imaging.source import KnownFiles


class Finder:
    """Counts how often something has to be found out."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return f"answer {self.times}"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "Doe_Jane.nii"
    path.write_bytes(b"voxels")
    return path


def test_another_process_need_not_find_out_again(scan: Path, tmp_path: Path) -> None:
    finder, stored = Finder(), tmp_path / "cache" / "known.json"
    known = KnownFiles(stored)
    assert known.ask("digest", [scan], finder) == known.ask("digest", [scan], finder) == "answer 1"
    known.save()
    assert KnownFiles(stored).ask("digest", [scan], finder) == "answer 1"
    assert KnownFiles(stored).ask("whole", [scan], finder) == "answer 2", "another question"


def test_a_changed_file_is_found_out_anew(scan: Path, tmp_path: Path) -> None:
    finder, known = Finder(), KnownFiles(tmp_path / "known.json")
    known.ask("digest", [scan], finder)
    times = scan.stat()
    scan.write_bytes(b"others")
    os.utime(scan, ns=(times.st_atime_ns, times.st_mtime_ns))  # as copying tools do
    assert known.ask("digest", [scan], finder) == "answer 2"
    with scan.open("ab") as file:
        file.write(b"!")
    assert known.ask("digest", [scan], finder) == "answer 3"


def test_one_more_file_is_another_question(scan: Path, tmp_path: Path) -> None:
    finder, known = Finder(), KnownFiles(tmp_path / "known.json")
    second = tmp_path / "roi.nii"
    second.write_bytes(b"mask")
    answers = [known.ask("digest", files, finder) for files in ([scan], [scan, second])]
    assert len(set(answers)) == 2


def test_two_processes_add_to_one_file(scan: Path, tmp_path: Path) -> None:
    stored = tmp_path / "known.json"
    first, second = KnownFiles(stored), KnownFiles(stored)
    first.ask("one", [scan], lambda: "1")
    second.ask("two", [scan], lambda: "2")
    first.save()
    second.save()
    third = KnownFiles(stored)
    assert [third.ask(about, [scan], lambda: "lost") for about in ("one", "two")] == ["1", "2"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff"])
def test_a_damaged_file_is_as_good_as_none(scan: Path, tmp_path: Path, damage: bytes) -> None:
    stored = tmp_path / "known.json"
    stored.write_bytes(damage)
    known = KnownFiles(stored)
    assert known.ask("digest", [scan], lambda: "found") == "found"
    known.save()
    assert KnownFiles(stored).ask("digest", [scan], lambda: "lost") == "found"


def test_no_path_can_be_read_and_nobody_else_reads(scan: Path, tmp_path: Path) -> None:
    stored = tmp_path / "known.json"
    known = KnownFiles(stored)
    known.ask("digest", [scan], lambda: "found")
    known.save()
    assert b"Doe" not in stored.read_bytes()
    assert os.name != "posix" or stored.stat().st_mode & 0o077 == 0


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KnownFiles(tmp_path / "known.json").ask("digest", [tmp_path / "gone"], lambda: "never")
