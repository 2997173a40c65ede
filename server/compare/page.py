"""The comparison as one self-contained HTML page: no script, no request to anywhere."""

from __future__ import annotations

from pathlib import Path

from common.html import pages
from server.compare import blocks
from server.compare.figure import overviews
from server.compare.run import ComparedRun
from server.report import words


def write_comparison(first: ComparedRun, second: ComparedRun, folder: Path) -> Path:
    """Write `index.html` into a folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(render(first, second), encoding="utf-8")
    return path


def render(first: ComparedRun, second: ComparedRun) -> str:
    """The page as text; the same runs give the same bytes."""
    names = [
        (words.arm_label(arm), sorted(one & two), sorted(one - two), sorted(two - one))
        for arm, one, two in blocks.chosen(first, second)
    ]
    return pages.render(
        "server.compare",
        "comparison.html",
        first=first,
        second=second,
        label=words.run_label,
        moment=words.moment,
        remarks=warnings(first, second),
        no_test=blocks.NO_TEST,
        drawings=list(overviews(first, second)),
        auc=blocks.auc_blocks(first, second),
        settings=blocks.settings_block(first, second),
        features=blocks.features_block(first, second),
        names=names,
        effort=blocks.effort_block(first, second),
        software=blocks.software_block(first, second),
    )


def warnings(first: ComparedRun, second: ComparedRun) -> list[str]:
    """What makes the two hard to compare."""
    one, two = first.results.study, second.results.study
    found = []
    if one.endpoint != two.endpoint:
        found.append(f"The endpoints differ: {one.endpoint}, and {two.endpoint}.")
    if {site.name for site in one.sites} != {site.name for site in two.sites}:
        found.append("The two runs were made by different sites.")
    if first.run != second.run:
        kinds = f"{words.run_label(first.run)} and {words.run_label(second.run)}"
        found.append(f"The two runs are of different kinds: {kinds}.")
    return found
