"""The audit of what really left in a run: rows of results.json, and its section of the page."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from common.disclosure.membership import audited_models
from common.evaluation.canaries import DECODERS, CanaryFigures
from common.html.pages import Block, Cell, Line
from common.study.model import Study
from server.phases.set_findings import EvaluationFindings
from server.report import words
from server.report.privacy_records import CanarySearch
from server.report.reading import main_run
from server.report.schema import Results

FIGURES = tuple(field.name for field in fields(CanaryFigures))


def membership_rows(found: EvaluationFindings, study: Study, label: str) -> list[dict[str, Any]]:
    """Return a row a site and model of the attack on membership."""
    return [
        {
            **{"run": label, "site": site, "model": model},
            **{"members": audit.members, "others": audit.others},
            **dict(zip(("auc", "auc_low", "auc_high"), audit.auc[i].tolist(), strict=True)),
            **dict(zip(("tpr", "tpr_low", "tpr_high"), audit.tpr[i].tolist(), strict=True)),
        }
        for site, audit in found.membership.items()
        for i, model in enumerate(audited_models(study, found.cutoffs))
    ]


def release_rows(found: EvaluationFindings, label: str) -> list[dict[str, Any]]:
    """Return a row a site of what the sets of patients asked about tell."""
    return [{"run": label, "site": site, **vars(own)} for site, own in found.releases.items()]


def canary_rows(found: EvaluationFindings, label: str) -> list[dict[str, Any]]:
    """Return a row a site and decoder; figures of None where a site measured nothing."""
    return [
        {
            **{"run": label, "site": site, "decoder": decoder},
            **(dict.fromkeys(FIGURES) if own is None else vars(getattr(own, decoder))),
        }
        for site, own in found.canaries.items()
        for decoder in DECODERS
    ]


def linkage_words(results: Results) -> str:
    """Say how many patients have exactly one pooled row that fits; empty where no rows left."""
    own = [row for row in results.linkage if row.run == main_run(results)]
    return "".join(
        "Out-of-fold rows were pooled without the hospital. Of"
        f" {row.patients} patients {row.unique} have exactly one row that fits what the clinical"
        " model says about them: who knows their clinical values could read outcome and other"
        " probabilities there."
        for row in own
    )


def membership_block(results: Results) -> Block | None:
    """Return the success of the attack on every model at every hospital of the main run."""
    lines = [
        Line(
            row.site,
            (
                Cell(words.model_label(row.model)),
                Cell(f"{row.members}, {row.others}"),
                _share(row.auc, row.auc_low, row.auc_high),
                _share(row.tpr, row.tpr_low, row.tpr_high),
            ),
        )
        for row in results.membership
        if row.run == main_run(results)
    ]
    if not lines:
        return None
    titles = ("Hospital", "Model", "Training, test patients", "AUC", "True positive rate")
    return Block("", "", titles, tuple(lines))


def releases_block(results: Results) -> Block | None:
    """Return what the sets asked about tell of single patients of every hospital."""
    lines = tuple(
        Line(
            row.site,
            (
                Cell(str(row.smallest)),
                Cell(str(row.determined), strong=row.determined > 0),
                Cell("no bound" if row.epsilon is None else words.number(row.epsilon, 2)),
                Cell(words.MISSING if row.stand_ins is None else str(row.stand_ins)),
            ),
        )
        for row in results.releases
        if row.run == main_run(results)
    )
    titles = (
        *("Hospital", "Fewest patients in a set", "Patients determined", "Epsilon, all runs"),
        "Solutions taken over",
    )
    return Block("", "", titles, lines) if lines else None


def canaries_block(results: Results) -> Block | None:
    """Return what decoders find of planted patients in the totals of every hospital."""
    lines = tuple(
        Line(row.site, (Cell(words.DECODERS[row.decoder]), *_canary_cells(row)))
        for row in results.canaries
        if row.run == main_run(results)
    )
    titles = (
        *("Hospital", "Search", "Totals searched", "Planted patients found", "By chance"),
        "Own patients found",
    )
    return Block("", "", titles, lines) if lines else None


def _canary_cells(row: CanarySearch) -> tuple[Cell, ...]:
    if row.searched is None:
        return (Cell("not measured"), *[Cell(words.MISSING)] * 3)
    if row.searched == 0:
        return (Cell("none to search"), *[Cell(words.MISSING)] * 3)
    own = "0" if not row.patients_found else f"at most {row.patients_found}"
    more = (row.found or 0) > (row.chance or 0)
    return (
        Cell(str(row.searched)),
        Cell(f"{row.found} of {row.planted}", strong=more),
        Cell(f"{row.chance} of {row.planted}"),
        Cell(f"{own} of {row.patients}", strong=bool(row.patients_found)),
    )


def _share(value: float | None, low: float | None, high: float | None) -> Cell:
    ends = f"{words.number(low, 2)}\N{EN DASH}{words.number(high, 2)}"
    return Cell(words.number(value, 2), ends, order=value)
