"""Draw figures: print-safe style, deterministic SVG, and its form inside a page.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/); every line also has its own
dash pattern or marker, so that a black-and-white print can be read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from common.statistics.base import Float

BLACK, GREY, LIGHT = "#1a1a1a", "#6b6b6b", "#d9d9d9"
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE = "#56B4E9", "#CC79A7"
Dash = str | tuple[int, tuple[float, ...]]
MODEL_STYLE: dict[str, tuple[str, Dash]] = {
    "fusion_decision": (VERMILION, "-"),
    "fusion_feature": (PURPLE, (0, (6, 2))),
    "dl3d": (BLUE, (0, (4, 1.5, 1, 1.5))),
    "dl2d": (SKY, (0, (3, 1.5))),
    "radiomics": (GREEN, (0, (1, 1.2))),
    "clinical": (ORANGE, (0, (6, 1.5, 1, 1.5, 1, 1.5))),
}
OTHER_STYLE: tuple[str, Dash] = (BLACK, (0, (2, 2)))
"""Line of a model that is not the paper's."""
LINE_STYLES: tuple[tuple[str, Dash], ...] = tuple(MODEL_STYLE.values())
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a "$" in a feature name is a dollar
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "text.color": BLACK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "figure.constrained_layout.use": True,
}


def style_of(model: str) -> tuple[str, Dash]:
    """Return colour and dashes of a model's line."""
    return MODEL_STYLE.get(model, OTHER_STYLE)


WIDEST = 4 / 3 * 1.3  # largest size on screen, pixels a point
HALF_PAGE = 500.0  # points; what is wider cannot be read beside another figure


@dataclass(frozen=True)
class Drawing:
    """A figure: section of the page, file name without ending, title, SVG text."""

    section: str
    name: str
    title: str
    svg: str


def draw(
    section: str,
    name: str,
    title: str,
    paint: Callable[[Axes], None],
    *,
    width: float = 3.7,
    height: float = 3.7,
) -> Drawing:
    """Draw one figure of one pair of axes; width and height in inches.

    The library's defaults, not the reader's own matplotlibrc, so that the bytes are the same
    everywhere.
    """
    text = io.StringIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.set_title(title)
        paint(axes)
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(text, format="svg", metadata=nothing)
    safe = re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")
    return Drawing(section, safe, title, text.getvalue())


def inline(drawing: Drawing) -> str:
    """Return the SVG element for a page: no prolog, scales with its box, ids unique on the page."""
    text = drawing.svg[drawing.svg.index("<svg") :]
    head, body = text.split(">", 1)
    width = re.search(r' width="([0-9.]+)pt"', head)
    natural = f' style="max-width:{float(width.group(1)) * WIDEST:.0f}px"' if width else ""
    if width and float(width.group(1)) > HALF_PAGE:
        natural += ' class="whole"'
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{drawing.name}-', body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{drawing.name}-", body)
    return f'{head}{natural} role="img" aria-labelledby="caption-{drawing.name}">{body}'


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
