"""Measures of a bundle's models on a hospital's own patients: exact here, joined in what leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.data.cohort import Patient
from client.data.cohort_file import read_table, row_number
from client.data.tables import clinical_table
from client.predict.predicting import Outcome
from client.predict.scoring import Prediction, as_patient
from client.predict.verify import Opened
from common.disclosure.scores import check_test_set
from common.errors import InputError
from common.evaluation.follow_up_findings import FollowUpFindings, measure_locally
from common.evaluation.local import Evaluation, evaluate_locally, evaluate_rows
from common.evaluation.suppression import suppress
from common.masking import identity
from common.messages.validation import ColumnMix, ValidationReport, to_json
from common.statistics.base import Float, Rows
from common.study.follow_up import FollowUp
from common.study.model import PrivacySettings, Study
from common.utils.text_file import number, on_one_line

SUBSET = "external"
WHEN = "the endpoint, or to when last seen"
NEEDED = 'a column "label", 1 for patients with the finding and 0 for those without'
Followed = tuple[int, int | None]
"""Label of a patient, and the period in which the follow-up ended where the endpoint has a time."""


@dataclass(frozen=True)
class Validation:
    """Measures at the hospital, and what it may send.

    Parameters
    ----------
    rows : probabilities of the models that were used, and outcomes. patients : they are about.
    exact : measures for the hospital's own eyes, of a time to event where the study has one.
    deciding : lowest and highest threshold at which one would decide, of the study.
    left_out : ids of patients who could not be used, and why.
    report : what may leave, not signed.
    """

    rows: Rows
    patients: tuple[Patient, ...]
    exact: Evaluation | FollowUpFindings
    deciding: tuple[float, float]
    left_out: Mapping[str, str]
    report: ValidationReport


def read_outcomes(file: Path, patients: Sequence[str], study: Study) -> dict[str, Followed]:
    """Return the outcome of each patient of a cohort.csv, on the study's grid of times.

    Raises
    ------
    InputError : no column label, or with times no column of these, or a patient without one.
    """
    frame, grid = read_table(file), study.follow_up
    columns = {"label": NEEDED}
    if grid is not None:
        columns[grid.column] = f'a column "{grid.column}", in {grid.unit} from the start to {WHEN}'
    for column, remedy in columns.items():
        if column not in frame.columns:
            raise InputError(f"no column {column}", where=file.name, remedy=f"add {remedy}")
    found: dict[str, Followed] = {}
    wanted = set(patients)
    texts = zip(frame["patient_id"], *(frame[column] for column in columns), strict=True)
    for position, (patient, text, *when) in zip(frame.index, texts, strict=True):
        if patient in wanted:
            where = f"{file.name} row {row_number(position)} column"
            if text not in ("0", "1"):
                remedy = "write 1 = with the finding, 0 = without"
                raise InputError(f'label "{text}"', where=f"{where} label", remedy=remedy)
            found[patient] = int(text), None
            if grid is not None:
                found[patient] = _placed(grid, when[0], text == "1", where)
    return found


def _placed(grid: FollowUp, text: str, happened: bool, where: str) -> Followed:
    """Return label and period of one patient's time."""
    time = number(text)
    if time is None or not 0.0 <= time < math.inf:
        raise InputError(
            f'time "{on_one_line(text)}"',
            where=f"{where} {grid.column}",
            remedy=f"give the {grid.unit} from the start to {WHEN}",
        )
    period, counts = grid.place(time, happened)
    return int(counts), period


def validate(
    opened: Opened,
    outcome: Outcome,
    outcomes: Mapping[str, Followed],
    models: Sequence[str],
    privacy: PrivacySettings,
    hospital: str,
) -> Validation:
    """Measure the models on the patients that all of them can be used for.

    Parameters
    ----------
    models : of the bundle, those to measure.
    privacy : thresholds of what may leave.

    Raises
    ------
    InputError : no patient is left, or all have one label.
    """
    left_out = {p.patient_id: f"{p.file}: {p.what}" for p in outcome.problems}
    kept: list[Prediction] = []
    for one in outcome.predictions:
        lacks = sorted({n for s in one.scores if s.model in models for n in s.lacks})
        if lacks:
            left_out[one.case.patient_id] = f"no {', no '.join(lacks)}"
        else:
            kept.append(one)
    rows = _rows(kept, outcomes, models)
    bundle, study = opened.bundle, opened.study
    at = [list(bundle.models).index(name) for name in models]
    if bundle.edges.shape[0] != len(bundle.models):
        raise InputError(
            "the bundle does not say how scores are joined for others to see",
            where="bundle",
            remedy="take the bundle of a run of this release",
        )
    edges = bundle.edges[at]
    cutoffs = np.array([bundle.cutoffs[name] for name in models])
    exact = _measured(rows, cutoffs, edges, 1, study)
    refusals = check_test_set(rows, SUBSET, privacy)
    told = None if refusals else _measured(rows, cutoffs, edges, privacy.min_cell, study)
    report = ValidationReport(
        hospital=hospital,
        identity_key="",
        study=study.name,
        endpoint=study.endpoint,
        study_digest=bundle.study,
        bundle_digest=opened.digest,
        models=tuple(models),
        cutoffs={name: bundle.cutoffs[name] for name in models},
        patients=None if refusals else rows.n,
        positives=None if refusals else int(rows.label.sum()),
        left_out=len(left_out),
        min_cell=privacy.min_cell,
        measures=None if told is None else to_json(told),
        withheld=tuple(sorted({one.rule for one in refusals})),
        case_mix=() if refusals else case_mix(opened, kept, privacy),
        software=outcome.software,
    )
    patients = tuple(_as_followed(one, outcomes) for one in kept)
    return Validation(rows, patients, exact, study.analysis.thresholds, left_out, report)


def _as_followed(one: Prediction, outcomes: Mapping[str, Followed]) -> Patient:
    label, period = outcomes[one.case.patient_id]
    return replace(as_patient(one.case), label=label, period=period)


def _measured(
    rows: Rows, cutoffs: Float, edges: Float, min_cell: int, study: Study
) -> Evaluation | FollowUpFindings:
    """Return the measures of rows from cells of `min_cell` patients, 1 = exact."""
    grid = study.follow_up
    if grid is not None:
        last = np.array(grid.last_periods, dtype=np.int64)
        return measure_locally(rows, SUBSET, cutoffs, edges, last, grid.periods, min_cell)
    if min_cell <= 1:
        return evaluate_rows(rows, cutoffs, edges, min_cell=1)
    return evaluate_locally(rows, cutoffs, edges, min_cell)


def signed(report: ValidationReport, private: Ed25519PrivateKey) -> ValidationReport:
    """Return the report under the hospital's key."""
    key = identity.public_text(private.public_key())
    return report.model_copy(update={"identity_key": key}).signed_by(private)


def usable_models(opened: Opened, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the models to measure, all by default.

    Raises
    ------
    InputError : one that the bundle does not hold.
    """
    known = tuple(opened.bundle.models)
    for name in wanted:
        if name not in known:
            raise InputError(
                f'no model "{name}" in the bundle',
                where="--model",
                remedy=f"known: {', '.join(known)}",
            )
    return tuple(name for name in known if name in wanted) if wanted else known


def _rows(
    kept: Sequence[Prediction], outcomes: Mapping[str, Followed], models: Sequence[str]
) -> Rows:
    values = np.array(
        [
            [next(s.probability for s in one.scores if s.model == name) for name in models]
            for one in kept
        ],
        dtype=np.float64,
    ).reshape(len(kept), len(models))
    own = [outcomes[one.case.patient_id] for one in kept]
    label = np.array([happened for happened, _ in own], dtype=np.float64)
    periods = [period for _, period in own if period is not None]
    if label.size == 0 or len(set(label.tolist())) < 2:
        raise InputError(
            "no patient can be used" if label.size == 0 else "all patients have the same label",
            where="cohort",
            remedy="a model is measured on patients with and without the finding; see the list of"
            " those left out",
        )
    period = np.array(periods, dtype=np.int64) if periods else None
    fold = np.full(label.size, -1, dtype=np.int64)
    return Rows(values, tuple(models), label, fold, period=period)


def case_mix(
    opened: Opened, kept: Sequence[Prediction], privacy: PrivacySettings
) -> tuple[ColumnMix, ...]:
    """Return mean and SD of the clinical columns beside those of the training patients.

    A number is withheld with fewer than `min_rows` values; all levels of a column where one of
    them, or those without a value, would be a small count.
    """
    training = opened.bundle.training.get("clinical")
    if training is None:
        return ()
    study = opened.study
    table = clinical_table([as_patient(one.case) for one in kept], study)
    place = {name: i for i, name in enumerate(study.clinical_columns)}
    shown = _shown(table, study, privacy)
    found = []
    for name, mean, deviation in zip(
        training.columns, training.mean.tolist(), training.deviation.tolist(), strict=True
    ):
        if name not in place:
            continue
        column = table[:, place[name]]
        values = column[np.isfinite(column)]
        told, counted = shown[name]
        found.append(
            ColumnMix(
                column=name,
                training_mean=mean,
                training_sd=deviation,
                mean=float(values.mean()) if told else None,
                sd=float(values.std(ddof=1)) if told else None,
                missing=int(column.size - values.size) if counted else None,
            )
        )
    return tuple(found)


def _shown(table: Float, study: Study, privacy: PrivacySettings) -> dict[str, tuple[bool, bool]]:
    """Return which columns may show their mean, and which the number missing, as a pair each."""
    shown: dict[str, tuple[bool, bool]] = {}
    place = {name: i for i, name in enumerate(study.clinical_columns)}
    for column in study.clinical:
        levels = column.kind in ("binary", "categorical")
        names = [f"{column.name}={one}" for one in column.levels[1:]] if levels else [column.name]
        own = table[:, [place[name] for name in names]]
        present = own[np.isfinite(own).all(axis=1)]
        missing = len(own) - len(present)
        if levels:
            each = present.sum(axis=0)
            counts = [len(present) - each.sum(), *each]
            hidden = suppress(np.array([*counts, missing], dtype=np.float64), privacy.min_cell)
            told = bool(not hidden.any() and len(present) > 1)
            shown |= dict.fromkeys(names, (told, told))
        else:
            told = len(present) >= max(privacy.min_rows, 2)
            counted = told and not 0 < missing < privacy.min_cell
            shown[column.name] = (told, counted)
    return shown
