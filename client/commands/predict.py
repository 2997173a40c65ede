"""`fedlnm-site predict`: what the final models say about a patient."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from common.errors import UsageError
from common.utils.console import ProgressBar, consoles

if TYPE_CHECKING:
    from client.imaging.preparation import PatientProblem
    from client.predict.inputs import Case
    from client.predict.predicting import Outcome
    from client.store.batches import KeptBatches
    from common.study.model import Study

console, screen = consoles()


Image = Annotated[
    Path | None, typer.Option(help="CT: .nii, .nii.gz, .nrrd, .mha, or a DICOM series")
]
Mask = Annotated[
    Path | None, typer.Option(help="contour of the tumour on that CT; rtstruct.dcm#GTV names one")
]
Confirmed = Annotated[
    str, typer.Option(help="frame_of_reference: you have looked, and the contour lies right")
]
Clinical = Annotated[
    list[str] | None, typer.Option(help="NAME=VALUE,NAME=VALUE; what is left out is missing")
]
Scanner = Annotated[
    str, typer.Option(help="the hospital's name of the scanner, where the study harmonises these")
]
BatchesFile = Annotated[
    Path | None,
    typer.Option(help="batches.safetensors of this hospital's run [default: found by --site]"),
]
Cohort = Annotated[
    Path | None, typer.Option(help="cohort.csv with many patients, in place of the three")
]
Out = Annotated[Path | None, typer.Option(help="folder for report (HTML, PDF), JSON and CSV")]
Key = Annotated[
    str | None, typer.Option(help="who must have signed: the key, or an invitation.json")
]
Site = Annotated[
    Path | None, typer.Option(help="site.toml, whose coordinator_key must have signed")
]
Unverified = Annotated[
    bool, typer.Option("--unverified", help="use a bundle that nobody checked; said everywhere")
]
Workers = Annotated[int, typer.Option(min=1, help="processes that prepare a cohort")]
Cache = Annotated[
    Path | None, typer.Option(help="keep prepared crops and features there; left out: nowhere")
]
SaliencySteps = Annotated[
    int,
    typer.Option(min=0, help="of the 3D network's map, a pass forth and back each; 0 = no map"),
]
PatientName = Annotated[str, typer.Option(help="what the report calls the patient")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1")]
Pdf = Annotated[
    bool | None,
    typer.Option(help="print each page too, by chromium [default: yes, but not of a cohort]"),
]
Dicom = Annotated[
    bool, typer.Option("--dicom", help="write a DICOM SR and a SEG, where --image is a series")
]
Json = Annotated[bool, typer.Option("--json", help="machine-readable")]


class _Single(NamedTuple):
    """Patient of the command line."""

    name: str
    image: Path | None
    mask: Path | None
    clinical: list[str]
    confirmed: str
    scanner: str


def predict(
    bundle: Annotated[Path, typer.Argument(help="folder bundle of the coordinator's run")],
    image: Image = None,
    mask: Mask = None,
    confirmed: Confirmed = "",
    clinical: Clinical = None,
    scanner: Scanner = "",
    cohort: Cohort = None,
    patient: PatientName = "patient",
    out: Out = None,
    coordinator_key: Key = None,
    site: Site = None,
    batches: BatchesFile = None,
    unverified: Unverified = False,
    device: Device = "auto",
    workers: Workers = 1,
    cache: Cache = None,
    saliency_steps: SaliencySteps = 16,
    pdf: Pdf = None,
    dicom: Dicom = False,
    json_output: Json = False,
) -> None:
    """Predict one patient, or a cohort, by the final models. RESEARCH USE ONLY.

    BUNDLE is the folder bundle of the coordinator's run. It is used only if the coordinator signed
    it: give --coordinator-key or --site.

    Gives the probability of every model, its frozen cut-off, the risk group, and which inputs are
    outside what the training patients had. Everything stays on this machine.

    \b
    fedlnm-site predict bundle --site site.toml --image ct.nii.gz --mask tumour.nii.gz \\
        --clinical age=63,sex=male,t_stage=T3 --out report

    Without clinical data, or without an image, the models that can be used are, and the others are
    named. Values outside the training range are predicted with a warning.

    Exit code 0: all patients predicted. 1: a bundle, image or contour was refused. 2: wrong usage,
    such as a clinical column that the study does not know.
    """
    from client.predict import report, verify
    from client.predict.predicting import Machine
    from client.predict.predicting import predict as predict_all

    single = _Single(patient, image, mask, clinical or [], confirmed, scanner)
    _check_usage(single, cohort, out, device, dicom=dicom)
    key = verify.coordinator_key(coordinator_key, site, unverified=unverified)
    with verify.blamed_unless_checked(key):
        opened = verify.open_bundle(bundle, key)
        cases, problems, warnings = _read(opened.study, cohort, single)
        kept = _kept(batches, site, opened.digest)
        with ProgressBar(screen) as progress:
            outcome, predictor = predict_all(
                opened, cases, Machine(device, workers, cache), problems, warnings, progress, kept
            )
        _print(outcome, as_json=json_output)
        if out is not None and outcome.predictions:
            wish = report.Wish(saliency_steps, cohort is None if pdf is None else pdf, dicom)
            report.write(outcome, predictor, out, wish, screen.emit)
    raise typer.Exit(1 if outcome.problems else 0)


def _check_usage(
    single: _Single, cohort: Path | None, out: Path | None, device: str, *, dicom: bool
) -> None:
    """Return if these options go together, and the device and the folder can be used."""
    from client.predict.predicting import check_device
    from client.predict.report import check_folder

    if cohort is not None and any(single[1:]):
        raise UsageError("--cohort with data of a single patient", where="predict")
    if dicom and out is None:
        raise UsageError("--dicom without --out", where="predict", remedy="name a folder")
    check_device(device)
    if out is not None:
        check_folder(out)


def _read(
    study: Study, cohort: Path | None, single: _Single
) -> tuple[list[Case], list[PatientProblem], list[str]]:
    """Return the patients of the cohort, or the one of the command line; refusals and warnings."""
    from client.data.cohort_file import confirmed_words
    from client.predict.inputs import case_of, read_cases

    if cohort is not None:
        return read_cases(cohort, study)
    name, image, mask, clinical, confirmed, scanner = single
    words = confirmed_words(confirmed, "--confirmed")
    return [case_of(study, name, image, mask, clinical, words, scanner)], [], []


def _kept(batches: Path | None, site: Path | None, bundle: str) -> KeptBatches | None:
    """Return what the hospital kept of its own batches: of the file, or of its work folder."""
    from client.site import load_site
    from client.store.batches import find_batches, read_batches

    if batches is not None:
        return read_batches(batches, bundle)
    if site is None:
        return None
    return find_batches(load_site(site / "site.toml" if site.is_dir() else site).work, bundle)


def _print(outcome: Outcome, *, as_json: bool) -> None:
    from client.predict.report import show

    if not as_json:
        show(outcome, console)
        return
    sys.stdout.write(json.dumps(outcome.as_dict(), indent=1, allow_nan=False) + "\n")
    for problem in outcome.problems:
        screen.emit(f"refused {problem}")
