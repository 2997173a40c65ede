"""A clock that a test can put wrong, for one program and what it starts."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

HOUR = 3600


@dataclass(frozen=True)
class Clock:
    """The time of day as programs with `environment` see it.

    Parameters
    ----------
    folder : for the library that they load, and for the shift.
    """

    folder: Path

    def __post_init__(self) -> None:
        source = Path(__file__).with_name("clock.c")
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(self._library), str(source), "-ldl"]
        subprocess.run(command, check=True)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of such a program."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_AHEAD": str(self._shift)}

    def put_forward(self, seconds: int) -> None:
        """Shift it; negative puts it back."""
        self._shift.write_text(str(seconds), encoding="utf-8")

    def put_right(self) -> None:
        """Let it show the true time."""
        self._shift.unlink(missing_ok=True)

    @property
    def _library(self) -> Path:
        return self.folder / "clock.so"

    @property
    def _shift(self) -> Path:
        return self.folder / "ahead"
