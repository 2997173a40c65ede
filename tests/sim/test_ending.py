"""No process of a long command is left when the command has ended, however it was ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import matplotlib
import pytest
import typer

import client.cli
import server.cli
import sim.cli
from client.commands.init import join
from common.masking import identity
from common.messages.joining import Invitation, JoinRequest
from common.study.model import load_study
from common.utils.processes import free_port
from server.deployment.folder import CoordinatorSettings
from server.deployment.init import make_coordinator
from server.deployment.preparing import prepare
from server.deployment.roster import enrol
from server.deployment.run_folder import new_run
from sim.rehearsal import Rehearsal
from sim.sites import COORDINATOR, find_sites, simulated_identity
from tests import builders
from tests.fixtures.archive import Scan, body, ellipses, person

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="looks for processes in /proc, as Linux has it"
)

MARK = "FEDLNM_TEST_MARK"
SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
# where CI runs, other tests compute on the same cores
LONGEST_START = 300.0
PATIENCE = 15.0 if os.environ.get("CI") else 5.0
SCREEN = "screen.log"
SHORT = {
    "site": {
        "init",
        "approve",
        "leave",
        "confirm",
        "doctor",
        "backup",
        "restore",
        "status",
        "notify",
        "ledger show",
        "ledger verify",
    },
    "server": {
        *("init", "enrol", "prepare", "confirm", "renew", "notify"),
        *("backup", "restore", "audit", "dossier"),
        *("manuscript", "monai", "collect", "feasibility"),
    },
    "sim": set[str](),
}
Fixture = Callable[[str], Path]
Ready = Callable[[Path, int], bool]


def several(processes: int) -> Ready:
    """Wait for so many processes, keepers among them."""
    return lambda _, count: count >= processes


def alone(out: Path, count: int) -> bool:
    """Wait for a word on the screen; what starts no process can leave none."""
    if not (out / SCREEN).read_bytes():
        return False
    assert count <= 1, "a short one may have ended already"
    return True


def written(files: str, word: str = "") -> Ready:
    """Wait for a word in a file."""
    return lambda out, _: any(word in path.read_text() for path in out.glob(files))


# -- what is given to the commands --------------------------------------------------------------


def check(fixture: Fixture, out: Path) -> list[object]:
    hospitals = fixture("imaging_master")
    return [hospitals / "north", "--study", hospitals / "study.toml"]


def site_run(fixture: Fixture, out: Path) -> list[object]:
    return ["--site", deployed(fixture("tabular_master"), out).site("a")]


def predict(fixture: Fixture, out: Path) -> list[object]:
    cohort = fixture("imaging_master") / "north" / "cohort.csv"
    bundle = fixture("imaging_run") / "bundle"
    return [bundle, "--cohort", cohort, "--unverified", "--workers", 2]


def validate(fixture: Fixture, out: Path) -> list[object]:
    cohort = fixture("imaging_master") / "north" / "cohort.csv"
    bundle = fixture("imaging_run") / "bundle"
    key = identity.public_text(simulated_identity(COORDINATOR).public_key())
    given = ("--coordinator-key", key, "--hospital", "north", "--workers", 2)
    return [bundle, "--cohort", cohort, "--out", out / "validation", *given]


def import_patients(fixture: Fixture, out: Path) -> list[object]:
    scan = Scan(person(1), body(1))
    scan.write(out / "export")
    scan.rtstruct(out / "export" / "contours", {"GTV": ellipses((26, 22), 6, range(8, 13))})
    study = builders.study_file(out / "study.toml", base_models=["radiomics"])
    (out / "site").mkdir()
    mapping = 'id = "who"\nconstants = { label = "1", split = "train" }\n'
    (out / "site" / "import.toml").write_text(mapping)
    (out / "table.csv").write_text(f"who\n{person(1).patient}\n")
    given = ("--from", out / "export", "--table", out / "table.csv", "--study", study)
    return [out / "site", *given, "--yes"]


def site_report(fixture: Fixture, out: Path) -> list[object]:
    site = fixture("imaging_run") / "sites" / "north"
    return [shutil.copytree(site, out / "site")]


def radiomics(fixture: Fixture, out: Path) -> list[object]:
    north = fixture("imaging_master") / "north"
    image, mask = north / "images/north-001.nii.gz", north / "masks/r1/north-001.nii.gz"
    return [image, mask, "--out", out / "features.csv"]


def server_run(fixture: Fixture, out: Path) -> list[object]:
    return [deployed(fixture("tabular_master"), out).hub.root, "tabular"]


def resume(fixture: Fixture, out: Path) -> list[object]:
    hub = deployed(fixture("tabular_master"), out).hub
    new_run(hub, prepare(hub, fixture("tabular_master") / "study.toml").file)
    return [hub.root]


def status(fixture: Fixture, out: Path) -> list[object]:
    (out / "run").mkdir()
    return [out / "run", "--web"]


def server_report(fixture: Fixture, out: Path) -> list[object]:
    (out / "run").mkdir()
    shutil.copy(fixture("imaging_run") / "results.json", out / "run")
    return [out / "run"]


def phantom(fixture: Fixture, out: Path) -> list[object]:
    return ["--out", out / "phantom"]


def sim_run(fixture: Fixture, out: Path) -> list[object]:
    return [*study_and_sites(fixture("imaging_master"), out), "--cache", out / "cache"]


def sim_run_by_flower(fixture: Fixture, out: Path) -> list[object]:
    return [*study_and_sites(fixture("tabular_master"), out), "--engine", "flower"]


def rehearse(fixture: Fixture, out: Path) -> list[object]:
    return study_and_sites(fixture("tabular_master"), out)


def nothing(fixture: Fixture, out: Path) -> list[object]:
    return []


def study_and_sites(hospitals: Path, out: Path) -> list[object]:
    sites = [hospitals / name for name in load_study(hospitals / "study.toml").site_names]
    return [hospitals / "study.toml", "--sites", *sites, "--out", out / "run"]


def deployed(tabular: Path, out: Path) -> Rehearsal:
    """A coordinator that has prepared a study, and hospitals that it has enrolled."""
    study = load_study(tabular / "study.toml")
    rehearsal = Rehearsal(out, find_sites([tabular / name for name in study.site_names], study))
    port = free_port()
    settings = CoordinatorSettings(address=f"127.0.0.1:{port}", port=port)
    hub = make_coordinator(rehearsal.hub.root, settings)
    for name in study.site_names:
        joined = join(rehearsal.site(name), name, Invitation.read(hub.invitation), free_port())
        enrol(hub, JoinRequest.read(joined.request_file), replace=False)
    prepare(hub, tabular / "study.toml")
    return rehearsal


@dataclass(frozen=True)
class Long:
    """A command that may take longer than some seconds.

    Parameters
    ----------
    arguments : made from fixtures and a fresh folder, beside what the command needs there.
    ready : tells from that folder, and from how many processes there are, that work has begun.
    signals : for what starts no process SIGTERM alone: it does what Ctrl-C does.
    daily : the other signals are left to `make rehearse-faults`.
    """

    program: str
    command: str
    arguments: Callable[[Fixture, Path], list[object]]
    ready: Ready
    signals: tuple[signal.Signals, ...] = SIGNALS
    daily: tuple[signal.Signals, ...] = SIGNALS
    note: str = ""


TERM, KILL = (signal.SIGTERM,), (signal.SIGKILL,)
LONG = (
    # the command, what keeps its workers' resources, and at least one worker
    Long("site", "check", check, several(3)),
    Long("site", "predict", predict, several(3), daily=KILL),
    Long("site", "validate", validate, several(3), KILL),
    # with the launcher, its keeper, and the process that forks; the SuperNode follows in the same
    # way when the coordinator is there
    Long("site", "run", site_run, several(4), daily=KILL + TERM),
    Long("site", "report", site_report, alone, TERM),
    Long("site", "import", import_patients, alone, TERM),
    Long("site", "radiomics", radiomics, alone, TERM),
    Long("server", "run", server_run, written("coordinator/runs/*/study.toml"), daily=KILL + TERM),
    # another way to the same
    Long("server", "resume", resume, written("coordinator/runs/*/study.toml"), KILL),
    Long("server", "status", status, alone, TERM),
    Long("server", "report", server_report, alone, TERM),
    Long("sim", "phantom", phantom, several(3), daily=KILL),
    Long("sim", "demonstration", nothing, several(3), KILL),
    Long("sim", "run", sim_run, several(3)),
    Long(
        "sim",
        "run",
        sim_run_by_flower,
        written("run/events.jsonl", '"contact"'),
        daily=KILL,
        note="--engine flower",
    ),
    # while the first command of its setting up is given
    Long("sim", "rehearse", rehearse, several(3), daily=KILL),
    Long(
        "sim",
        "rehearse",
        rehearse,
        written("run/coordinator/runs/*/events.jsonl", '"contact"'),
        daily=(),
        note="amid the study",
    ),
    Long("sim", "equality", nothing, alone, TERM),
)
MODULES = {"site": "client", "server": "server", "sim": "sim"}


def cases() -> list[object]:
    found: list[object] = []
    for one in LONG:
        for number in one.signals:
            name = f"{one.program} {one.command} {one.note}-{number.name}"
            marks = () if number in one.daily else (pytest.mark.faults,)
            found.append(pytest.param(one, number, id=name, marks=marks))
    return found


def marked(mark: str) -> set[int]:
    """Processes that were started under a mark, zombies apart."""
    needle, found = f"{MARK}={mark}".encode(), set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            zombie = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            continue
        if needle in environment and not zombie:
            found.add(int(folder.name))
    return found


@contextmanager
def started(arguments: list[str], out: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    mark = uuid4().hex
    # a demonstration goes into the user's cache; where no font is known, matplotlib looks for all
    own = {"XDG_CACHE_HOME": str(out / "cache"), "MPLCONFIGDIR": matplotlib.get_cachedir()}
    with (out / SCREEN).open("wb") as screen:
        program = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=screen,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own, MARK: mark, "PYTHONPATH": str(Path.cwd())},
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        yield program, mark
    finally:
        for left in marked(mark):
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        program.wait()


@pytest.mark.parametrize(("command", "number"), cases())
def test_no_process_is_left_of_a_command_that_was_ended(
    command: Long, number: signal.Signals, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    given = map(str, command.arguments(request.getfixturevalue, tmp_path))
    words = ["-m", MODULES[command.program], command.command, *given]
    with started(words, tmp_path) as (program, mark):
        limit = time.monotonic() + LONGEST_START
        while not command.ready(tmp_path, len(marked(mark))):
            assert program.poll() is None, (tmp_path / SCREEN).read_text()
            assert time.monotonic() < limit, (tmp_path / SCREEN).read_text()
            time.sleep(0.1)
        if number == signal.SIGINT:
            os.killpg(program.pid, number)  # as a terminal does: to all of them
        else:
            os.kill(program.pid, number)
        deadline = time.monotonic() + PATIENCE
        while marked(mark) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not marked(mark)
        if number != signal.SIGKILL:  # then a worker may be left with half a message
            assert "Traceback" not in (tmp_path / SCREEN).read_text()


def names(app: typer.Typer) -> Iterator[str]:
    """Commands as they are typed, those of groups with the group's name."""
    tree = typer.main.get_command(app)
    assert isinstance(tree, typer.core.TyperGroup)
    for name, one in tree.commands.items():
        inner: Mapping[str, object] = getattr(one, "commands", {})
        yield from (f"{name} {word}" for word in inner) if inner else (name,)


def test_every_command_is_known_to_be_long_or_short() -> None:
    apps = {"site": client.cli.app, "server": server.cli.app, "sim": sim.cli.app}
    for program, app in apps.items():
        long = {one.command for one in LONG if one.program == program}
        assert set(names(app)) == long | SHORT[program]
        assert not long & SHORT[program]
