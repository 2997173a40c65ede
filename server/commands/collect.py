"""Put the signed measures of several hospitals side by side, and summarise them.

Each hospital becomes a test set of a report like that of a study; the summary over hospitals is a
random-effects model with a prediction interval (`common.evaluation.random_effects`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.bundle.bundle import Bundle, Files, digest_of
from common.errors import InputError
from common.evaluation.follow_up_findings import areas_of, without_measures
from common.messages.validation import ColumnMix, ValidationReport
from common.study.follow_up import FollowUp
from common.study.model import Study
from server.phases.set_findings import EvaluationFindings, SetFindings, measured_at_one_site
from server.report.comparisons import with_roles
from server.report.rows import evaluation_rows, site_rows
from server.report.schema import Results

SET = "external_validation"


@dataclass(frozen=True)
class Received:
    """A file whose signature holds, and the fingerprint to compare by phone.

    Parameters
    ----------
    grid : of times, where the study's endpoint has one.
    """

    report: ValidationReport
    fingerprint: str
    grid: FollowUp | None = None


def receive(files: Sequence[Path], bundle_files: Files) -> list[Received]:
    """Read and check the files.

    Raises
    ------
    InputError, SignatureError : not such a file, changed since, about another bundle, other models
        or training patients than those in it, or two of one hospital.
    """
    bundle, bundle_digest = Bundle.from_files(bundle_files), digest_of(bundle_files)
    found: list[Received] = []
    grid = Study.model_validate_json(bundle.settings).follow_up
    for file in files:
        report = ValidationReport.read(file)
        one = Received(report, report.check(), grid)
        if report.bundle_digest != bundle_digest:
            raise InputError(
                "the hospital measured another bundle",
                where=str(file),
                remedy="give the run whose bundle it measured, or ask it to measure this one",
            )
        if not _is_about(report, bundle):
            raise InputError(
                "names models, cut-offs or training patients that are not those of the bundle",
                where=str(file),
                remedy="ask the hospital for a file as fedlnm-site validate writes it",
            )
        if any(report.hospital == other.report.hospital for other in found):
            raise InputError(
                f"a second file of {report.hospital}",
                where=str(file),
                remedy="give the file of each hospital once; two over nearly the same patients tell"
                " about those in whom they differ",
            )
        _findings(one)
        found.append(one)
    if not found:
        raise InputError("no files", where="collect", remedy="give at least one validation.json")
    return found


def _is_about(report: ValidationReport, bundle: Bundle) -> bool:
    """Tell whether a file says of models and training patients what the bundle says."""
    known = bundle.training.get("clinical")
    training = {}
    if known is not None:
        numbers = zip(known.mean.tolist(), known.deviation.tolist(), strict=True)
        training = dict(zip(known.columns, numbers, strict=True))
    columns = [one.column for one in report.case_mix]
    return (
        list(report.cutoffs) == list(report.models)
        and report.study_digest == bundle.study
        and all(bundle.cutoffs.get(name) == one for name, one in report.cutoffs.items())
        and len(set(columns)) == len(columns)
        and all(
            training.get(one.column) == (one.training_mean, one.training_sd)
            for one in report.case_mix
        )
    )


def tree_of(received: Sequence[Received], base: Results) -> dict[str, Any]:
    """Return the tree of results.json of the validation.

    Parameters
    ----------
    base : results of the study that made the models; its settings and versions are taken over.
    """
    reports = [one.report for one in received]
    run = {"run": "federated"}
    tables: dict[str, list[dict[str, Any]]] = {}
    for one in received:
        rows = evaluation_rows(_findings(one), one.report.min_cell, one.grid)
        for name, own in rows.items():
            tables.setdefault(name, []).extend({**run, **row} for row in own)
        tables["site_performance"] += [{**run, **row} for row in _at_later_horizons(one)]
    tables["delong"] = with_roles(tables["delong"], None)
    names = [report.hospital for report in reports]
    return {
        "schema": base.schema_number,
        "study": {
            "name": f"{base.study.name}: external validation",
            "endpoint": base.study.endpoint,
            "digest": base.study.digest,
            "seed": base.study.seed,
            "sites": [{"name": name, "trains": False} for name in names],
            "test_sets": [
                {"name": name, "split": "external_test", "sites": [name]} for name in names
            ],
        },
        "run": {"engine": "validation", "started": base.run.started, "machine": ""},
        "settings": base.model_dump(mode="json")["settings"],
        "warnings": _warnings(received),
        **tables,
        "participants": [_participant(report) for report in reports],
        "table1": case_mix_rows(reports),
        "software": dict(base.software),
    }


def _findings(one: Received) -> EvaluationFindings:
    """Return the measures of one hospital, as those of a test set that it holds alone."""
    report = one.report
    if one.grid is not None:
        return _timed(report, one.grid)
    evaluation, name = report.evaluation(), report.hospital
    if evaluation is None:
        found = SetFindings(name, report.patients or 0, report.positives or 0, None, {}, ())
        return EvaluationFindings(report.cutoffs, (found,), {}, (), {})
    found = measured_at_one_site(name, report.models, evaluation, report.min_cell)
    areas = {SET: {name: evaluation.delong}}
    return EvaluationFindings(report.cutoffs, (found,), areas, (), {})


def _timed(report: ValidationReport, grid: FollowUp) -> EvaluationFindings:
    """Return those of a time to event, with the area at the first horizon as the hospital's."""
    measured, name = report.follow_up(grid), report.hospital
    if measured is None:
        counts = report.patients or 0, report.positives or 0, len(report.models)
        found = without_measures(name, *counts, len(grid.horizons))
        return EvaluationFindings(report.cutoffs, (), {}, (), {}, follow_up=(found,))
    found, area = replace(measured, subset=name), areas_of(measured)
    areas = {SET: {name: area}} if np.isfinite(area.auc).all() else {}
    return EvaluationFindings(report.cutoffs, (), areas, (), {}, follow_up=(found,))


def _at_later_horizons(one: Received) -> Iterator[dict[str, Any]]:
    """Yield rows of the hospital's areas at the horizons after the first."""
    grid, report = one.grid, one.report
    measured = report.follow_up(grid) if grid is not None else None
    if grid is None or measured is None:
        return
    for place in range(1, len(grid.horizons)):
        area = areas_of(measured, place)
        if np.isfinite(area.auc).all():
            areas = {report.hospital: area}
            yield from site_rows(SET, areas, report.models, report.min_cell, grid, place)


def _participant(report: ValidationReport) -> dict[str, Any]:
    counts = {"n": report.patients, "positives": report.positives}
    sets = {report.hospital: counts}
    return {"site": report.hospital, "trains": False, "excluded": report.left_out, "sets": sets}


def _warnings(received: Sequence[Received]) -> list[str]:
    signed = [f"{one.report.hospital} {one.fingerprint}" for one in received]
    found = [
        "Each file is signed by the key that stands in it; compare the fingerprints by phone:"
        f" {', '.join(signed)}."
    ]
    for one in received:
        if one.report.measures is None:
            rules = ", ".join(one.report.withheld)
            found.append(f"{one.report.hospital} tells no measures: {rules} forbids it there.")
    models = {one.report.models for one in received}
    if len(models) > 1:
        found.append("The hospitals measured different models; see the table of each.")
    return found


def case_mix_rows(reports: Sequence[ValidationReport]) -> list[dict[str, Any]]:
    """Return rows of Table 1: the training patients, then every hospital."""
    columns: dict[str, ColumnMix] = {}
    for report in reports:
        for one in report.case_mix:
            columns.setdefault(one.column, one)
    return [_case_mix_row(name, one, reports) for name, one in columns.items()]


def _case_mix_row(
    name: str, known: ColumnMix, reports: Sequence[ValidationReport]
) -> dict[str, Any]:
    variable, _, level = name.partition("=")
    training: Mapping[str, Any] = {"mean": known.training_mean, "sd": known.training_sd}
    if level:
        training = {"percent": 100.0 * known.training_mean}
    sets, missing = {"train": dict(training)}, {}
    for report in reports:
        own = next((one for one in report.case_mix if one.column == name), None)
        hidden = own is None or own.mean is None
        sets[report.hospital] = {"suppressed": True} if hidden else _cell(own, report, level)
        missing[report.hospital] = None if own is None else own.missing
    return {
        "variable": variable,
        "level": level or None,
        "kind": "categorical" if level else "continuous",
        "sets": sets,
        "missing": missing,
        "test": None,
        "p": None,
    }


def _cell(own: ColumnMix | None, report: ValidationReport, level: str) -> dict[str, Any]:
    if own is None or own.mean is None:
        raise ValueError("a cell without a mean")
    known = report.patients is not None and own.missing is not None
    present = (report.patients or 0) - (own.missing or 0) if known else None
    if level:
        return {"n": round(own.mean * (present or 0)), "percent": 100.0 * own.mean}
    return {"n": present, "mean": own.mean, "sd": own.sd}
