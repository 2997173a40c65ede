"""Parties that follow the pages in docs/, typing the commands as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from common.utils.processes import BackgroundProgram

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
BASH = shutil.which("bash") or ""
BLOCK = re.compile(r"^```sh ?(?P<label>[a-z-]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Commands of a page; `label` says when they cannot simply be typed one after the other."""

    step: int
    label: str
    code: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = []
    for section in text.split("\n## ")[1:]:
        number = section.partition(".")[0]
        step = int(number) if number.isdigit() else 0
        found += [Block(step, m["label"], m["code"]) for m in BLOCK.finditer(section)]
    return [block for block in found if block.label != "no-test"]


@dataclass
class Party:
    """Somebody who follows a page, at a machine of their own."""

    page: str
    folder: Path
    names: dict[str, str]
    typed: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "home").mkdir(parents=True)

    def follow(self, step: int, label: str = "", **names: str) -> str:
        """Type the commands of a step, answer yes; what they say."""
        said = ""
        for block in blocks(self.page):
            if (block.step, block.label) == (step, label):
                said += "".join(self.type_line(line, names) for line in block.code.splitlines())
                self.typed.append(block)
        return said

    def type_line(self, line: str, names: dict[str, str]) -> str:
        done = subprocess.run(
            [BASH, "-e", "-c", self._named(line, names)],
            cwd=self.folder,
            env=self.environment,
            input="y\n" * 2,  # the second, where a hospital is away
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def in_background(self, step: int) -> BackgroundProgram:
        """The program of a step, to be started."""
        (block,) = [b for b in blocks(self.page) if (b.step, b.label) == (step, "background")]
        self.typed.append(block)
        line = f"cd {self.folder} && exec {self._named(block.code, {})}"
        log = self.folder / "screen.log"
        return BackgroundProgram([BASH, "-e", "-c", line], self.environment, log)

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "HOME": str(self.folder / "home"),
            "PATH": PROGRAMS,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "400",
        }
        return {**os.environ, **own}

    def sends(self, name: str, to: Party) -> None:
        shutil.copy(self.folder / name, to.folder)

    def _named(self, code: str, names: dict[str, str]) -> str:
        for example, real in {**self.names, **names}.items():
            assert example.isascii()
            code = code.replace(example, real)
        return code
