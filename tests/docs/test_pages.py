"""The commands of docs/coordinator.md and docs/site.md, typed as they stand there.

Every party has a folder and a home of its own, and the hospitals reach the coordinator through
nginx. Only names, addresses and ports are put in place of those of the example.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.utils.processes import BackgroundProgram, free_port, stop_all

ROOT = Path(__file__).resolve().parents[2]
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
                said += "".join(self._type(line, names) for line in block.code.splitlines())
                self.typed.append(block)
        return said

    def _type(self, line: str, names: dict[str, str]) -> str:
        done = subprocess.run(
            [BASH, "-e", "-c", self._named(line, names)],
            cwd=self.folder,
            env=self.environment,
            input="y\n",
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
        own = {"HOME": str(self.folder / "home"), "PATH": PROGRAMS, "OMP_NUM_THREADS": "1"}
        return {**os.environ, **own}

    def sends(self, name: str, to: Party) -> None:
        shutil.copy(self.folder / name, to.folder)

    def _named(self, code: str, names: dict[str, str]) -> str:
        for example, real in {**self.names, **names}.items():
            assert example.isascii()
            code = code.replace(example, real)
        return code


@pytest.fixture
def coordinator(tmp_path: Path, tabular: Path) -> Iterator[Party]:
    address = f"127.0.0.1:{free_port()}"
    names = {"hub.example.org:443": f"{address} --port {free_port()}", "larynx": "tabular"}
    party = Party("coordinator.md", tmp_path / "coordinator", names)
    shutil.copy(tabular / "study.toml", party.folder)
    yield party
    if (party.folder / "hub" / "nginx" / "nginx.pid").exists():  # the test failed
        party._type('nginx -p "$PWD/hub/nginx" -c nginx.conf -s stop', {})


@pytest.fixture
def hospitals(tmp_path: Path) -> dict[str, Party]:
    return {
        name: Party(
            "site.md",
            tmp_path / f"machine-{name}",
            {"qilu": f"site-{name}", f"--name site-{name}": f"--name {name}"}
            | {"invitation.json": f"invitation.json --port {free_port()}"},
        )
        for name in ("a", "b", "c")
    }


@pytest.fixture
def taking_part(hospitals: dict[str, Party]) -> Iterator[list[BackgroundProgram]]:
    """Programs that are stopped at the end of the test."""
    programs: list[BackgroundProgram] = []
    yield programs
    stop_all(programs)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("nginx", path=PROGRAMS) is None, reason="nginx is not installed: make nginx"
)
def test_following_both_pages_brings_a_study_to_its_end(
    coordinator: Party,
    hospitals: dict[str, Party],
    tabular: Path,
    taking_part: list[BackgroundProgram],
) -> None:
    coordinator.follow(2)
    coordinator.follow(3)
    for name, hospital in hospitals.items():
        coordinator.sends("hub/for-sites/invitation.json", hospital)
        hospital.follow(2)
        hospital.sends(f"site-{name}/{name}.request.json", coordinator)
        coordinator.follow(4, qilu=name)
    coordinator.follow(5)
    for name, hospital in hospitals.items():
        coordinator.sends("hub/for-sites/tabular/study.toml", hospital)
        shutil.copy(tabular / name / "cohort.csv", hospital.folder / f"site-{name}" / "data")
        assert "ready" in hospital.follow(4)
        hospital.follow(5)
        taking_part.append(hospital.in_background(6))
    for program in taking_part:
        program.start()
    said = coordinator.follow(6)
    assert "External test set 1" in said
    (run,) = (coordinator.folder / "hub" / "runs").iterdir()
    assert json.loads((run / "results.json").read_text(encoding="utf-8"))["performance"]
    assert "finished" in coordinator.follow(6, "anytime")
    folder = {"tabular-DATE-TIME": run.name}
    for name, hospital in hospitals.items():
        hospital.follow(7, "after-run")
        # on the page the hospital's folder is called like the hospital
        shutil.copytree(
            hospital.folder / f"site-{name}.ledger", coordinator.folder / f"{name}.ledger"
        )
        coordinator.follow(7, "each-ledger", **folder, qilu=name)
    assert "they agree" in coordinator.follow(7, "all-ledgers", **folder)
    coordinator.follow(7)
    for program in taking_part:
        program.stop()
    for name, hospital in hospitals.items():
        assert "ledger of" in hospital.follow(7, "stopped")
        for log in (hospital.folder / "screen.log", hospital.folder / f"site-{name}/work/site.log"):
            check_own_words(log.read_text(encoding="utf-8"), hospital.page)
    for party in (coordinator, *hospitals.values()):
        assert sorted(set(map(str, party.typed))) == sorted(set(map(str, blocks(party.page))))
    log = (coordinator.folder / "hub" / "nginx" / "access.log").read_text(encoding="utf-8")
    assert "/v1/fleet/push-messages" in log
    assert "/v1/control/" not in log


def check_own_words(shown: str, page: str) -> None:
    """Check that a hospital reads of a run from start to end, and nothing of Flower's."""
    parts = [
        "connected to the coordinator; waiting for questions",
        "takes part in the study tabular",
        "the study tabular is finished here",
    ]
    places = [shown.find(part) for part in parts]
    assert -1 not in places, f"{page}: {shown}"
    assert places == sorted(places), shown
    for foreign in ("\x1b", "Connection attempt failed", "INFO :", "SuperNode", "uvicorn"):
        assert foreign not in shown, shown


def test_every_file_that_a_page_links_to_is_there() -> None:
    for page in ("coordinator.md", "site.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / "docs" / target).is_file(), f"{page}: {target}"
