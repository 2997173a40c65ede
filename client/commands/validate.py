"""`fedlnm-site validate`: a study's models on the patients of a hospital outside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.commands.predict import Cache, Key, Site, Workers
from client.site import identity_of, load_site
from common.disclosure.rule import stricter
from common.errors import InputError
from common.masking import identity
from common.study.model import PrivacySettings, Study
from common.utils.console import ProgressBar, consoles
from common.utils.durable import make_folder, write_durably

if TYPE_CHECKING:
    from client.validation.measure import Validation
    from common.messages.validation import ValidationReport

console, screen = consoles()
KEY_FILE = "validation-key.pem"
MEMORY = "earlier"
NotSent = Annotated[bool, typer.Option(help="no earlier file of this hospital was sent")]


def validate(
    bundle: Annotated[Path, typer.Argument(help="folder bundle of the coordinator's run")],
    cohort: Annotated[
        Path, typer.Option(help="cohort.csv with patient_id, outcome and the inputs")
    ],
    out: Annotated[Path, typer.Option(help="folder for the page and the file to send")],
    hospital: Annotated[str, typer.Option(help="name of this hospital in the file")] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="a model to measure; again for more [default: all]")
    ] = None,
    coordinator_key: Key = None,
    site: Site = None,
    exclude_bad_patients: Annotated[
        bool, typer.Option(help="go on without patients whose data cannot be used")
    ] = False,
    not_sent: NotSent = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1")] = "auto",
    workers: Workers = 1,
    cache: Cache = None,
) -> None:
    """Evaluate a study's final models on this hospital's own patients.

    The hospital need not be in the study. BUNDLE is used only if the
    coordinator signed it: give --coordinator-key or --site. OUT gets a page
    for this hospital (exact measures) and validation.json, a signed file that
    it may send: measures from cells of several patients. Nothing is sent.

    \b
    fedlnm-site validate bundle --cohort cohort.csv --hospital qilu \\
        --coordinator-key invitation.json --out validation

    With --site the file is signed by that site's key, otherwise by a new one in OUT. Exit code 0:
    done. 1: a bundle was refused, or patients cannot be used (without --exclude-bad-patients).
    """
    from client.predict import verify
    from client.predict.inputs import read_cases
    from client.predict.predicting import Machine, check_device
    from client.predict.predicting import predict as predict_all
    from client.validation import measure
    from client.validation.page import FILE, write_page

    check_device(device)
    key = verify.coordinator_key(coordinator_key, site, unverified=False)
    opened = verify.open_bundle(bundle, key)
    models = measure.usable_models(opened, model or [])
    cases, problems, warnings = read_cases(cohort, opened.study)
    outcomes = measure.read_outcomes(cohort, [one.patient_id for one in cases], opened.study)
    machine = Machine(device, workers, cache)
    with ProgressBar(screen) as bar:
        outcome, _ = predict_all(opened, cases, machine, problems, warnings, bar)
    for text in outcome.warnings:
        screen.emit(text)
    privacy, name, private = _own(opened.study, site, hospital, out)
    found = measure.validate(opened, outcome, outcomes, models, privacy, name)
    _show_left_out(found.left_out, cohort, go_on=exclude_bad_patients)
    _remember(found, _memory(site, out), opened.study, not_sent=not_sent)
    report = measure.signed(found.report, private)
    page = write_page(found, report, out, opened.study.follow_up)
    write_durably(out / FILE, report.to_bytes())
    _show_done(report, found.rows.n, page, out / FILE)


def _show_done(report: ValidationReport, patients: int, page: Path, file: Path) -> None:
    """Say what is withheld, and where page and file are."""
    for line in _said(report.withheld, patients):
        console.emit(line)
    console.emit(f"page, for this hospital alone: {page}")
    console.emit(f"file that may be sent: {file}; fingerprint {report.check()}")


def _show_left_out(left_out: Mapping[str, str], cohort: Path, *, go_on: bool) -> None:
    """Name the patients who cannot be used, and refuse to go on unless the hospital says so."""
    for patient, why in left_out.items():
        screen.emit(f"left out {patient}: {why}")
    if left_out and not go_on:
        raise InputError(
            f"{len(left_out)} patients cannot be used",
            where=cohort.name,
            remedy="correct them, leave models out with --model, or go on without these patients by"
            " --exclude-bad-patients",
        )


def _own(
    study: Study, site: Path | None, hospital: str, out: Path
) -> tuple[PrivacySettings, str, Ed25519PrivateKey]:
    """Return thresholds, name and key of the site, or the study's thresholds and a new key."""
    if site is not None:
        settings = load_site(site / "site.toml" if site.is_dir() else site)
        own = stricter(study.privacy, settings.privacy)
        return own, hospital or settings.name, identity_of(settings)
    if not hospital:
        raise InputError("no name", where="--hospital", remedy="say how the hospital is called")
    make_folder(out)
    path = out / KEY_FILE
    if path.exists():
        return study.privacy, hospital, identity.load(path).private
    private = identity.generate()
    identity.save(private, path)
    return study.privacy, hospital, private


def _memory(site: Path | None, out: Path) -> Path:
    """Return the folder that remembers whom earlier files were about."""
    if site is None:
        return out / MEMORY
    return load_site(site / "site.toml" if site.is_dir() else site).work


def _remember(found: Validation, memory: Path, study: Study, *, not_sent: bool) -> None:
    """Refuse to say nearly the same of nearly the same patients again."""
    if found.report.measures is None:
        return
    from client.store.validations import Validations

    known = Validations(memory, study)
    known.check(found.patients, not_sent=not_sent)
    known.keep(found.patients)


def _said(withheld: tuple[str, ...], patients: int) -> list[str]:
    if not withheld:
        return [f"{patients} patients measured"]
    return [
        f"{patients} patients measured; the file has no measures, as {', '.join(withheld)} forbids"
        " to tell them of so few"
    ]
