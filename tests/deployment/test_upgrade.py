"""Releases of a real deployment: a newer one amid a run, and others that do not work together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client.store.migration import VERSION, copy_of
from client.store.site_db import FILE
from common.study.release_mark import own_release
from common.utils.versions import minor_release

NEWER = Path(__file__).with_name("newer")
MINOR = minor_release(own_release())


def version_of(memory: Path) -> int:
    with closing(sqlite3.connect(memory)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@pytest.fixture
def memory(stage: Any) -> Iterator[Path]:
    """The memory of a hospital, which other tests find as it was."""
    path = stage.work("b") / FILE
    yield path
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE IF EXISTS later")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    copy_of(path, VERSION).unlink()


def test_a_hospital_installs_a_newer_patch_amid_a_run(
    stage: Any, staging: Any, memory: Path, tmp_path: Path
) -> None:
    """Its memory is brought up to the newer release, and the results are the same."""
    newer = staging.of_release(f"{MINOR}.99", tmp_path / "newer", NEWER)
    with stage.sites(), stage.run() as run:
        stage.amid(run, "b")
        stage.screens["b"].process.terminate()
        stage.screens["b"].ends()
        before = memory.read_bytes()
        stage.start_again("b", newer)
        stage.finishes_as_undisturbed(run)
    copy = copy_of(memory, VERSION)
    assert copy.read_bytes() == before
    assert (version_of(copy), version_of(memory)) == (VERSION, VERSION + 1)
    with stage.proxy(), stage.site(stage.rehearsal.site("b")) as older:
        assert older.ends() == 1
    assert f"release {own_release()}, which is installed here, knows {VERSION}" in older.text
    assert "install that release again" in older.text


def test_a_coordinator_of_another_minor_release_is_refused_with_both_versions(
    stage: Any, staging: Any, tmp_path: Path
) -> None:
    with stage.sites(), stage.run(environment=staging.of_release("9.9.9", tmp_path)) as run:
        assert run.screen.ends() == 1
    for name in stage.lines:
        assert f"site {name}" in run.screen.text
        reported = (stage.work(name) / "gate.log").read_text(encoding="utf-8")
        assert f"runs release '9.9', and release {own_release()} is installed here" in reported
        assert "install the newest release '9.9' here" in reported
    assert "it installs release 9.9.9, or another that shares the first two" in run.screen.text


def test_a_hospital_of_an_older_minor_release_is_refused_with_both_versions(
    stage: Any, staging: Any, tmp_path: Path
) -> None:
    older = staging.of_release("0.0.7", tmp_path)
    with stage.sites({"a": older}), stage.run() as run:
        assert run.screen.ends() == 1
    assert "site a: has another release of fedlnm installed" in run.screen.text
    assert f"which runs {own_release()}" in run.screen.text
    said = f"the coordinator runs release '{MINOR}', and release 0.0.7 is installed here"
    assert said in stage.screens["a"].text
    assert f"install the newest release '{MINOR}' here" in stage.screens["a"].text
