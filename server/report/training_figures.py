"""Training curves of the networks: every loss by round, a line a training."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from common.html.drawing import BLACK, LINE_STYLES, Dash, Drawing, draw
from server.report import words
from server.report.reading import main_run
from server.report.schema import Results


def draw_trainings(results: Results) -> Iterator[Drawing]:
    """A figure for every network and kind of loss that has a value a round."""
    for network, variants in results.training.get(main_run(results), {}).items():
        for measure in dict.fromkeys(name for series in variants.values() for name in series):
            lines = {
                name: series[measure]
                for name, series in variants.items()
                if len(series.get(measure, ())) > 1
            }
            if not lines:
                continue
            paint = partial(_paint_training, lines=lines)
            title = f"{words.arm_label(network)}: {words.humanise(measure).lower()}"
            yield draw("training", f"training-{network}-{measure}", title, paint, height=3.0)


def _paint_training(axes: Axes, lines: dict[str, tuple[float | None, ...]]) -> None:
    styles = cycle([style for style in LINE_STYLES if style[1] != "-"])
    for name, values in lines.items():
        final = len(lines) == 1 or name in ("final", "full")
        style: tuple[str, Dash] = (BLACK, "-") if final else next(styles)
        rounds = range(1, len(values) + 1)
        label = words.humanise(words.variant_label(name))
        axes.plot(
            rounds,
            [np.nan if v is None else v for v in values],
            color=style[0],
            ls=style[1],
            label=label,
            lw=1.3,
        )
    axes.set(xlabel="Round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(lines) > 1:
        axes.legend(loc="best", ncols=2, borderpad=0, handlelength=2.4)
