"""The figures of the site's page."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from client.report.blocks import Block, Mask
from client.report.curves import SiteCurve
from client.report.maps import clustered, tsne
from common.html.drawing import BLACK, BLUE, GREY, LIGHT, MODEL_STYLE, VERMILION, Drawing, draw
from common.html.labels import MODEL_LABELS
from common.statistics.base import Float, Int

MOST_NAMES = 45  # names of patients or features beside a heatmap
FURTHEST = 2.5  # SD at which the heatmap's colours end


def map_of(block: Block) -> Drawing:
    """t-SNE (paper, Fig. 3A-C)."""
    places = tsne(block.values)
    paint = partial(_paint_map, block=block, places=places)
    return draw("maps", f"tsne-{block.name}", block.title, paint, width=3.9, height=3.7)


def _paint_map(axes: Axes, block: Block, places: Float) -> None:
    for positive, colour, name in ((True, VERMILION, "with"), (False, BLUE, "without")):
        for training, marker, split in ((True, "o", "training"), (False, "^", "test")):
            chosen = (block.positive == positive) & (block.training == training)
            if chosen.any():
                x, y = places[chosen].T
                face = colour if positive else "white"
                label = f"{name} the finding, {split} ({int(chosen.sum())})"
                axes.plot(x, y, marker, ls="", color=colour, mfc=face, mew=1.2, ms=5.5, label=label)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.08)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncol=2, fontsize=7)


def heatmap_of(block: Block) -> Drawing:
    """Patients against features, both in the order of a clustering (paper, Fig. 3D-F)."""
    tree, rows = clustered(block.values)
    columns = np.zeros(1, dtype=np.int64)
    if len(block.columns) > 1:
        _, columns = clustered(block.values.T)
    height = 3.4 if len(rows) > MOST_NAMES else max(2.8, 1.3 + 0.16 * len(rows))
    paint = partial(_paint_heatmap, block=block, tree=tree, rows=rows, columns=columns)
    return draw("heatmaps", f"heatmap-{block.name}", block.title, paint, width=6.4, height=height)


def _paint_heatmap(axes: Axes, block: Block, tree: Float, rows: Int, columns: Int) -> None:
    values = block.values[rows][:, columns]
    axes.imshow(
        values,
        cmap="RdBu_r",
        vmin=-FURTHEST,
        vmax=FURTHEST,
        aspect="auto",
        interpolation="nearest",
    )
    _paint_tree(axes, block.positive[rows], tree)
    n, p = values.shape
    if p <= MOST_NAMES:
        axes.set_xticks(range(p), [block.columns[i] for i in columns], rotation=90, fontsize=8)
    else:
        axes.set(xticks=[], xlabel=f"{p} features")
    axes.yaxis.tick_right()
    if n <= MOST_NAMES:
        axes.set_yticks(range(n), [block.patients[i] for i in rows], fontsize=8)
    else:
        axes.set_yticks([])
    axes.tick_params(length=0)
    axes.set_title(f"{block.title}: {n} patients")


def _paint_tree(axes: Axes, positive: Mask, tree: Float) -> None:
    """Left of the heatmap: who has the finding, and the patients' dendrogram."""
    from scipy.cluster.hierarchy import dendrogram

    strip = axes.inset_axes((-0.035, 0.0, 0.025, 1.0))
    shade = positive.astype(np.float64)[:, None]
    strip.imshow(shade, cmap="gray_r", vmin=-0.15, vmax=1.0, aspect="auto", interpolation="nearest")
    strip.set(xticks=[], yticks=[])
    side = axes.inset_axes((-0.2, 0.0, 0.16, 1.0))
    dendrogram(
        tree,
        orientation="left",
        ax=side,
        no_labels=True,
        color_threshold=0.0,
        above_threshold_color=GREY,
    )
    # the heatmap's first row is on top, the dendrogram's first leaf at the bottom
    side.invert_yaxis()
    side.axis("off")


def roc_of(curve: SiteCurve, title: str) -> Drawing:
    """One model's curve with its band."""
    paint = partial(_paint_roc, curve=curve)
    name = f"roc-{curve.subset}-{curve.model}"
    return draw("roc", name, title, paint, width=3.0, height=3.1)


def _paint_roc(axes: Axes, curve: SiteCurve) -> None:
    colour = MODEL_STYLE[curve.model][0]
    axes.fill_between(curve.grid, curve.band_low, curve.band_high, color=colour, alpha=0.2, lw=0)
    axes.plot([0, 1], [0, 1], color=LIGHT, lw=1)
    axes.plot(curve.curve.fpr, curve.curve.tpr, color=colour, lw=1.8)
    area = f"AUC {curve.auc:.3f}\n({curve.low:.3f}\N{EN DASH}{curve.high:.3f})"
    axes.text(0.97, 0.05, area, ha="right", va="bottom", color=BLACK, fontsize=8.5)
    ticks, labels = [0, 0.5, 1], ["0", "50", "100"]
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.set(xlabel="False alarms, %", ylabel="Sensitivity, %")


def model_title(model: str) -> str:
    """A model in words."""
    return MODEL_LABELS[model]
