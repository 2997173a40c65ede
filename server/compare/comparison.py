"""The comparison as one self-contained HTML page: no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes

from common.html import pages
from common.html.drawing import BLUE, LIGHT, VERMILION, Drawing, draw
from common.models import MODELS
from server.compare import tables
from server.compare.run import ComparedRun
from server.compare.tables import pairs, set_names
from server.report import words
from server.report.figures import AUC_FLOOR
from server.report.reading import set_label
from server.report.schema import Performance


def write_comparison(first: ComparedRun, second: ComparedRun, folder: Path) -> Path:
    """Write `index.html` into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(render(first, second), encoding="utf-8")
    return path


def render(first: ComparedRun, second: ComparedRun) -> str:
    """Return the page as text; the same runs give the same bytes."""
    names = [
        (words.model_label(model), sorted(one & two), sorted(one - two), sorted(two - one))
        for model, one, two in tables.chosen(first, second)
    ]
    return pages.render(
        "server.compare",
        "comparison.html",
        first=first,
        second=second,
        label=words.run_label,
        moment=words.moment,
        remarks=warnings(first, second),
        no_test=tables.NO_TEST,
        drawings=list(overviews(first, second)),
        auc=tables.auc_blocks(first, second),
        settings=tables.settings_block(first, second),
        features=tables.features_block(first, second),
        names=names,
        effort=tables.effort_block(first, second),
        software=tables.software_block(first, second),
    )


def warnings(first: ComparedRun, second: ComparedRun) -> list[str]:
    """Return the reasons why the two are hard to compare."""
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


Row = tuple[str, Performance | None, Performance | None]


def overviews(first: ComparedRun, second: ComparedRun) -> Iterator[Drawing]:
    """Draw one figure a set."""
    for name in set_names(first, second):
        rows = pairs(first, second, name)[::-1]
        height = 1.0 + 0.42 * len(rows)
        yield draw(
            "auc", f"compare-{name}", set_label(name), partial(_paint, rows=rows), height=height
        )


def _paint(axes: Axes, rows: list[Row]) -> None:
    """Paint the first run as a blue dot, the second as a diamond below, with intervals."""
    low = AUC_FLOOR
    for place, (_, *both) in enumerate(rows):
        for row, shift, colour, marker in zip(
            both, (0.14, -0.14), (BLUE, VERMILION), "oD", strict=True
        ):
            if row is None or row.auc is None:
                continue
            if row.ci_low is not None and row.ci_high is not None:
                dash = "-" if marker == "o" else (0, (4, 1.5))
                axes.plot(
                    [row.ci_low, row.ci_high], [place + shift] * 2, color=colour, lw=1.4, ls=dash
                )
                low = min(low, row.ci_low)
            face = colour if marker == "o" else "white"
            axes.plot(row.auc, place + shift, marker, color=colour, mfc=face, mew=1.4, ms=6)
            low = min(low, row.auc)
    axes.axvline(0.5, color=LIGHT, lw=1, zorder=0)
    axes.set_yticks(range(len(rows)), [MODELS[model].label for model, *_ in rows])
    axes.set(xlim=(max(0.0, low - 0.03), 1.01), ylim=(-0.6, len(rows) - 0.4), xlabel="AUC")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
