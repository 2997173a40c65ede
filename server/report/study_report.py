"""Files of a finished run: results.json, tables, figures, the page, transfers.csv.

The page is self-contained: no request to anywhere, one script of its own, and it prints well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.html import pages
from common.html.drawing import Drawing
from common.html.pages import Block, Cell, Line
from common.models import MODELS
from common.utils.csv_file import write_csv
from server.report import (
    appendix,
    calibration,
    comparisons,
    patients,
    performance,
    privacy_audit,
    stability,
    subgroups,
    words,
)
from server.report.choices import DIFFERS, GROUPS, Choice, Group, Origin, Values, paper_defaults
from server.report.digests import digests
from server.report.figures import draw_figures, write_figures
from server.report.follow_up import follow_up_block, headline
from server.report.leave_one_out import leave_one_out_blocks
from server.report.measures import measure_blocks, precision_blocks
from server.report.reading import (
    MatrixRow,
    deciding,
    headline_model,
    local_runs,
    main_run,
    models,
    performance_matrix,
    primary,
    runs,
    set_label,
    test_sets,
)
from server.report.results import parse, write
from server.report.schema import RecordedColumn, RecordedSettings, Results
from server.report.tables import write_tables

KINDS = {
    "continuous": "a number",
    "ordinal": "an order, as 0, 1, 2, ...: {levels}",
    "binary": "{levels}; the first is the reference",
    "categorical": "{levels}; the first is the reference",
}
COLUMNS = ("Choice", "In this study", "The paper")


def settings_blocks(results: Results) -> list[Block]:
    """Return a table a group of choices that count in this study, if it has settings."""
    settings = results.settings
    if settings is None:
        return []
    blocks = [*_groups(settings)]
    columns = _clinical(settings)
    return [blocks[0], columns, *blocks[1:]] if columns else blocks


def settings_sentence(results: Results) -> str:
    """Count the choices that are the paper's, left open, added, or differ from it."""
    if results.settings is None:
        return ""
    found = Counter(_kind(verdict) for verdict in _verdicts(results.settings))
    return (
        f"{found.total()} choices: {found[Origin.PAPER]} the paper's, {found[Origin.OPEN]} left"
        f" open by it, {found[Origin.ADDED]} not in it, most of them as its patients were in one"
        f" place, and {found[DIFFERS]} different from it, in bold."
    )


def remarks(results: Results) -> tuple[str, ...]:
    """Return the remarks on what differs from the paper, or completes it, and is no setting."""
    return results.settings.remarks if results.settings else ()


def radiomics_file(results: Results) -> str:
    """Return the extraction settings, as they stand in their file."""
    return results.settings.radiomics_file.strip() if results.settings else ""


def block_of(settings: RecordedSettings, group: Group) -> Values:
    """Return the recorded settings that the choices of a group are about."""
    values: Values = getattr(settings, group.block) if group.block else settings.__dict__
    return values


def choices_of(settings: RecordedSettings, group: Group) -> Iterator[Choice]:
    """Return the choices of a group that have an effect in a study."""
    if group.counts(settings):
        block = block_of(settings, group)
        yield from (one for one in group.choices if one.known(block) and one.counts(settings))


def _groups(settings: RecordedSettings) -> Iterator[Block]:
    for group in GROUPS:
        lines = tuple(_line(settings, group, choice) for choice in choices_of(settings, group))
        if lines:
            yield Block(group.title, "", COLUMNS, lines, sortable=False)


def _line(settings: RecordedSettings, group: Group, choice: Choice) -> Line:
    block, default = block_of(settings, group), block_of(paper_defaults(), group)
    verdict = choice.verdict(block, default)
    return Line(
        choice.words,
        (
            Cell(choice.in_words(block)),
            Cell(verdict, choice.remark, strong=verdict.startswith(DIFFERS)),
        ),
    )


def _verdicts(settings: RecordedSettings) -> Iterator[str]:
    for group in GROUPS:
        block, default = block_of(settings, group), block_of(paper_defaults(), group)
        for choice in choices_of(settings, group):
            yield choice.verdict(block, default)


def _kind(verdict: str) -> str:
    kinds = (*map(str, Origin), DIFFERS)
    return next(kind for kind in kinds if verdict.startswith(kind))


def _clinical(settings: RecordedSettings) -> Block | None:
    if not settings.clinical:
        return None
    lines = tuple(
        Line(words.humanise(one.name), (Cell(_declared(one)), Cell(_missing(one))))
        for one in settings.clinical
    )
    return Block("Clinical columns", "", ("Column", "What it is", "Missing"), lines, sortable=False)


def _declared(column: RecordedColumn) -> str:
    text = KINDS.get(column.kind, column.kind).format(levels=", ".join(column.levels))
    if column.kind == "continuous":
        text += f" ({column.unit})" if column.unit else ""
        text += ", in Table 1 by median and quartiles" if column.summary == "median" else ""
        if column.decimals is not None:
            text += f", recorded to {words.count_word(column.decimals, 'decimal')}"
    return text


def _missing(column: RecordedColumn) -> str:
    """Return the texts that stand for a missing value, besides the empty cell."""
    return ", ".join(["empty", *column.missing])


ENGINES = {
    "inprocess": "All sites were simulated on one machine, in one process.",
    "flower": "All sites were simulated on one machine by Flower's simulation engine.",
    "deployment": "Every site ran its own node and was reached over the network.",
    "validation": "Each hospital measured them itself and sent a signed file.",
}


@dataclass(frozen=True)
class Card:
    """The headline model on one set."""

    title: str
    patients: str
    auc: str
    interval: str
    lines: tuple[tuple[str, str], ...]


def paragraphs(results: Results) -> list[str]:
    """Return two or three paragraphs for a reader who reads nothing else."""
    primary_result = comparisons.primary_sentence(results)
    found = (_what_was_done(results), primary_result, _what_was_found(results))
    return [text for text in found if text]


def _what_was_done(results: Results) -> str:
    study = results.study
    training = sum(site.trains for site in study.sites)
    if not training:
        return _what_was_validated(results)
    sites = words.count_word(len(study.sites), "hospital").capitalize()
    trained = f"{words.count_in_words(training)} of them trained"
    if training == len(study.sites):
        trained = "all of them trained"
    built = words.count_word(len(models(results)), "model")
    text = (
        f"{sites} took part in the study “{study.name}”; {trained} {built} that predict "
        f"{study.endpoint}. Images and patient records stayed where they are: only the messages "
        "counted below were exchanged."
    )
    engine = ENGINES.get(results.run.engine, f"Engine: {results.run.engine}.")
    synthetic = (
        " The patients are synthetic, so the best AUC that any model could reach is known and"
        " shown as the ceiling."
        if results.ceiling
        else ""
    )
    return f"{text} {engine}{synthetic}"


def _what_was_validated(results: Results) -> str:
    """Describe hospitals that measured the models of a study in which they took no part."""
    sites = words.count_word(len(results.study.sites), "hospital").capitalize()
    built = words.count_word(len(models(results)), "model")
    return (
        f"{sites} outside the study evaluated its {built} for {results.study.endpoint} on their"
        f" own patients. {ENGINES.get(results.run.engine, '')}"
    ).strip()


def _what_was_found(results: Results) -> str:
    model = headline_model(results)
    if model is None:
        return "No model was evaluated in this run."
    rows = _headline_rows(results, model)
    where = "on the test sets" if test_sets(results) else "on the training set (out-of-fold)"
    label = words.lowered(MODELS[model].label)
    text = f"The {label} model stands for the study in the figures that follow, {where}."
    pooled = _mean_difference([(r.federated, r.pooled) for r in rows])
    alone = [
        r.federated.auc - r.local.mean
        for r in rows
        if r.federated is not None and r.federated.auc is not None and r.local is not None
    ]
    if pooled is not None:
        text += f" Its federated AUC was on average {_distance(pooled)} training on pooled data"
        text += (
            f" and {_distance(sum(alone) / len(alone))} hospitals that trained alone."
            if alone
            else "."
        )
    elif alone:
        text += f" Its federated AUC was on average {_distance(sum(alone) / len(alone))}"
        text += " hospitals that trained alone."
    return f"{text} {references_sentence(results)}".strip()


def references_sentence(results: Results) -> str:
    """Name the references that were not run; empty when both were."""
    absent: list[str] = []
    if results.run.engine == "validation":
        return ""
    if "pooled" not in runs(results):
        absent.append("training on pooled data")
    if not local_runs(results):
        absent.append("hospitals training alone")
    if not absent:
        return ""
    return f"The references ({words.join(absent)}) were not run, so their columns are left out."


def cards(results: Results) -> list[Card]:
    """Return one card a test set (the training set when there is none) for the headline model."""
    model = headline_model(results)
    if model is None:
        return []
    run = main_run(results)
    return [_card(results, row, run) for row in _headline_rows(results, model)]


def deciding_words(results: Results) -> str:
    """Write the range of thresholds that decision curves are drawn over."""
    low, high = deciding(results)
    return f"{100 * low:g} to {100 * high:g} %"


def _headline_rows(results: Results, model: str) -> list[MatrixRow]:
    shown = test_sets(results) or ["train"]
    return [r for r in performance_matrix(results) if r.model == model and r.set in shown]


def _card(results: Results, row: MatrixRow, run: str) -> Card:
    main = primary(row, run)
    lines: list[tuple[str, str]] = []
    if main is not None and main.auc_within is not None:
        lines.append(("Within hospitals", words.auc(main.auc_within)))
    if row.pooled is not None and run != "pooled":
        lines.append(("Pooled data", words.auc(row.pooled.auc)))
    if row.local is not None:
        span = words.interval(row.local.low, row.local.high)
        lines.append(("Hospitals alone", f"{words.auc(row.local.mean)} ({span})"))
    ceiling = (results.ceiling or {}).get(row.set)
    if ceiling is not None:
        lines.append(("Ceiling", words.auc(ceiling)))
    if main is None:
        return Card(set_label(row.set), "", words.MISSING, "", tuple(lines))
    positives = "" if main.positives is None else f", {main.positives} positive"
    return Card(
        title=set_label(row.set),
        patients=f"{words.patients(main.n)}{positives}",
        auc=words.auc(main.auc),
        interval=words.interval(main.ci_low, main.ci_high),
        lines=tuple(lines),
    )


def _mean_difference(pairs: list[tuple[object, object]]) -> float | None:
    gaps = []
    for left, right in pairs:
        a, b = getattr(left, "auc", None), getattr(right, "auc", None)
        if a is not None and b is not None:
            gaps.append(a - b)
    return sum(gaps) / len(gaps) if gaps else None


def _distance(gap: float) -> str:
    if abs(gap) < 0.0005:
        return "the same as"
    return f"{abs(gap):.3f} {'above' if gap > 0 else 'below'} that of"


TRANSFER_COLUMNS = (
    "run",
    "site",
    "exchange",
    "phase",
    "rounds",
    "messages",
    "bytes_up",
    "bytes_down",
)


def write_outputs(tree: Mapping[str, Any], out: Path) -> Results:
    """Validate the rows of one or several runs and write everything made from them."""
    results = parse(dict(tree), where=str(out / "results.json"))
    write(results, out / "results.json")
    write_tables(results, out)
    drawings = draw_figures(results)
    write_figures(drawings, out)
    write_report(results, out, drawings)
    sent = (row.model_dump(mode="json") for row in results.transfers)
    rows = ([row[column] for column in TRANSFER_COLUMNS] for row in sent)
    write_csv(out / "transfers.csv", [TRANSFER_COLUMNS, *rows])
    return results


def write_report(
    results: Results, run_folder: Path, drawings: Sequence[Drawing] | None = None
) -> Path:
    """Write `report/index.html` and return its path.

    Parameters
    ----------
    drawings : figures already drawn from the same results; drawn here when not given.
    """
    path = run_folder / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(results, drawings), encoding="utf-8")
    return path


def render(results: Results, drawings: Sequence[Drawing] | None = None) -> str:
    """Return the page as text; the same results give the same bytes."""
    figures: defaultdict[str, list[Drawing]] = defaultdict(list)
    for drawing in draw_figures(results) if drawings is None else drawings:
        figures[drawing.section].append(drawing)
    return pages.render(
        "server.report",
        "report.html",
        results=results,
        figures=figures,
        paragraphs=paragraphs(results),
        cards=cards(results),
        digests=digests(results),
        references=references_sentence(results),
        run=words.run_label(main_run(results)),
        pooled="pooled" in runs(results),
        started=words.moment(results.run.started),
        performance=performance.performance_blocks(results),
        methods=performance.methods(results),
        apparent=performance.apparent_block(results),
        measures=measure_blocks(results),
        follow_up=follow_up_block(results),
        follow_up_words=headline(results),
        precision=precision_blocks(results),
        primary=comparisons.primary_block(results),
        compared=comparisons.comparison_sentence(results),
        calibration=calibration.calibration_blocks(results),
        calibration_parts=calibration.part_blocks(results),
        recalibration=calibration.recalibration_blocks(results),
        thresholds=deciding_words(results),
        local=performance.local_block(results),
        selection=appendix.selection_block(results),
        stability=stability.stability_block(results),
        frequencies=stability.frequency_blocks(results),
        selection_notes=appendix.selection_notes(results),
        table1=patients.table1_block(results),
        table1_pairs=patients.pairs_block(results),
        participants=patients.flow_block(results),
        per_site=subgroups.per_site_blocks(results),
        leave_one_out=leave_one_out_blocks(results),
        strata=subgroups.strata_blocks(results),
        ledger=appendix.ledger_block(results),
        fusion=appendix.fusion_block(results),
        training=appendix.training_block(results),
        privacy=appendix.privacy_block(results),
        audit_words=privacy_audit.linkage_words(results),
        membership=privacy_audit.membership_block(results),
        releases=privacy_audit.releases_block(results),
        canaries=privacy_audit.canaries_block(results),
        transfers=appendix.transfer_blocks(results),
        refusals=appendix.refusal_block(results),
        timing=appendix.timing_block(results),
        settings=settings_blocks(results),
        settings_sentence=settings_sentence(results),
        remarks=remarks(results),
        radiomics_file=radiomics_file(results),
        facts=appendix.facts(results),
    )
