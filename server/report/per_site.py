"""Each hospital's own part of a test set that several hospitals share."""

from __future__ import annotations

from common.html.tables import Block, Cell, Line
from server.report import words
from server.report.reading import main_run, models, set_label
from server.report.schema import Results, SitePerformance
from server.report.sections import interval_warnings


def per_site_blocks(results: Results) -> list[Block]:
    """AUC of every model at each hospital, a table a test set."""
    rows = [row for row in results.site_performance if row.run == main_run(results)]
    shown = [model for model in models(results) if any(row.model == model for row in rows)]
    columns = ("Hospital", "Patients, with finding", *(words.MODEL_LABELS[m] for m in shown))
    blocks = []
    for one in results.study.test_sets:
        own = [row for row in rows if row.set == one.name]
        held = [site for site in one.sites if site in {row.site for row in own}]
        if held:
            lines = tuple(_line(site, [r for r in own if r.site == site], shown) for site in held)
            missing = [site for site in one.sites if site not in held]
            key = f"site-{one.name}"
            warnings = interval_warnings([(row.site, row) for row in own])
            note = " ".join([*_note(missing), *warnings])
            blocks.append(Block(set_label(one.name), note, columns, lines, key))
    return blocks


def _line(site: str, rows: list[SitePerformance], shown: list[str]) -> Line:
    by_model: dict[str, SitePerformance] = {row.model: row for row in rows}
    cells = [_auc(by_model.get(model)) for model in shown]
    patients = Cell(f"{rows[0].n}, {rows[0].positives}", key="n")
    return Line(site, (patients, *cells), site)


def _auc(row: SitePerformance | None) -> Cell:
    if row is None or row.auc is None:
        return Cell(words.MISSING)
    return Cell(words.auc(row.auc), words.interval(row.ci_low, row.ci_high), row.model)


def _note(missing: list[str]) -> list[str]:
    if not missing:
        return []
    return [
        f"No AUC of {words.join(missing)}: too few patients there, with or without the finding."
    ]
