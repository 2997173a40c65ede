"""Blocks of features as pictures: t-SNE maps and clustered heatmaps of all the site's patients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from client.data.tables import selected_table
from client.report.site_run import SiteRun
from common.html.drawing import BLUE, GREY, VERMILION, Drawing, draw, draw_correlation, shorten
from common.models import MODELS
from common.statistics.base import Float, Int

Mask = NDArray[np.bool_]
FEWEST = 5  # patients that a map is drawn of


@dataclass(frozen=True)
class FeatureBlock:
    """Standardised features of the site's patients.

    Parameters
    ----------
    values : (patients, features), mean 0 and SD 1, no gaps, no constant column.
    patients : ids, (patients,).
    positive, training : (patients,).
    gaps : share of the values that were missing; the feature's median stands in.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    values: Float
    patients: tuple[str, ...]
    positive: Mask
    training: Mask
    gaps: float


def blocks_of(run: SiteRun) -> list[FeatureBlock]:
    """Return clinical, radiomics and network features, as far as the study has them."""
    sources: dict[str, str] = {
        "clinical": "clinical",
        "radiomics": "radiomics",
        **{name: f"{name}/final/features" for name in run.study.networks},
    }
    found = (_block(run, name, table) for name, table in sources.items())
    return [block for block in found if block is not None]


def _block(run: SiteRun, name: str, table: str) -> FeatureBlock | None:
    if name not in run.study.base_models:
        return None
    rows: dict[str, Float] = {}
    positive: dict[str, bool] = {}
    columns: tuple[str, ...] = ()
    training: set[str] = set()
    for subset in run.subsets:
        try:
            read = run.tables.read(table, subset)
        except KeyError:  # the run has not come so far
            continue
        columns = read.columns
        for patient, row in zip(run.patients(subset), read.values, strict=True):
            # nobody stands twice on a map, whatever sets they are in
            rows.setdefault(patient.patient_id, row)
            positive[patient.patient_id] = patient.label == 1
            if subset == "train":
                training.add(patient.patient_id)
    if len(rows) < FEWEST:
        return None
    values, kept, gaps = standardised(np.array(list(rows.values())))
    if not kept.any():
        return None
    return FeatureBlock(
        name=name,
        title=MODELS[name].label,
        columns=tuple(c for c, k in zip(columns, kept, strict=True) if k),
        values=values,
        patients=tuple(rows),
        positive=np.array([positive[patient] for patient in rows]),
        training=np.array([patient in training for patient in rows]),
        gaps=gaps,
    )


def standardised(values: Float) -> tuple[Float, Mask, float]:
    """Return the varying columns with mean 0 and SD 1, which they are, the share of gaps.

    A gap gets the median of its column; a column of gaps alone is left out.
    """
    missing = ~np.isfinite(values)
    usable = ~missing.all(axis=0)
    filled = np.where(missing, np.nan, values)
    centre = np.zeros(values.shape[1])
    centre[usable] = np.nanmedian(filled[:, usable], axis=0)
    filled = np.where(missing, centre, filled)
    spread = filled.std(axis=0)
    kept: Mask = usable & (spread > 1e-9 * np.maximum(1.0, np.abs(centre)))
    part = filled[:, kept]
    return (part - part.mean(axis=0)) / part.std(axis=0), kept, float(missing.mean())


@dataclass(frozen=True)
class CorrelationMap:
    """Rank correlation of the selected features over the site's patients of one test set.

    Parameters
    ----------
    features : names, (p,), those of one base model after those of another.
    models : label of the model of each, (p,).
    values, p : (p, p), Spearman's correlation and its two-sided P, not corrected; NaN where a
        feature is the same for all patients.
    n : patients.
    """

    subset: str
    features: tuple[str, ...]
    models: tuple[str, ...]
    values: Float
    p: Float
    n: int


def correlations_of(run: SiteRun) -> list[CorrelationMap]:
    """Correlate the features that the base models' machines read, by test set."""
    found = (_correlated(run, subset) for subset in run.test_sets)
    return [one for one in found if one is not None]


def _correlated(run: SiteRun, subset: str) -> CorrelationMap | None:
    tables = {name: run.table(selected_table(name), subset) for name in run.study.base_models}
    kept = {name: one for name, one in tables.items() if one is not None}
    features = tuple(column for one in kept.values() for column in one.columns)
    if len(features) < 2:
        return None
    values = np.hstack([one.values for one in kept.values()])
    if len(values) < FEWEST:
        return None
    from scipy.stats import rankdata
    from scipy.stats import t as student

    ranks = rankdata(values, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.clip(np.corrcoef(ranks, rowvar=False), -1.0, 1.0)
        freedom = len(values) - 2
        p = 2.0 * student.sf(np.abs(r) * np.sqrt(freedom / (1.0 - r**2)), freedom)
    np.fill_diagonal(p, np.nan)
    models = tuple(MODELS[name].label for name, one in kept.items() for _ in one.columns)
    return CorrelationMap(subset, features, models, r, p, len(values))


def correlation_of(found: CorrelationMap, title: str) -> Drawing:
    """Draw the correlation of every two features (paper, Fig. 3G)."""
    names = zip(found.models, found.features, strict=True)
    labels = [f"{model}: {shorten(name, 26)}" for model, name in names]
    name = f"correlation-{found.subset}"
    return draw_correlation("correlations", name, title, labels, found.values, found.p)


SEED = 20240101
MOST_COMPONENTS = 50
USUAL_PERPLEXITY = 30.0


def perplexity_for(n: int) -> float:
    """Return 30 as usual, less where a third of the other patients are fewer."""
    return float(min(USUAL_PERPLEXITY, max(1.0, (n - 1) / 3)))


def tsne(values: Float) -> Float:
    """Place rows (n, p) at (n, 2) by t-SNE (van der Maaten and Hinton 2008); always the same.

    Principal components first, at most 50, as its authors advise for many columns.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    most = min(MOST_COMPONENTS, values.shape[0] - 1, values.shape[1])
    reduced = PCA(most, svd_solver="full", random_state=SEED).fit_transform(values)
    start = np.zeros((len(reduced), 2))
    start[:, : min(2, most)] = reduced[:, :2]
    # small, as t-SNE wants to begin
    start *= 1e-4 / max(float(start[:, 0].std()), 1e-12)
    places: Float = TSNE(
        2, perplexity=perplexity_for(len(values)), init=start, random_state=SEED, method="exact"
    ).fit_transform(reduced)
    return places


def clustered(values: Float) -> tuple[Float, NDArray[np.int64]]:
    """Link rows (n, p) by average Euclidean distance; return the tree and its order (n,)."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    tree: Float = linkage(values, "average", optimal_ordering=len(values) <= 1000)
    return tree, leaves_list(tree).astype(np.int64)


MOST_NAMES = 45  # names of patients or features beside a heatmap
FURTHEST = 2.5  # SD at which the heatmap's colours end


def map_of(block: FeatureBlock) -> Drawing:
    """Draw the t-SNE map (paper, Fig. 3A-C)."""
    places = tsne(block.values)
    paint = partial(_paint_map, block=block, places=places)
    return draw("maps", f"tsne-{block.name}", block.title, paint, width=3.9, height=3.7)


def _paint_map(axes: Axes, block: FeatureBlock, places: Float) -> None:
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


def heatmap_of(block: FeatureBlock) -> Drawing:
    """Draw patients against features, both in the order of a clustering (Fig. 3D-F)."""
    tree, rows = clustered(block.values)
    columns = np.zeros(1, dtype=np.int64)
    if len(block.columns) > 1:
        _, columns = clustered(block.values.T)
    height = 3.4 if len(rows) > MOST_NAMES else max(2.8, 1.3 + 0.16 * len(rows))
    paint = partial(_paint_heatmap, block=block, tree=tree, rows=rows, columns=columns)
    return draw("heatmaps", f"heatmap-{block.name}", block.title, paint, width=6.4, height=height)


def _paint_heatmap(axes: Axes, block: FeatureBlock, tree: Float, rows: Int, columns: Int) -> None:
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
    """Paint labels and dendrogram of the patients left of the heatmap."""
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
