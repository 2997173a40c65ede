"""fedlnm-sim: whole studies on one machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from common.errors import UsageError
from common.utils.command_line import program
from common.utils.console import consoles
from common.utils.processes import run_program

if TYPE_CHECKING:
    from server.report.schema import Results

app = program(
    "Run a multi-hospital study on one machine, beside its pooled and local-only references."
)
console, screen = consoles()


@app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="folder to write the hospitals into")],
    seed: Annotated[int, typer.Option(help="another seed gives other patients")] = 20240101,
    small: Annotated[bool, typer.Option(help="six small hospitals, for a quick look")] = False,
    scanner_shift: Annotated[
        float, typer.Option(min=0.0, help="how many times as far apart their scanners are")
    ] = 1.0,
) -> None:
    """Write hospitals of computer-made patients: CT volumes, contours, cohort.csv, study.toml."""
    from sim.phantom.generate import DEFAULT, SMALL, generate
    from sim.phantom.plan import with_scanner_shift

    plan = with_scanner_shift(SMALL if small else DEFAULT, scanner_shift)

    def tick(hospital: str, done: int, total: int) -> None:
        if done == total:
            console.print(f"{hospital}: {total} patients written", highlight=False)

    generate(out, seed=seed, plan=plan, progress=tick)
    console.print(f"study file: {out / 'study.toml'}", highlight=False)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="study.toml")],
    sites: Annotated[list[Path], typer.Option(help="hospital folders: --sites DIR [DIR ...]")],
    out: Annotated[
        Path | None, typer.Option(help="folder of the run [default: runs/NAME-TIME]")
    ] = None,
    engine: Annotated[str, typer.Option(help="inprocess or flower")] = "inprocess",
    reference: Annotated[
        list[str] | None, typer.Option(help="pooled, local or leave-one-out; may be repeated")
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="prepared images and features, kept between runs")
    ] = Path("runs/cache"),
    exclude_bad_patients: Annotated[
        bool, typer.Option(help="go on without patients whose data cannot be used")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="print results.json to standard output at the end")
    ] = False,
) -> None:
    """Run a study over hospital folders; --out of an interrupted run resumes it.

    Example: fedlnm-sim run study.toml --sites hospital_a hospital_b --reference pooled
    """
    from server.federation.obstacles import ObstaclesError
    from sim.run import Simulation, UnfinishedError, simulate

    _refuse_unknown(engine, reference or [])
    folder = out or Path("runs") / f"{study.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    simulation = Simulation(
        study=study,
        folders=sites,
        out=folder,
        engine="flower" if engine == "flower" else "inprocess",
        references=tuple(reference or ()),
        cache=cache,
        exclude_bad_patients=exclude_bad_patients,
    )
    target = screen if json_output else console
    unfinished: UnfinishedError | None = None
    try:
        results = simulate(simulation, target)
    except UnfinishedError as error:
        unfinished, results = error, error.results
    except ObstaclesError as error:
        if json_output:
            sys.stdout.write(json.dumps({"not_enrolled": error.as_dict()}, indent=1) + "\n")
        raise
    except KeyboardInterrupt:
        screen.print(f"interrupted; give the same command with --out {folder} to go on")
        raise typer.Exit(130) from None
    _show(results, folder, target)
    if json_output:
        sys.stdout.write((folder / "results.json").read_text(encoding="utf-8"))
    if unfinished is not None:
        raise unfinished


def _refuse_unknown(engine: str, references: Sequence[str]) -> None:
    from sim.run import REFERENCES

    if engine not in ("inprocess", "flower"):
        raise UsageError(f'unknown engine "{engine}"', remedy="use inprocess or flower")
    for name in references:
        if name not in REFERENCES:
            known = " or ".join(", ".join(REFERENCES).rsplit(", ", 1))
            raise UsageError(f'unknown reference "{name}"', remedy=f"use {known}")


def _show(results: Results, folder: Path, target: Console) -> None:
    from server.report.tables import terminal_table

    target.print(terminal_table(results))
    target.print(f"report: {folder / 'report' / 'index.html'}", highlight=False)


@app.command()
def rehearse(
    study: Annotated[
        Path | None, typer.Argument(help="study.toml [default: four small phantom hospitals]")
    ] = None,
    sites: Annotated[list[Path] | None, typer.Option(help="hospital folders, with STUDY")] = None,
    out: Annotated[
        Path | None, typer.Option(help="fresh folder [default: runs/rehearsal-TIME]")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the phantom patients")] = 20240101,
    image: Annotated[
        str, typer.Option(help="run the hospitals in this container image, by podman as root")
    ] = "",
) -> None:
    """Deploy a study for real on this machine, command by command, and compare with in process.

    SuperLink with TLS and node authentication, SuperExec, and a SuperNode per hospital behind its
    gate. Exit code 0: both results are equal. 1: they are not, or a step failed.
    """
    from sim.rehearsal import rehearse as rehearse_deployment
    from sim.rehearsal import small_phantom

    if (study is None) != (not sites):
        raise UsageError("give both STUDY and --sites, or neither", where="rehearse")
    folder = out or Path("runs") / f"rehearsal-{datetime.now():%Y%m%d-%H%M%S}"
    if study is None:
        study, sites = small_phantom(folder.with_name(f"{folder.name}-phantom"), seed)
    different = rehearse_deployment(study, sites or [], folder, console, image)
    if different:
        console.print(f"[red]the two engines differ[/red] in {', '.join(different)}")
        raise typer.Exit(1)
    console.print("both engines agree: results.json is the same, timing apart")


@app.command()
def demonstration(
    hospitals: Annotated[int, typer.Option(help="how many SuperNodes there are")] = 6,
) -> None:
    """Make the small hospitals that `flwr run .` studies without a study of its own."""
    from sim.demonstration import make_demonstration

    make_demonstration(hospitals)


@app.command()
def equality(
    small: Annotated[bool, typer.Option(help="480 features instead of 1834; seconds")] = False,
    only: Annotated[str | None, typer.Option(help="synthetic or heart [default: both]")] = None,
    heart: Annotated[
        Path | None, typer.Option(help="folder with the four hospitals of the heart data")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="print the table as JSON to standard output")
    ] = False,
) -> None:
    """Compare federated statistics with pooled ones; exit code 1 if a bound is missed."""
    from sim.equality.run import HEART, measure

    if only not in (None, "synthetic", "heart"):
        raise UsageError(f'unknown data "{only}"', remedy="use synthetic or heart")
    parts = ("synthetic", "heart") if only is None else (only,)
    target = screen if json_output else console
    outcome = measure(parts, small=small, heart=heart or HEART, console=target)
    if json_output:
        sys.stdout.write(json.dumps(outcome.record(), indent=1) + "\n")
    if outcome.missed:
        raise typer.Exit(1)


def expand_sites(arguments: list[str]) -> list[str]:
    """Rewrite `--sites a b c` as `--sites a --sites b --sites c`, which the option parser knows."""
    expanded: list[str] = []
    inside = False
    for argument in arguments:
        if argument.startswith("-"):
            inside = argument == "--sites"
            expanded.append(argument)
        elif inside and expanded[-1] != "--sites":
            expanded.extend(["--sites", argument])
        else:
            expanded.append(argument)
    return expanded


def main() -> None:
    """Run the program; exit with 0 done, 1 a finding or refusal, 2 wrong usage."""
    run_program(lambda: app(args=expand_sites(sys.argv[1:]), prog_name="fedlnm-sim"))
