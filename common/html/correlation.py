"""A correlation matrix as a picture, for the study's report and the hospital's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from common.html.drawing import BLUE, VERMILION, Drawing, draw
from common.statistics.base import Float

SIGNIFICANT = 0.05
# numbers are written into the squares of a matrix that is not larger
MOST_NUMBERS = 12


def draw_correlation(
    section: str, name: str, title: str, labels: Sequence[str], values: Float, p: Float
) -> Drawing:
    """Draw the rank correlation of every two features (paper, figure 3G).

    Parameters
    ----------
    labels : of the features, short enough for a line; rows are numbered, columns by number.
    values, p : (features, features), with an asterisk where p is below 0.05; NaN = not known.
    """
    size = 1.6 + 0.19 * max(len(labels), 6)
    paint = partial(_paint, labels=labels, values=values, p=p)
    return draw(section, name, title, paint, width=size + 2.4, height=size)


def _paint(axes: Axes, labels: Sequence[str], values: Float, p: Float) -> None:
    """Paint blue through white to vermilion, whose ends differ for all colour vision."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("signed", [BLUE, "white", VERMILION])
    count = len(labels)
    grid = np.arange(count + 1) - 0.5
    axes.pcolormesh(grid, grid, values, cmap=colours, vmin=-1, vmax=1, ec="white", lw=0.4)
    if count <= MOST_NUMBERS:
        for i, j in np.argwhere(np.isfinite(values)).tolist():
            text = f"{values[i, j]:.1f}".replace("-", "\N{MINUS SIGN}")
            axes.text(j, i, text, ha="center", va="center", fontsize=6.5)
    above = 0.2 if count <= MOST_NUMBERS else 0.0  # its number
    for i, j in np.argwhere(p < SIGNIFICANT).tolist():
        axes.text(j, i - above, "*", ha="center", va="center", fontsize=6.5)
    axes.set_xticks(range(count), [str(i + 1) for i in range(count)], fontsize=6.5)
    rows = [f"{label}  {i}" for i, label in enumerate(labels, 1)]
    axes.set_yticks(range(count), rows, fontsize=6.5)
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


def shorten(name: str, limit: int) -> str:
    """Cut the middle out of a long name.

    >>> shorten("wavelet-HLL_glszm_SmallAreaEmphasis", 15)
    'wavelet…mphasis'
    """
    half = (limit - 1) // 2
    return name if len(name) <= limit else f"{name[:half]}…{name[-half:]}"
