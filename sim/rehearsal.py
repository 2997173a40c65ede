"""`fedlnm-sim rehearse`: a real deployment on this machine, and the same study in process.

Every step is the command of the people at the coordinator and at the hospitals, in a folder of
each; SuperLink with TLS and node authentication, SuperExec and a gated SuperNode per hospital, all
on loopback. Keys are fresh. The study then runs once more in process, over the same data and under
the same keys, and both results have to be equal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from client.site import load_site
from client.store.draw_secret import draw_secret, place_draw_secret
from common.errors import StudyError
from common.models import NETWORKS
from common.study.model import load_study, write_study
from common.utils.processes import BackgroundProgram, free_port, kept, stop_all
from server.deployment.folder import CoordinatorFolder
from server.deployment.run_folder import find_run
from server.report.study_report import write_outputs
from sim.demonstration import demonstration_plan
from sim.jobs import Job, run_job
from sim.phantom.generate import generate
from sim.sites import find_sites, write_site

HOSPITALS, FOLDS, ROUNDS = 4, 3, 2
PODMAN = ("--runtime=runc",)
# what two runs may differ in: when, how long, and on which engine
NOT_COMPARED = ("timing", "run")


@dataclass(frozen=True)
class Rehearsal:
    """Folders of a rehearsal.

    Parameters
    ----------
    root : a fresh folder.
    data : folder with cohort.csv by hospital.
    """

    root: Path
    data: Mapping[str, Path]

    @property
    def hub(self) -> CoordinatorFolder:
        """Folder of the coordinator."""
        return CoordinatorFolder(self.root / "coordinator")

    def site(self, name: str) -> Path:
        """Return a hospital's folder."""
        return self.root / "hospitals" / name


def rehearse(
    study_file: Path, folders: Sequence[Path], root: Path, console: Console, image: str = ""
) -> list[str]:
    """Deploy, run, run in process, compare; return the keys of results.json that differ.

    Parameters
    ----------
    image : container image that the hospitals' programs run in; empty = none.

    Raises
    ------
    StudyError : a step failed.
    """
    study = load_study(study_file)
    rehearsal = Rehearsal(root.resolve(), find_sites(folders, study))
    if rehearsal.root.exists():
        raise StudyError("it is there already", where=str(root), remedy="give a fresh --out folder")
    begin = time.monotonic()
    prepared = set_up(rehearsal, study_file, console)
    with running_sites(rehearsal, image):
        _say(console, begin, f"{len(rehearsal.data)} hospitals have started; the study begins")
        command("server", "run", rehearsal.hub.root, study.name, show=True)
    deployed = find_run(rehearsal.hub, None).path
    _say(console, begin, "the same study in process")
    in_process = run_in_process_again(rehearsal, prepared, deployed.name)
    both = [results_of(deployed), results_of(in_process)]
    if image:
        # another C library rounds otherwise: how often, the releases count
        both = [without_stand_ins(one) for one in both]
    different = differences(*both)
    _say(console, begin, f"deployment: {deployed}")
    return different


def small_phantom(folder: Path, seed: int) -> tuple[Path, list[Path]]:
    """Return study file and folders of four small phantom hospitals, three of which train.

    All models of the study, with few folds and rounds: a rehearsal tests the process, not the
    models.
    """
    plan = demonstration_plan(HOSPITALS)
    generate(folder, seed=seed, plan=plan)
    study = load_study(folder / "study.toml")
    networks: dict[str, Any] = {
        name: study.network(name).model_copy(update={"rounds": ROUNDS}) for name in NETWORKS
    }
    small = study.model_copy(update={"folds": FOLDS, **networks})
    file = write_study(small, folder / "study.toml")
    return file, [folder / hospital.name for hospital in plan.hospitals]


def set_up(rehearsal: Rehearsal, study_file: Path, console: Console) -> Path:
    """Set up coordinator and hospitals, from nothing to an approved study; return its file."""
    port = free_port()
    hub = rehearsal.hub
    command("server", "init", hub.root, "--address", f"127.0.0.1:{port}", "--port", port)
    ports: set[int] = {port}
    for name, data in rehearsal.data.items():
        folder, own = rehearsal.site(name), _port_besides(ports)
        options = ("--name", name, "--invitation", hub.invitation, "--port", own, "--yes")
        command("site", "init", folder, *options)
        settings = load_site(folder / "site.toml").model_copy(
            update={"data": data, "cache": rehearsal.root / "cache"}
        )
        write_site(folder, settings)
        command("server", "enrol", hub.root, folder / f"{name}.request.json", "--yes")
        console.print(f"{name} has joined", highlight=False)
    command("server", "prepare", hub.root, study_file)
    prepared = hub.prepared_study(load_study(study_file).name)
    for name in rehearsal.data:
        command("site", "approve", prepared, "--site", rehearsal.site(name), "--yes")
    console.print("every hospital has approved the study", highlight=False)
    return prepared


@contextmanager
def running_sites(rehearsal: Rehearsal, image: str = "") -> Iterator[dict[str, BackgroundProgram]]:
    """Run `fedlnm-site run` for every hospital while the block lasts."""
    programs = {}
    for name in rehearsal.data:
        folder = rehearsal.site(name)
        arguments = [*program("site"), "run", "--site", str(folder)]
        if image:
            arguments = in_container(rehearsal, name, image)
        programs[name] = BackgroundProgram(arguments, environment(), folder / "screen.log")
    try:
        for one in programs.values():
            one.start()
        yield programs
    finally:
        stop_all(list(programs.values()))


# as the image has it; a name would have to be known inside
CONTAINER_USER = 10001


def in_container(rehearsal: Rehearsal, name: str, image: str) -> list[str]:
    """Return the command that runs a hospital's program from the image.

    Its system is read-only and its user has no rights; it writes into the site's folder and the
    cache alone, and reads its data. Folders are mounted at the paths that site.toml names.
    """
    folder, data = rehearsal.site(name), rehearsal.data[name].resolve()
    cache = rehearsal.root / "cache"
    cache.mkdir(exist_ok=True)
    for path in (folder, cache):
        for one in (path, *path.rglob("*")):
            os.chown(one, CONTAINER_USER, CONTAINER_USER)
    command = ["podman", *PODMAN, "run", "--rm", "--replace", "--name", f"fedlnm-{name}"]
    command += ["--network=host", "--read-only", "--tmpfs=/tmp:rw,mode=1777"]
    command += ["--cap-drop=ALL", "--security-opt=no-new-privileges", "--env=OMP_NUM_THREADS=1"]
    command += ["--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"]
    command += [f"--volume={path}:{path}:rw" for path in (folder, cache)]
    return [*command, f"--volume={data}:{data}:ro", image, "run", "--site", str(folder)]


def run_in_process_again(
    rehearsal: Rehearsal, study_file: Path, run_name: str, folder: str = "in-process"
) -> Path:
    """Run the approved study over the same hospitals and keys in process; return the run's folder.

    Parameters
    ----------
    run_name : of the deployed run: it is part of every message, whose bytes are counted.
    folder : name of the run's folder below the rehearsal's.
    """
    out = rehearsal.root / folder
    sites = {}
    for name in rehearsal.data:
        settings = load_site(rehearsal.site(name) / "site.toml")
        work = out / "sites" / name / "work"
        place_draw_secret(work, draw_secret(settings.work))
        changes = {"work": work, "approvals": "open", "deployment": None}
        sites[name] = write_site(out / "sites" / name, settings.model_copy(update=changes))
    job = Job(
        label="federated",
        study=study_file,
        sites=sites,
        out=out,
        identity=rehearsal.hub.identity,
        run_name=run_name,
    )
    outcome = run_job(job)
    if outcome.error:
        raise outcome.as_error()
    write_outputs(json.loads((out / "run.json").read_text(encoding="utf-8")), out)
    return out


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the keys of results.json whose values are not the same to the last digit."""
    keys = [key for key in {**one, **other} if key not in NOT_COMPARED]
    return [key for key in keys if one.get(key) != other.get(key)]


def without_stand_ins(results: dict[str, Any]) -> dict[str, Any]:
    """Return results without the number of the coordinator's solutions that sites went on with."""
    rows = [{**row, "stand_ins": None} for row in results.get("releases", [])]
    return {**results, "releases": rows}


def command(who: str, *arguments: object, show: bool = False) -> None:
    """Run a command of `fedlnm-server` or `fedlnm-site`, as a person would.

    Raises
    ------
    StudyError : it failed; with its output.
    """
    line = [*program(who), *(str(argument) for argument in arguments)]
    done = subprocess.run(  # noqa: S603
        kept(line), capture_output=not show, text=True, env=environment(), check=False
    )
    if done.returncode:
        words = (done.stderr or "").strip().splitlines()
        raise StudyError(words[-1] if words else "see above", where=f"fedlnm-{who} {arguments[0]}")


def program(who: str) -> list[str]:
    """Return the command line of `fedlnm-server` or `fedlnm-site`."""
    return [sys.executable, "-m", {"server": "server", "site": "client"}[who]]


def environment() -> dict[str, str]:
    """Return the environment of every program: one thread each, as many share this machine."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _port_besides(taken: set[int]) -> int:
    while (port := free_port()) in taken:
        pass
    taken.add(port)
    return port


def results_of(run: Path) -> dict[str, Any]:
    """Return the results of a run."""
    tree: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return tree


def _say(console: Console, begin: float, text: str) -> None:
    console.print(f"[dim]{time.monotonic() - begin:6.0f} s[/dim]  {text}", highlight=False)
