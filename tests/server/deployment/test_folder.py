"""One run at a time in a coordinator's folder."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from common.errors import StudyError
from server.cli import app
from server.deployment import commands
from server.deployment.folder import CoordinatorFolder, only_one


def test_a_second_run_is_refused_and_leaves_no_folder_behind(
    folder: CoordinatorFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "find_prepared", lambda own, name: own.prepared_study(name))
    with only_one(folder):
        done = CliRunner().invoke(app, ["run", str(folder.root), "tabular"])
    assert "a run is under way in this folder" in str(done.exception)
    assert not folder.runs.exists() or not list(folder.runs.iterdir())


def test_the_right_to_run_is_given_back(folder: CoordinatorFolder) -> None:
    for _ in range(2):
        with only_one(folder), pytest.raises(StudyError), only_one(folder):
            pass
