"""A deployment on this machine in which things go wrong: real programs, keys, proxy and lines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import psutil
import pytest

from client.commands.init import join
from client.gate.approvals import approve
from client.site import load_site
from client.store.site_db import remember_study
from common.ledger.audit import audit
from common.ledger.verify import readable_entries, verify
from common.masking import identity
from common.messages.joining import Invitation, JoinRequest
from common.study.model import Study, load_study
from common.utils import keeper
from common.utils.processes import free_port, port_is_taken
from server.deployment.folder import CoordinatorFolder, CoordinatorSettings
from server.deployment.init import make_coordinator
from server.deployment.preparing import prepare
from server.deployment.roster import enrol
from server.deployment.run_folder import RunFolder, find_run
from sim.rehearsal import Rehearsal, differences, program, run_in_process_again
from sim.sites import find_sites, write_site
from tests import builders

# on a busy machine everything takes longer; nothing is measured by these
PATIENCE = 400.0
# what a fault leaves in some ledgers and not in others
_OF_FAULTS = ("missing", "stopped", "alone")
# a whole number of entries in each of the keys of a request, with a few digits more
_DIGITS = 64
_NUMBERS = count(1)


@dataclass
class Screen:
    """A program in the background, and what it has said."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        """All that it has said so far, on one line."""
        return " ".join(self.log.read_text(encoding="utf-8", errors="replace").split())

    def ends(self) -> int:
        """Its exit code, once it has ended."""
        until(lambda: self.process.poll() is not None, "the program has ended", self.log)
        return self.process.returncode

    def says(self, words: str) -> None:
        """Return when it has said these words."""
        until(lambda: words in self.text, f"{words!r} is said", self.log)


@contextmanager
def started(
    command: list[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Screen]:
    """A program while the block lasts."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300", **(environment or {})},
        )
    try:
        yield Screen(process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(holds: Callable[[], bool], what: str, *logs: Path, seconds: float = PATIENCE) -> None:
    """Return when something holds.

    Raises
    ------
    AssertionError : it did not for a long time; with the ends of these files.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            reported = "\n".join(f"{p}: {p.read_text(errors='replace')[-3000:]}" for p in logs)
            raise AssertionError(f"waited in vain until {what}\n{reported}")
        time.sleep(0.05)


def processes(*words: str) -> list[psutil.Process]:
    """Running programs of this test whose command line holds all these words, keepers apart."""
    found = []
    for one in psutil.Process().children(recursive=True):
        try:
            line = " ".join(one.cmdline())
        except psutil.Error:
            continue
        if keeper.__file__ not in line and all(word in line for word in words):
            found.append(one)
    return found


@dataclass
class Run:
    """A run that `fedlnm-server run` or `resume` keeps going."""

    stage: Stage
    screen: Screen

    @cached_property
    def folder(self) -> RunFolder:
        """The run's folder, once the screen has named it."""
        said = re.compile(rf"run ({re.escape(self.stage.study.name)}-[^ ;]*); Ctrl-C interrupts it")
        until(lambda: said.search(self.screen.text) is not None, "it is named", self.screen.log)
        return find_run(self.stage.hub, said.findall(self.screen.text)[0])

    def reported(self, kind: str, *, within: str = "", **details: str) -> int:
        """Count the events of a kind.

        Parameters
        ----------
        within : a phase, since whose last beginning they are counted; empty = all.
        """
        wanted, found = {"kind": kind, **details}, list(self.folder.events())
        if within:
            begins = [
                n for n, e in enumerate(found) if (e["kind"], e.get("phase")) == ("phase", within)
            ]
            found = found[begins[-1] :] if begins else []
        return sum(all(event.get(k) == v for k, v in wanted.items()) for event in found)

    def reaches(self, kind: str, times: int = 1, *, within: str = "", **details: str) -> None:
        """Return when so many events of a kind have been recorded."""

        def there() -> bool:
            assert self.screen.process.poll() is None, self.screen.text[-3000:]
            return self.reported(kind, within=within, **details) >= times

        until(there, f"{kind} {details}", self.screen.log, *self.stage.logs)

    def stopped_at(self, kind: str) -> str:
        """Return phase and number of the question at which a problem of a hospital ended the run.

        Parameters
        ----------
        kind : of the problem.
        """
        (said,) = [str(e["message"]) for e in self.folder.events() if e["kind"] == "failed"]
        found = re.search(rf"site \w+, (phase \w+, question \d+): [^(]*\({kind}, its log", said)
        assert found, said
        return found[1]

    def program(self, name: str) -> psutil.Process:
        """A program of the coordinator, once it runs."""
        own = psutil.Process(self.screen.process.pid)

        def of_own() -> list[psutil.Process]:
            line = [one.pid for one in own.children(recursive=True)]
            return [one for one in processes(name) if one.pid in line]

        until(lambda: bool(of_own()), f"{name} runs", self.screen.log)
        return of_own()[0]


@dataclass
class Stage:
    """A coordinator behind its proxy and hospitals, each at the end of a line, all on loopback.

    Parameters
    ----------
    rehearsal : folders.
    study_file : of the study that every hospital has approved.
    lines : from a hospital to the proxy, by site.
    """

    rehearsal: Rehearsal
    study_file: Path
    lines: dict[str, Any]
    screens: dict[str, Screen] = field(default_factory=dict)
    _environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _running: ExitStack = field(default_factory=ExitStack)

    @property
    def hub(self) -> CoordinatorFolder:
        """The coordinator's folder."""
        return self.rehearsal.hub

    @property
    def study(self) -> Study:
        """As everybody approved it."""
        return load_study(self.study_file)

    @property
    def logs(self) -> list[Path]:
        """List the logs to read when something does not come."""
        found = [self.hub.state / "superlink.log", self.hub.state / "superexec.log"]
        found += [screen.log for screen in self.screens.values()]
        return [path for path in found if path.is_file()]

    def work(self, name: str) -> Path:
        """A hospital's work folder."""
        return self.rehearsal.site(name) / "work"

    # -- programs -------------------------------------------------------------------------------

    @contextmanager
    def proxy(self) -> Iterator[None]:
        """The real nginx, with the configuration as it was made."""
        prefix = self.hub.proxy
        found = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
        if found is None:
            pytest.skip("nginx is not installed: make nginx")
        command = [found, "-p", str(prefix), "-c", "nginx.conf", "-g", "daemon off;"]
        port = self.hub.settings().public_port
        with started(command, prefix / "screen.log") as screen:
            until(lambda: port_is_taken(port), "nginx listens", screen.log)
            yield

    @contextmanager
    def site(self, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Screen]:
        """`fedlnm-site run`."""
        command = [*program("site"), "run", "--site", str(folder)]
        with started(command, folder / "screen.log", environment) as screen:
            yield screen

    @contextmanager
    def sites(self, environment: Mapping[str, Mapping[str, str]] | None = None) -> Iterator[None]:
        """The proxy, and every hospital.

        Parameters
        ----------
        environment : by site, what is added to that of its programs.
        """
        self._environment = environment or {}
        with ExitStack() as self._running:
            self._running.enter_context(self.proxy())
            for name in self.lines:
                self.start_again(name)
            yield

    def start_again(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a hospital; it runs for as long as the others."""
        own = self.site(self.rehearsal.site(name), environment or self._environment.get(name))
        self.screens[name] = self._running.enter_context(own)

    @contextmanager
    def run(
        self,
        verb: str = "run",
        environment: Mapping[str, str] | None = None,
        beside: Sequence[Stage] = (),
    ) -> Iterator[Run]:
        """`fedlnm-server run` or `resume`.

        Parameters
        ----------
        beside : stages whose studies are run by the same command.
        """
        command = [*program("server"), verb, str(self.hub.root)]
        names = [one.study.name for one in (self, *beside)]
        command += [*names, "--new"] if verb == "run" else []
        log = self.rehearsal.root / f"{verb}-{time.time_ns()}.log"
        with started(command, log, environment) as screen:
            yield Run(self, screen)

    def supernode(self, name: str) -> psutil.Process:
        """A hospital's SuperNode, once it runs."""
        words = ("client.gate.supernode", str(self.rehearsal.site(name)))
        until(lambda: bool(processes(*words)), f"the SuperNode of {name} runs")
        return processes(*words)[0]

    def launcher(self, name: str) -> psutil.Process:
        """Return the launcher that hands a hospital's messages to the process of its app."""
        launchers = self._launchers(name)
        return next(one for one in launchers if one.parent() not in launchers)

    def answering(self, name: str) -> list[psutil.Process]:
        """The processes in which a hospital answers messages at this moment."""
        try:
            return [one for one in self._launchers(name) if one.name() == "fedlnm-answerin"]
        except psutil.NoSuchProcess:  # it has just ended
            return []

    def _launchers(self, name: str) -> list[psutil.Process]:
        settings = load_site(self.rehearsal.site(name) / "site.toml")
        assert settings.deployment is not None
        return processes("client.gate.launcher", f"127.0.0.1:{settings.deployment.port}")

    def programs(self, name: str) -> list[psutil.Process]:
        """All of a hospital."""
        first = psutil.Process(self.screens[name].process.pid)
        return [first, *first.children(recursive=True)]

    def kill(self, name: str) -> None:
        """Kill all programs of a hospital at once, as a power cut does."""
        for one in reversed(self.programs(name)):
            with suppress(psutil.NoSuchProcess):
                one.kill()

    @contextmanager
    def held_up(self, names: Sequence[str]) -> Iterator[None]:
        """Stop all programs of hospitals while the block lasts, as a machine that sleeps does."""
        held = [one for name in names for one in self.programs(name)]
        with ExitStack() as stack:
            for one in held:
                stack.callback(_let_go_on, one)
                with suppress(psutil.NoSuchProcess):
                    one.suspend()
            yield

    def amid(self, run: Run, name: str) -> None:
        """Return in the middle of a round of the clinical model, which a hospital is answering."""
        run.reaches("phase", phase="clinical")
        run.reaches("contact", 1 + run.reported("contact", site=name), site=name)
        until(lambda: bool(self.answering(name)), f"{name} answers", run.screen.log)

    def kill_answering(self, name: str) -> None:
        """Kill the process that answers a message."""

        def killed() -> bool:
            try:
                return bool([one.kill() for one in self.answering(name)])
            except psutil.NoSuchProcess:
                return False

        until(killed, f"{name} answers")

    @contextmanager
    def lying(self, lies: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Run]]:
        """Run a coordinator that tells each of these lies in a study of its own, side by side.

        Parameters
        ----------
        lies : of `tests.attacks.lies`; by each, how its study differs from that of this stage.
        """
        about = {lie: self.another(f"lie-{next(_NUMBERS)}", **lies[lie]) for lie in lies}
        path = [str(Path(__file__).with_name("lying")), os.environ.get("PYTHONPATH", "")]
        environment = {
            "LIES": json.dumps({one.study.name: lie for lie, one in about.items()}),
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
        }
        first, *others = about.values()
        with first.run(environment=environment, beside=others) as run:
            yield {lie: Run(one, run.screen) for lie, one in about.items()}

    def another(self, name: str, **changes: Any) -> Stage:
        """Return this deployment with its study under another name, which everybody approves."""
        study_file = self.rehearsal.root / f"{name}.toml"
        shutil.copyfile(self.study_file, study_file)
        builders.amend(study_file, name=name, **changes)
        own = replace(self, study_file=prepare(self.hub, study_file).file)
        for site in own.lines:
            approve_study(own, site)
        return own

    # -- results --------------------------------------------------------------------------------

    @cached_property
    def undisturbed(self) -> dict[str, Any]:
        """results.json of the same study in process, under the same keys."""
        name = f"{self.study.name}-20240101-000000"  # as long as any run's: bytes are counted
        folder = f"{self.study.name}-in-process"
        out = run_in_process_again(self.rehearsal, self.study_file, name, folder)
        results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
        return results

    def finishes_as_undisturbed(self, run: Run) -> None:
        """The run ends, with the results of an undisturbed one; all ledgers are whole and agree.

        A round that was broken off and asked again under another number is in the ledgers of those
        that had answered it, and an audit says that it is not in the others'. A question that a
        fault kept from some stands alone in the ledgers of those that could not answer it.
        """
        assert run.screen.ends() == 0, run.screen.text[-3000:]
        text = (run.folder.path / "results.json").read_text(encoding="utf-8")
        found, wanted = json.loads(text), dict(self.undisturbed)
        assert alike_in_transfers(found.pop("transfers"), wanted.pop("transfers")) == []
        assert differences(found, wanted) == []
        ledgers = {name: self.work(name) / "ledger.jsonl" for name in self.lines}
        for name, path in ledgers.items():
            assert list(verify(path, identity.public_key(self.study.roster[name]))) == [], name
        audited = audit({name: readable_entries(path) for name, path in ledgers.items()})
        assert [str(finding) for finding in audited if finding.kind not in _OF_FAULTS] == []


def alike_in_transfers(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[str]:
    """Return the rows that differ by more than numbers of ledger entries may.

    Every key of a site holds how many entries its ledger had, which has more digits once earlier
    runs are in it, and keys go with every request.
    """
    rest: list[str] = []
    for one, other in zip_longest(found, wanted, fillvalue={}):
        slack = _DIGITS * max(other.get("messages", 0), 1)
        sizes = [abs(one.get(key, 0) - other.get(key, 0)) for key in ("bytes_up", "bytes_down")]
        same = {k: v for k, v in one.items() if "bytes" not in k} == {
            k: v for k, v in other.items() if "bytes" not in k
        }
        if not same or max(sizes) > slack:
            rest.append(f"{one} is not {other}")
    return rest


def _let_go_on(one: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        one.resume()


def of_release(version: str, folder: Path, *first: Path) -> dict[str, str]:
    """Return the environment in which programs call themselves a release.

    Parameters
    ----------
    folder : a fresh one.
    first : folders that Python looks into before all others.
    """
    other = folder / f"fedlnm-{version}.dist-info"
    other.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: fedlnm\nVersion: {version}\n"
    (other / "METADATA").write_text(text, encoding="utf-8")
    # without the current folder, where an editable installation keeps the true version
    path = os.pathsep.join([*map(str, first), str(folder), *sys.path])
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def build(
    hospitals: Path, root: Path, line: Callable[[int], Any], cache: Path | None = None
) -> Stage:
    """Coordinator and hospitals, from nothing to an approved study.

    Parameters
    ----------
    hospitals : folder with study.toml and the hospitals' data.
    line : makes a line to a port.
    cache : prepared images, which all hospitals share; None = each prepares its own.
    """
    study = load_study(hospitals / "study.toml")
    folders = [hospitals / name for name in study.site_names]
    rehearsal = Rehearsal(root, find_sites(folders, study))
    public = free_port()
    settings = CoordinatorSettings(
        address=f"127.0.0.1:{public}", port=free_port(), status_port=free_port()
    )
    hub = make_coordinator(rehearsal.hub.root, settings)
    lines = {name: line(public) for name in rehearsal.data}
    for name, data in rehearsal.data.items():
        add_site(rehearsal, name, data, lines[name].port, cache)
        enrol(hub, JoinRequest.read(rehearsal.site(name) / f"{name}.request.json"), replace=False)
    stage = Stage(rehearsal, prepare(hub, hospitals / "study.toml").file, lines)
    for name in lines:
        approve_study(stage, name)
    return stage


def add_site(
    rehearsal: Rehearsal, name: str, data: Path, port: int, cache: Path | None = None
) -> Path:
    """A hospital's folder with fresh keys, which reaches the coordinator at this port."""
    folder = rehearsal.site(name)
    join(folder, name, Invitation.read(rehearsal.hub.invitation), free_port())
    settings = load_site(folder / "site.toml")
    assert settings.deployment is not None
    deployment = settings.deployment.model_copy(update={"superlink": f"127.0.0.1:{port}"})
    changes: dict[str, Any] = {"data": data, "deployment": deployment}
    changes |= {"cache": cache} if cache else {}
    write_site(folder, settings.model_copy(update=changes))
    return folder


def approve_study(stage: Stage, name: str) -> None:
    """Approve as `fedlnm-site approve` does."""
    private = identity.load(stage.rehearsal.site(name) / "keys" / "identity.pem").private
    study = stage.study
    remember_study(stage.work(name), study)
    approve(stage.work(name), private, study.digest(), study.name)
