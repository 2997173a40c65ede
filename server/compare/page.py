"""The comparison as one self-contained HTML page: no script, no request to anywhere."""

from __future__ import annotations

from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from common.html.drawing import inline
from common.html.style import STYLE
from server.compare import blocks
from server.compare.figure import overviews
from server.compare.run import ComparedRun
from server.compare.template import PAGE
from server.report import words


def write_comparison(first: ComparedRun, second: ComparedRun, folder: Path) -> Path:
    """Write `index.html` into a folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(render(first, second), encoding="utf-8")
    return path


def render(first: ComparedRun, second: ComparedRun) -> str:
    """The page as text; the same runs give the same bytes."""
    environment = Environment(
        loader=DictLoader({"page.html": PAGE, "page.css": STYLE}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # matplotlib escapes what it writes into SVG text
    figures = [(d.name, d.title, Markup(inline(d))) for d in overviews(first, second)]  # noqa: S704
    names = [
        (words.arm_label(arm), sorted(one & two), sorted(one - two), sorted(two - one))
        for arm, one, two in blocks.chosen(first, second)
    ]
    return environment.get_template("page.html").render(
        first=first,
        second=second,
        label=words.run_label,
        moment=words.moment,
        warnings=warnings(first, second),
        no_test=blocks.NO_TEST,
        figures=figures,
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
