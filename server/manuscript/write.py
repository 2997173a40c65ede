"""Folder `manuscript` of a run: checklists, flow, sample size, full model, model card, crate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from pydantic import ValidationError

from common.bundle.bundle import Bundle, read_files
from common.errors import StudyError
from common.html import pages
from common.html.pages import Block
from common.study.block import explain
from common.study.reporting import ReportingFields, title_of
from common.utils.bounded import parse_toml
from common.utils.csv_file import write_csv
from common.utils.text_file import as_word, read_written
from server.manuscript import (
    claim,
    crate,
    facts,
    flow,
    full_model,
    items,
    result_tables,
    size,
    tripod_ai,
    tripod_ai_abstract,
    word_file,
)
from server.manuscript.model_card import model_card
from server.report import words
from server.report.schema import Results

FOLDER, ANSWERS = "manuscript", "reporting.toml"


@dataclass(frozen=True)
class Manuscript:
    """Written page, Word file if it could be made, and the fields that are still empty."""

    page: Path
    document: Path | None
    missing: tuple[str, ...]


def write_manuscript(results: Results, run: Path) -> Manuscript:
    """Write everything into `manuscript/` of a run, and its RO-Crate beside results.json.

    The authors' texts are those of the study's block [reporting]; the file
    `manuscript/reporting.toml`, which is written with every empty field once and never again,
    completes them.

    Raises
    ------
    InputError : a reporting.toml that cannot be read.
    """
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    fields = _fields(results, folder / ANSWERS)
    lists = (tripod_ai, tripod_ai_abstract, *([claim] if facts.with_images(results) else []))
    answers = {one.__name__: items.answer(one.ITEMS, results, fields) for one in lists}
    missing = tuple(dict.fromkeys(n for one in answers.values() for n in items.missing_fields(one)))
    bundle = _bundle(run)
    checklists = [
        items.block(
            one.TITLE, f"Items of {one.SOURCE}; topics in our words.", answers[one.__name__]
        )
        for one in lists
    ]
    figures = [flow.block(results), size.block(results)]
    models = [] if bundle is None else full_model.blocks(bundle)
    _write_tables(folder, answers, results, bundle)
    (folder / "model-card.md").write_text(model_card(results, fields), encoding="utf-8")
    page = _write_page(results, folder, missing, (checklists, figures, models))
    shown = result_tables.result_blocks(results)
    document = _write_document(results, folder, [*shown, *figures, *checklists, *models])
    described = crate.crate(results, fields, run)
    (run / crate.NAME).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    return Manuscript(page, document, missing)


def write_beside(results: Results, run: Path) -> str:
    """Write the same beside results that stand, and return what prevented it; empty if nothing.

    Authors edit the folder, and have its files open, while a run may be resumed.
    """
    try:
        write_manuscript(results, run)
    except (StudyError, OSError) as error:
        again = f"once it is mended: fedlnm-server manuscript {as_word(run)}"
        return f"no new folder {FOLDER}, all else is written: {error}; {again}"
    return ""


def _fields(results: Results, path: Path) -> Mapping[str, str]:
    """Return the authors' texts, and leave a file to complete them in."""
    recorded = results.settings.reporting if results.settings else {}
    known = {name: str(text) for name, text in recorded.items() if text}
    if path.exists():
        try:
            own = ReportingFields.model_validate(parse_toml(read_written(path), where=str(path)))
        except ValidationError as error:
            raise explain(error, where=str(path), model=ReportingFields) from None
        return {**known, **own.filled()}
    lines = [
        "# What a journal asks and no run can know: fill in, then run",
        "# fedlnm-server manuscript FOLDER_OF_THE_RUN",
    ]
    for name in ReportingFields.model_fields:
        lines += ["", f"# {title_of(name)}", tomli_w.dumps({name: known.get(name, "")}).strip()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return known


def _bundle(run: Path) -> Bundle | None:
    folder = run / "bundle"
    return Bundle.from_files(read_files(folder)) if (folder / "bundle.json").exists() else None


def _write_tables(
    folder: Path,
    answers: Mapping[str, list[items.Answer]],
    results: Results,
    bundle: Bundle | None,
) -> None:
    for name, found in answers.items():
        write_csv(folder / f"{name.rsplit('.', 1)[-1]}.csv", items.rows(found))
    write_csv(folder / "flow.csv", flow.rows(results))
    write_csv(folder / "sample_size.csv", size.rows(results))
    if bundle is not None:
        printed = full_model.printed(bundle)
        for model in bundle.models:
            own = [one for one in printed if one.model == model]
            write_csv(folder / f"model-{model}.csv", full_model.rows(own))


def _write_page(
    results: Results,
    folder: Path,
    missing: tuple[str, ...],
    tables: tuple[list[Block], list[Block], list[Block]],
) -> Path:
    checklists, figures, models = tables
    page = folder / "index.html"
    text = pages.render(
        "server.manuscript",
        "manuscript.html",
        results=results,
        missing=[(name, title_of(name)) for name in missing],
        answers_file=ANSWERS,
        checklists=checklists,
        figures=figures,
        models=models,
        started=words.moment(results.run.started),
    )
    page.write_text(text, encoding="utf-8")
    return page


def _write_document(results: Results, folder: Path, blocks: list[Block]) -> Path | None:
    if not word_file.can_write():
        return None
    path = folder / "manuscript.docx"
    title = f"{results.study.name}: tables for the manuscript"
    word_file.write_document(path, title, "For research use only.", blocks)
    return path
