"""AUCs of two runs on one set, model by model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.axes import Axes

from common.html.drawing import BLUE, LIGHT, VERMILION, Drawing, draw
from server.compare.blocks import pairs, set_names
from server.compare.run import ComparedRun
from server.report import words
from server.report.figures import AUC_FLOOR
from server.report.reading import set_label
from server.report.schema import Performance

Row = tuple[str, Performance | None, Performance | None]


def overviews(first: ComparedRun, second: ComparedRun) -> Iterator[Drawing]:
    """One figure a set."""
    for name in set_names(first, second):
        rows = pairs(first, second, name)[::-1]
        height = 1.0 + 0.42 * len(rows)
        yield draw(
            "auc", f"compare-{name}", set_label(name), partial(_paint, rows=rows), height=height
        )


def _paint(axes: Axes, rows: list[Row]) -> None:
    """The first run a filled blue dot, the second an open diamond below it, with intervals."""
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
    axes.set_yticks(range(len(rows)), [words.MODEL_LABELS[model] for model, *_ in rows])
    axes.set(xlim=(max(0.0, low - 0.03), 1.01), ylim=(-0.6, len(rows) - 0.4), xlabel="AUC")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
