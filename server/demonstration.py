"""`flwr run .` without settings: make the small phantom hospitals first, then study them."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

from common.demonstration import demonstration_folder
from common.errors import StudyError


def prepare_demonstration() -> dict[str, str]:
    """Run configuration of the demonstration study; its hospitals are on disk when this returns.

    Raises
    ------
    StudyError : the hospitals could not be made.
    """
    folder = demonstration_folder()
    command = [sys.executable, "-m", "sim", "demonstration"]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise StudyError(
            f"the phantom hospitals could not be made: {done.stderr.strip()[-300:]}",
            where="demonstration",
        )
    return {
        "study": str(folder / "hospitals" / "study.toml"),
        "out": str(folder / f"run-{datetime.now():%Y%m%d-%H%M%S}"),
    }
