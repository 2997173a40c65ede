"""Files of a finished run: results.json, tables, figures, the page, transfers.csv.

The page is self-contained: no request to anywhere, one script of its own, and it prints well.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.html import pages
from common.html.drawing import Drawing
from server.report import appendix, choices_table, patients, performance, subgroups, summary, words
from server.report.figures import draw_figures, write_figures
from server.report.reading import main_run, runs
from server.report.results import Results, parse, write
from server.report.tables import write_tables

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
    with (out / "transfers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=TRANSFER_COLUMNS)
        writer.writeheader()
        writer.writerows(row.model_dump(mode="json") for row in results.transfers)
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
        paragraphs=summary.paragraphs(results),
        cards=summary.cards(results),
        references=summary.references_sentence(results),
        run=words.run_label(main_run(results)),
        pooled="pooled" in runs(results),
        started=words.moment(results.run.started),
        performance=performance.performance_blocks(results),
        methods=performance.methods(results),
        local=performance.local_block(results),
        selection=appendix.selection_block(results),
        selection_notes=appendix.selection_notes(results),
        table1=patients.table1_block(results),
        participants=patients.flow_block(results),
        per_site=subgroups.per_site_blocks(results),
        strata=subgroups.strata_blocks(results),
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
