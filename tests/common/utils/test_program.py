"""Refusals of the operating system become one sentence, for every program and command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import client.cli
import server.cli
import sim.cli
from common.errors import UsageError
from common.utils.processes import run_program


def in_the_way(folder: Path) -> None:
    (folder / "file").touch()
    (folder / "file").mkdir(exist_ok=True)


def below_a_file(folder: Path) -> None:
    (folder / "file").touch()
    (folder / "file" / "x").mkdir()


def a_folder(folder: Path) -> None:
    (folder / "file").mkdir()
    (folder / "file").read_text()


def gone(folder: Path) -> None:
    (folder / "file").read_text()


def forbidden(folder: Path) -> None:
    # root may do everything, so that no real file can show this
    raise PermissionError(13, "Permission denied", str(folder / "file"))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (in_the_way, "file: File exists -> a file of that name is in the way: give another"),
        (below_a_file, "file/x: Not a directory -> a file is in the way of a folder"),
        (a_folder, "file: Is a directory -> that is a folder: give a file"),
        (gone, "file: No such file or directory -> correct the path"),
        (forbidden, "file: Permission denied -> check the rights of the file and of its folder"),
    ],
)
def test_a_file_that_stands_in_the_way_is_named_with_a_remedy(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    refused: Callable[[Path], None],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(lambda: refused(tmp_path))
    assert ended.value.code == 1
    assert message in capsys.readouterr().err


def test_wrong_usage_keeps_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def wrong() -> None:
        raise UsageError("give one folder", where="report")

    with pytest.raises(SystemExit) as ended:
        run_program(wrong)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error report: give one folder\n"


@pytest.mark.parametrize("cli", [client.cli, server.cli, sim.cli])
def test_every_program_ends_so(
    cli: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: forbidden(tmp_path))
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "Permission denied -> " in capsys.readouterr().err
