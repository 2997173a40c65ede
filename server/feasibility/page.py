"""The outlook of a study as a page, to send to those who decide about it."""

from __future__ import annotations

from common.dossier.markdown import size
from common.html.pages import Block, Cell, Line, render
from common.study.model import Study
from server.feasibility.assess import AREAS, TRAIN, Outlook, SetOutlook


def outlook_page(study: Study, found: Outlook, reports: int) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    reports : number of hospitals whose files were read.
    """
    return render(
        "server.feasibility",
        "feasibility.html",
        study=study,
        endpoint=study.outcome,
        found=found,
        reports=reports,
        sets=_sets(found),
        effort=_effort(found),
    )


def _sets(found: Outlook) -> Block:
    columns = (
        "set",
        "hospitals",
        "patients",
        "with the finding",
        *(f"width at {area}" for area in AREAS),
        "withheld",
    )
    return Block("", "", columns, tuple(_of_set(one) for one in found.sets), sortable=False)


def _of_set(one: SetOutlook) -> Line:
    some = "" if one.complete else "of those that share them"
    known = one.patients is not None
    withheld = "; ".join(f"{site} ({', '.join(rules)})" for site, rules in one.withheld.items())
    widths = (f"{one.widths[area]:.2f}" if area in one.widths else "" for area in AREAS)
    cells = (
        Cell(str(len(one.sites)), key="hospitals"),
        Cell(f"{one.patients:,}" if known else "not shared", small=some if known else "", key="n"),
        Cell("" if one.positives is None else f"{one.positives:,}", key="positives"),
        *(Cell(width, key=f"width-{area}") for width, area in zip(widths, AREAS, strict=True)),
        Cell(withheld, key="withheld"),
    )
    return Line("training" if one.name == TRAIN else one.name, cells)


def _effort(found: Outlook) -> Block:
    facts = {
        "Hospitals that could train": ", ".join(found.trains) or "none",
        "Training patients that the clinical model needs (Riley)": found.needed,
        "Rounds, at most": f"{found.rounds:,}",
        "Sent by one hospital, at most": size(found.bytes_up),
        "Hours on the slowest line, without computing": found.hours and f"{found.hours:.1f}",
    }
    lines = tuple(Line(name, (Cell(str(said)),)) for name, said in facts.items() if said)
    return Block("", "", ("", ""), lines, sortable=False)
