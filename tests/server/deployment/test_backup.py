"""A coordinator is put back from its backup, and what that forgets is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner, Result

from common.errors import StudyError
from common.masking import identity
from common.messages.joining import JoinRequest
from server.cli import app
from server.deployment.folder import CoordinatorFolder, only_one
from server.deployment.roster import enrol, read_roster


def give(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def said(done: Result) -> str:
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_a_coordinator_comes_back_with_its_keys_roster_and_runs(
    folder: CoordinatorFolder, request_of: Callable[[str], JoinRequest], tmp_path: Path
) -> None:
    enrol(folder, request_of("a"), replace=False)
    (folder.runs / "larynx-1" / "input").mkdir(parents=True)
    (folder.runs / "larynx-1" / "input" / "study.toml").write_text("study")
    (folder.state / "superlink.log").write_text("log")
    out, back = tmp_path / "hub.backup", tmp_path / "back"
    assert "1 hospital(s) on the roster, 1 run(s)" in said(
        give("backup", folder.root, "--out", out)
    )
    shown = said(give("restore", out, back))
    assert "WHAT THIS DOES TO THE LEDGERS: nothing at the hospitals" in shown
    assert "compare them: fedlnm-server audit" in shown
    again = CoordinatorFolder(back)
    assert again.identity.read_bytes() == folder.identity.read_bytes()
    public = identity.load(again.identity).private.public_key()
    assert [entry.site for entry in read_roster(again.roster, public).sites] == ["a"]
    assert str(again.root) in (again.proxy / "fedlnm.conf").read_text(), "paths are the new ones"
    (unit,) = again.root.glob("*.service")
    assert f"WorkingDirectory={again.root}\n" in unit.read_text()
    assert str(again.root) in (again.root / "README.md").read_text()
    assert list(again.state.iterdir()) == []


def test_a_coordinator_comes_back_without_the_authoritys_key(
    folder: CoordinatorFolder, tmp_path: Path
) -> None:
    """It was kept elsewhere, as the page says."""
    folder.authority_key.unlink()
    said(give("backup", folder.root, "--out", tmp_path / "hub.backup"))
    shown = said(give("restore", tmp_path / "hub.backup", tmp_path / "back"))
    assert "its configuration is new: start nginx with" in shown


def test_a_run_that_is_under_way_is_not_backed_up(
    folder: CoordinatorFolder, tmp_path: Path
) -> None:
    with only_one(folder):
        done = give("backup", folder.root, "--out", tmp_path / "file")
    assert isinstance(done.exception, StudyError)
    assert "a run is under way in this folder" in str(done.exception)
    assert not (tmp_path / "file").exists()
