"""The commands of docs/coordinator.md and docs/site.md, typed as they stand there.

Every party has a folder and a home of its own, and the hospitals reach the coordinator through
nginx. Only names, addresses and ports are put in place of those of the example.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.utils.processes import BackgroundProgram, free_port, stop_all
from tests.parties import PROGRAMS, ROOT, Party, blocks

# the ways of section 8 exclude one another
ELSEWHERE = ("leaves", "away", "lost-keys", "confirms", "confirmed")


@pytest.fixture
def coordinator(tmp_path: Path, tabular: Path) -> Iterator[Party]:
    address = f"127.0.0.1:{free_port()}"
    names = {"hub.example.org:443": f"{address} --port {free_port()}", "larynx": "tabular"}
    party = Party("coordinator.md", tmp_path / "coordinator", names)
    shutil.copy(tabular / "study.toml", party.folder)
    yield party
    if (party.folder / "hub" / "nginx" / "nginx.pid").exists():  # the test failed
        party.type_line('nginx -p "$PWD/hub/nginx" -c nginx.conf -s stop', {})


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
        assert "ledger of" in hospital.follow(8, "stopped")
        for log in (hospital.folder / "screen.log", hospital.folder / f"site-{name}/work/site.log"):
            check_own_words(log.read_text(encoding="utf-8"), hospital.page)
    for party in (coordinator, *hospitals.values()):
        all_of = {str(one) for one in blocks(party.page) if one.label not in ELSEWHERE}
        assert set(map(str, party.typed)) == all_of
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
