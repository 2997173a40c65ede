"""One run in which nearly everything that can fail does, much of it at the same time."""

from __future__ import annotations

import sqlite3
import time
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
    path = stage.work("c") / FILE
    yield path
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE IF EXISTS later")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    copy_of(path, VERSION).unlink()


def test_a_bad_day_changes_no_result(
    stage: Any, staging: Any, memory: Path, tmp_path: Path
) -> None:
    """A hospital also installs a newer patch amid the run, which brings its memory up to it."""
    newer = staging.of_release(f"{MINOR}.99", tmp_path / "newer", NEWER)
    with stage.sites(), stage.run() as run:
        stage.amid(run, "a")
        stage.screens["c"].process.terminate()
        stage.screens["c"].ends()
        before = memory.read_bytes()
        stage.start_again("c", newer)
        stage.supernode("a").kill()
        run.program("flower-superexec").kill()
        run.reaches("restarted", what="SuperExec")
        run.program("flwr-serverapp").kill()
        run.reaches("restarted", what="the study's program")
        run.program("flwr-serverapp")
        run.program("common.flower.superlink").kill()
        run.reaches("restarted", what="SuperLink")
        stage.lines["b"].cut()
        with stage.run() as second:
            assert second.screen.ends() == 1
        assert "a run is under way in this folder" in second.screen.text
        time.sleep(15)
        stage.lines["b"].mend()
        stage.finishes_as_undisturbed(run)
    copy = copy_of(memory, VERSION)
    assert copy.read_bytes() == before
    assert (version_of(copy), version_of(memory)) == (VERSION, VERSION + 1)
    with stage.proxy(), stage.site(stage.rehearsal.site("c")) as older:
        assert older.ends() == 1
    assert f"release {own_release()}, which is installed here, knows {VERSION}" in older.text
    assert "install that release again" in older.text
