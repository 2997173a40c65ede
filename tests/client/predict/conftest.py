"""A finished study, one of its hospitals, and the program called in this process."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client import cli
from common.bundle.bundle import Files, save_files, sign_files
from common.masking import identity
from sim.sites import COORDINATOR, simulated_identity

KEY = identity.public_text(simulated_identity(COORDINATOR).public_key())


@dataclass(frozen=True)
class Called:
    """End of a call; lines are as wide as they are long."""

    code: int
    out: str
    err: str

    @property
    def tree(self) -> Any:
        """Output of `--json`."""
        return json.loads(self.out)


Call = Callable[..., Called]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    def run(*arguments: object) -> Called:
        words = ["fedlnm-site", "predict", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        reported = capsys.readouterr()
        return Called(code, reported.out, reported.err)

    return run


@pytest.fixture
def bundle(imaging_run: Path) -> Path:
    return imaging_run / "bundle"


@pytest.fixture
def harbour(imaging_master: Path, tmp_path: Path) -> Path:
    """The external hospital's data, in a copy that a test may spoil."""
    shutil.copytree(imaging_master / "harbour", tmp_path / "harbour")
    return tmp_path / "harbour"


def signed(files: Files, folder: Path) -> Path:
    """A folder with these files, signed by the simulated coordinator."""
    save_files(sign_files(files, simulated_identity(COORDINATOR)), folder)
    return folder
