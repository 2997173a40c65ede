"""One self-contained HTML page: no request to anywhere, one script of its own, prints well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from common.html import pages
from common.html.drawing import Drawing
from server.report import (
    appendix,
    choices_table,
    flow,
    per_site,
    sections,
    strata,
    summary,
    table1,
    words,
)
from server.report.figures import draw_figures
from server.report.reading import main_run, runs
from server.report.schema import Results


def write_report(
    results: Results, run_folder: Path, drawings: Sequence[Drawing] | None = None
) -> Path:
    """Write `report/index.html`; its path.

    Parameters
    ----------
    drawings : figures already drawn from the same results; drawn here when not given.
    """
    path = run_folder / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(results, drawings), encoding="utf-8")
    return path


def render(results: Results, drawings: Sequence[Drawing] | None = None) -> str:
    """The page as text; the same results give the same bytes."""
    figures: defaultdict[str, list[Drawing]] = defaultdict(list)
    for drawing in draw_figures(results) if drawings is None else drawings:
        figures[drawing.section].append(drawing)
    return pages.render(
        "server.report",
        "report.html",
        results=results,
        figures=figures,
        paragraphs=summary.paragraphs(results),
        cards=summary.cards(results),
        references=summary.references_sentence(results),
        run=words.run_label(main_run(results)),
        pooled="pooled" in runs(results),
        started=words.moment(results.run.started),
        performance=sections.performance_blocks(results),
        methods=sections.methods(results),
        local=sections.local_block(results),
        selection=sections.selection_block(results),
        selection_notes=sections.selection_notes(results),
        table1=table1.block(results),
        participants=flow.flow_block(results),
        per_site=per_site.per_site_blocks(results),
        strata=strata.strata_blocks(results),
        ledger=appendix.ledger_block(results),
        fusion=appendix.fusion_block(results),
        training=appendix.training_block(results),
        privacy=appendix.privacy_block(results),
        transfers=appendix.transfer_blocks(results),
        refusals=appendix.refusal_block(results),
        timing=appendix.timing_block(results),
        settings=choices_table.settings_blocks(results),
        settings_sentence=choices_table.settings_sentence(results),
        remarks=choices_table.remarks(results),
        radiomics_file=choices_table.radiomics_file(results),
        facts=appendix.facts(results),
    )
