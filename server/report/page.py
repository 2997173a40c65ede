"""One self-contained HTML page: no request to anywhere, one script of its own, prints well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from common.html.drawing import Drawing, inline
from common.html.style import STYLE
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
from server.report.script import SCRIPT, script_hash
from server.report.template import PAGE


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
    drawn = draw_figures(results) if drawings is None else drawings
    figures: dict[str, list[tuple[str, str, Markup]]] = {}
    for drawing in drawn:
        # matplotlib escapes what it writes into SVG text
        svg = Markup(inline(drawing))  # noqa: S704
        figures.setdefault(drawing.section, []).append((drawing.name, drawing.title, svg))
    environment = Environment(
        loader=DictLoader({"page.html": PAGE, "page.css": STYLE}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
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
        # our own text, and what the policy of the page has the hash of
        script=Markup(SCRIPT),  # noqa: S704
        script_hash=Markup(script_hash()),  # noqa: S704
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
