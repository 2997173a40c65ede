"""A program's modules are loaded without looks for garbage, and its main() is run."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from common.utils import start

PROGRAM = """
import gc, sys
looks = gc.isenabled()
def main():
    print(looks, gc.isenabled(), sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def unfrozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the programs of these tests from a folder, and keep them in sight of later looks."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(gc, "freeze", lambda: None)


def test_a_program_is_loaded_without_looks_for_garbage_and_runs_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "started_program.py").write_text(PROGRAM, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["start", "started_program", "site.toml", "--port"])
    start.main()
    assert capsys.readouterr().out == "False True ['site.toml', '--port']\n"


def test_looks_go_on_after_a_module_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "broken_program.py").write_text("raise ValueError\n", encoding="utf-8")
    with pytest.raises(ValueError):
        start.load("broken_program")
    assert gc.isenabled()
