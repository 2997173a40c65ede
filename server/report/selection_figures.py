"""Figures of the feature selection: penalty, path of the coefficients, correlation of features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from common.html.drawing import BLACK, BLUE, GREY, LIGHT, LINE_STYLES, VERMILION, Drawing, draw
from server.report import words
from server.report.correlation import p_values
from server.report.reading import main_run
from server.report.schema import Results
from server.report.schema_selection import Correlation, LassoPath, Selection
from server.report.sections import SIGNIFICANT

# numbers are written into the squares of a matrix that is not larger
MOST_NUMBERS = 12


def draw_lassos(results: Results) -> Iterator[Drawing]:
    """Cross-validated error at each penalty (paper, figure S1)."""
    for arm, chosen in results.selection.get(main_run(results), {}).items():
        if chosen.cv is not None and chosen.cv.alphas:
            paint = partial(_paint_lasso, chosen=chosen)
            yield draw("lasso", f"lasso-{arm}", words.arm_label(arm), paint, height=2.7)


def _paint_lasso(axes: Axes, chosen: Selection) -> None:
    if chosen.cv is None:
        return
    order = np.argsort(chosen.cv.alphas)
    alphas, errors = np.array(chosen.cv.alphas)[order], np.array(chosen.cv.errors)[order]
    if chosen.cv.spreads:
        spread = np.array(chosen.cv.spreads)[order]
        axes.fill_between(alphas, errors - spread, errors + spread, color=LIGHT, lw=0)
    axes.plot(alphas, errors, color=BLUE, marker=".", ms=4)
    _mark_chosen(axes, chosen)
    axes.set(xscale="log", xlabel="LASSO penalty", ylabel="Cross-validated error")
    _plain_penalties(axes)


def _mark_chosen(axes: Axes, chosen: Selection) -> None:
    if chosen.alpha is not None and chosen.alpha > 0:
        label = f"chosen: {words.compact(chosen.alpha)}"
        axes.axvline(chosen.alpha, color=VERMILION, lw=1.2, ls=(0, (4, 2)), label=label)
        axes.legend(loc="best", borderpad=0.2)


def _plain_penalties(axes: Axes) -> None:
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_paths(results: Results) -> Iterator[Drawing]:
    """Coefficients along the penalties (paper, figure S1)."""
    for arm, chosen in results.selection.get(main_run(results), {}).items():
        if chosen.path is not None and chosen.path.coefficients:
            count = len(chosen.path.coefficients)
            title = f"{words.arm_label(arm)}: {words.count_word(count, 'feature')}"
            paint = partial(_paint_path, path=chosen.path, chosen=chosen)
            yield draw("path", f"path-{arm}", title, paint, height=2.7)


def _paint_path(axes: Axes, path: LassoPath, chosen: Selection) -> None:
    styles = cycle(LINE_STYLES)
    for name, values in path.coefficients.items():
        used = name in chosen.coefficients
        colour, dash = next(styles) if used else (GREY, "-")
        width = 1.3 if used else 0.6
        axes.plot(path.alphas, values, color=colour, ls=dash, lw=width)
    axes.axhline(0, color=BLACK, lw=0.8)
    axes.set(xscale="log", xlabel="LASSO penalty", ylabel="Coefficient")
    _mark_chosen(axes, chosen)
    _plain_penalties(axes)


def draw_correlations(results: Results) -> Iterator[Drawing]:
    """Rank correlation of the selected features over all sites (paper, figure 3G)."""
    for arm, chosen in results.selection.get(main_run(results), {}).items():
        if chosen.correlation is not None and len(chosen.correlation.names) > 1:
            found = chosen.correlation
            size = 1.6 + 0.19 * max(len(found.names), 6)
            paint = partial(_paint_correlation, found=found)
            title = words.arm_label(arm)
            if found.n is not None:
                title += f" (n={found.n})"
            name = f"correlation-{arm}"
            yield draw("correlation", name, title, paint, width=size + 2.4, height=size)


def _paint_correlation(axes: Axes, found: Correlation) -> None:
    """Blue through white to vermilion: dark ends differ for every kind of colour vision."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("signed", [BLUE, "white", VERMILION])
    values = np.array(found.values)
    count = len(found.names)
    grid = np.arange(count + 1) - 0.5
    axes.pcolormesh(grid, grid, values, cmap=colours, vmin=-1, vmax=1, ec="white", lw=0.4)
    if count <= MOST_NUMBERS:
        for i in range(count):
            for j in range(count):
                text = words.number(values[i, j], 1)
                axes.text(j, i, text, ha="center", va="center", fontsize=6.5)
    above = 0.2 if count <= MOST_NUMBERS else 0.0  # its number
    for i, j in np.argwhere(p_values(found) < SIGNIFICANT).tolist():
        axes.text(j, i - above, "*", ha="center", va="center", fontsize=6.5)
    axes.set_xticks(range(count), [str(i + 1) for i in range(count)], fontsize=6.5)
    labels = [f"{words.shorten(name, 34)}  {i + 1}" for i, name in enumerate(found.names)]
    axes.set_yticks(range(count), labels, fontsize=6.5)
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    # matplotlib's own colour bar would be an image inside the SVG
    thin = 1.0 if count <= MOST_NUMBERS else 0.5
    scale = axes.inset_axes((1.0 + 0.04 * thin, 0.25, 0.035 * thin, 0.5))
    steps = np.linspace(-1.0, 1.0, 22)
    middles = 0.5 * (steps[1:] + steps[:-1])
    scale.pcolormesh([0, 1], steps, middles[:, None], cmap=colours, vmin=-1, vmax=1)
    scale.set_xticks([])
    scale.set_yticks([-1, 0, 1], ["\N{MINUS SIGN}1", "0", "+1"], fontsize=6.5)
    scale.yaxis.tick_right()
    scale.set_title("Rank\ncorrelation", fontsize=6.5, fontweight="normal")
