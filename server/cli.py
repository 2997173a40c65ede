"""fedlnm-server: what the coordinator runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from common.errors import UsageError
from common.messages.feasibility import FeasibilityReport
from common.study.model import load_study
from common.utils.command_line import program
from common.utils.console import consoles
from common.utils.durable import write_durably
from common.utils.processes import run_program
from server.deployment import backup, commands

app = program("Coordinate a study and report it.")
for command in (
    commands.init,
    commands.enrol,
    commands.prepare,
    commands.confirm,
    commands.run,
    commands.resume,
    commands.status,
    commands.renew,
    commands.notify,
    backup.backup,
    backup.restore,
):
    app.command()(command)
console, screen = consoles()


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="folder of a run; of two with --compare")],
    compare: Annotated[
        bool, typer.Option("--compare", help="set the second run beside the first")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="with --compare: folder [default: compare-RUN1 in that of RUN2]"),
    ] = None,
) -> None:
    """Write tables, figures and the page again; or compare two runs.

    From a run's results.json. With --compare the second run is set beside
    the first, on screen and as a page in --out (else RUN2/compare-RUN1):
    AUCs with their difference, settings and software that differ, features
    that both chose, time and bytes.

    fedlnm-server report --compare RUN1 RUN2

    Exit code 0, whatever differs. 1: a folder is not that of a finished run.
    """
    if len(runs) != (2 if compare else 1):
        wanted = "two folders" if compare else "one folder (two with --compare)"
        raise UsageError(f"give {wanted}, not {len(runs)}", where="report")
    if compare:
        _compare(runs[0], runs[1], out)
        return
    if out is not None:
        raise UsageError("--out goes with --compare", where="report")
    _report(runs[0])


def _report(run: Path) -> None:
    from server.manuscript.write import write_manuscript
    from server.report.results import read
    from server.report.study_report import write_outputs
    from server.report.tables import terminal_table

    results = read(run / "results.json")
    write_outputs(results.model_dump(mode="json"), run)
    console.print(terminal_table(results))
    console.print(f"report: {run / 'report' / 'index.html'}", highlight=False)
    write_manuscript(results, run)


def _compare(one: Path, two: Path, out: Path | None) -> None:
    from server.compare.comparison import auc_table, lines, warnings, write_comparison
    from server.compare.run import read_run

    first, second = read_run(one), read_run(two)
    page = write_comparison(first, second, out or two / f"compare-{first.name}")
    for warning in warnings(first, second):
        screen.emit(warning)
    console.print(auc_table(first, second))
    for line in lines(first, second):
        console.emit(line)
    console.emit(f"comparison: {page}")


@app.command()
def manuscript(
    run: Annotated[Path, typer.Argument(help="folder of a finished run")],
) -> None:
    """Write what a journal asks: checklists, flow, sample size, full models.

    Into RUN/manuscript, as a page, a Word file and CSV: TRIPOD+AI and CLAIM
    with every item answered or named as missing, the flow of patients (STARD),
    sample size and precision, every number of the final models, a model card;
    and RUN/ro-crate-metadata.json. Answers that no run can know stand in
    RUN/manuscript/reporting.toml: fill them in, and repeat the command.
    """
    from server.manuscript.write import ANSWERS, write_manuscript
    from server.report.results import read

    found = write_manuscript(read(run / "results.json"), run)
    if found.missing:
        console.emit(
            f"{len(found.missing)} answers are still to be written, in"
            f" {found.page.parent / ANSWERS}: {', '.join(found.missing)}"
        )
    if found.document is None:
        screen.emit('no Word file: pip install "fedlnm[manuscript]" brings what writes it')
    console.emit(f"manuscript: {found.page}")


@app.command()
def monai(
    run: Annotated[Path, typer.Argument(help="folder of a finished run")],
) -> None:
    """Write the networks of a run as MONAI bundles, into RUN/monai.

    One folder for each network, with TorchScript weights, metadata and a
    README: monai.bundle.load reads it on a machine without this project, and
    it gives the same features and logits.
    """
    from common.bundle.bundle import Bundle, blamed_on_bundle, read_files
    from common.bundle.monai_bundle import write_monai_bundles

    bundle = Bundle.from_files(read_files(run / "bundle"))
    study = bundle.recorded_study()
    with blamed_on_bundle(checked=True):
        written = write_monai_bundles(bundle, study, run / "monai")
    for folder in written:
        console.emit(f"MONAI bundle: {folder}")
    if not written:
        console.emit("the study trained no network")


@app.command()
def collect(
    run: Annotated[Path, typer.Argument(help="folder of the run that made the models")],
    files: Annotated[list[Path], typer.Argument(help="validation.json of each hospital")],
    out: Annotated[
        Path | None, typer.Option(help="folder to write [default: RUN/validation]")
    ] = None,
) -> None:
    """Make one report of the files that hospitals outside the study sent.

    Each was written by fedlnm-site validate and is signed; compare the
    fingerprints by phone. The report has every measure of each hospital, a
    random-effects summary with the prediction interval of another hospital,
    and the case mix beside the training patients.

    fedlnm-server collect runs/mine qilu.json tianjin.json xian.json

    Exit code 0: the report is written. 1: a file is not as it was signed, or is
    about other models.
    """
    from common.bundle.bundle import read_files
    from server.commands.collect import receive, tree_of
    from server.report.results import read
    from server.report.study_report import write_outputs
    from server.report.tables import terminal_table

    folder = out or run / "validation"
    received = receive(files, read_files(run / "bundle"))
    folder.mkdir(parents=True, exist_ok=True)
    results = write_outputs(tree_of(received, read(run / "results.json")), folder)
    for one in received:
        console.emit(f"{one.report.hospital}: signed by {one.fingerprint}")
    console.print(terminal_table(results))
    console.print(f"report: {folder / 'report' / 'index.html'}", highlight=False)


@app.command()
def feasibility(
    study: Annotated[Path, typer.Argument(help="study.toml")],
    files: Annotated[list[Path], typer.Argument(help="files of fedlnm-site check --share")],
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
    page: Annotated[Path | None, typer.Option(help="write it as a page, too (.html)")] = None,
) -> None:
    """Say before a study whether it would run, from the hospitals' checks.

    Which rules would refuse, who could train, which test sets would be reported,
    the precision of their AUCs, rounds, bytes and hours. Hospitals write the
    files by fedlnm-site check --share, and read them before they send them.

    Exit code 0: nothing stops the study. 1: something does.
    """
    from server.feasibility.assess import assess, lines
    from server.feasibility.page import outlook_page

    asked = load_study(study)
    found = assess(asked, [FeasibilityReport.read(file) for file in files])
    if page is not None:
        write_durably(page, outlook_page(asked, found, len(files)).encode())
        screen.emit(f"page: {page}")
    if json_output:
        tree = {**dataclasses.asdict(found), "feasible": found.feasible}
        sys.stdout.write(json.dumps(tree, indent=1) + "\n")
    else:
        for line in lines(found):
            console.emit(line)
    raise typer.Exit(0 if found.feasible else 1)


@app.command()
def audit(
    run: Annotated[
        Path, typer.Argument(help="folder with the two files of each ledger in sites/NAME")
    ],
    study: Annotated[
        Path | None, typer.Option(help="study.toml with the sites' public keys")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Compare the ledgers of all sites.

    Exit code 0: each is intact and they agree. 1: something does not fit; every finding is listed.
    """
    from server.commands.audit import audit_run

    found = audit_run(run, load_study(study) if study else None)
    if json_output:
        sys.stdout.write(json.dumps(found.as_dict(), indent=1) + "\n")
    else:
        for line in found.notes:
            screen.emit(line)
        for line in found.findings:
            console.emit(line)
        console.emit(found.summary)
    raise typer.Exit(1 if found.findings else 0)


@app.command()
def dossier(
    study: Annotated[
        Path | None, typer.Argument(help="study.toml, or folder of a run [default: all studies]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="file to write [default: the screen]")] = None,
) -> None:
    """Say what can leave a hospital, for those who have to approve it.

    With a study: its real sizes, and what is not protected in it; with a finished run also what was
    sent.
    """
    from common.dossier import general_dossier
    from server.commands.dossier import dossier_of

    text = general_dossier() if study is None else dossier_of(study)
    if out is None:
        sys.stdout.write(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    console.emit(f"dossier: {out}")


def main() -> None:
    """Entry point: 0 done, 1 a finding or refusal, 2 wrong usage."""
    run_program(lambda: app(prog_name="fedlnm-server"))
