"""Label-free steps on several views at once: z-score, Spearman filter, ICC, components.

They are fitted on all training rows, since they never see a label; whatever sees a label is fitted
inside the folds. All views of a step share its rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.exchanges import SumItem
from common.learning.correlation_filter import greedy_filter
from common.learning.pca import principal_axes
from common.statistics.gram import CrossProducts
from common.statistics.histogram import Histogram
from common.statistics.icc import PairedMoments
from common.statistics.moments import CentredSquares, Means
from common.statistics.rank_gram import RankGram, first_edges, merge_cells, refine_edges
from common.transforms import Project, Select, Standardise
from common.views import Paired, Table, View
from server.federation import Federation

Names = tuple[str, ...]


def standardise(federation: Federation, views: Sequence[View]) -> tuple[list[View], list[Names]]:
    """z-score every column with the federated mean and deviation; two rounds.

    Returns
    -------
    The views with the step laid on, and the constant columns that were dropped from each.
    """
    means = federation.sum_many([SumItem(Means(), view, "train") for view in views])
    squares = federation.sum_many(
        [
            SumItem(CentredSquares(mean=m.mean), view, "train")
            for view, m in zip(views, means, strict=True)
        ]
    )
    standardised, dropped = [], []
    for view, mean, square in zip(views, means, squares, strict=True):
        columns = view.outputs()
        varies = np.isfinite(square.deviation) & (square.deviation > 0)
        kept = tuple(name for name, good in zip(columns, varies, strict=True) if good)
        step = Standardise(columns=kept, mean=mean.mean[varies], scale=square.deviation[varies])
        standardised.append(view.restrict(kept).then(step))
        dropped.append(tuple(name for name in columns if name not in kept))
    return standardised, dropped


def spearman_filter(federation: Federation, views: Sequence[View]) -> list[Names]:
    """Columns that stay after greedy deletion at the study's Spearman threshold; three rounds."""
    settings = federation.study.selection
    first = federation.sum_many(
        [
            SumItem(
                Histogram(edges=first_edges(len(v.outputs()), settings.spearman_bins)), v, "train"
            )
            for v in views
        ]
    )
    refined = federation.sum_many(
        [
            SumItem(Histogram(edges=refine_edges(histogram, settings.spearman_bins)), view, "train")
            for view, histogram in zip(views, first, strict=True)
        ]
    )
    cells = [merge_cells(histogram) for histogram in refined]
    correlations = federation.sum_many(
        [
            SumItem(RankGram(edges=cell.edges, counts=cell.counts), view, "train")
            for view, cell in zip(views, cells, strict=True)
        ]
    )
    kept = []
    for view, correlation in zip(views, correlations, strict=True):
        names = view.outputs()
        chosen = greedy_filter(correlation, names, settings.spearman_threshold)
        kept.append(tuple(names[i] for i in sorted(int(i) for i in chosen)))
    return kept


def reliable_columns(federation: Federation, view: View, columns: Names) -> tuple[Names, str]:
    """Columns whose intra- and inter-reader ICC both exceed the study's threshold; one round.

    Sites without repeat readings take no part; without any, nothing is filtered, as the note says.

    Parameters
    ----------
    view : the standardised view; its last step puts repeat readings on the same scale.
    """
    readings = {
        r for site in federation.sites_with("train") for r in federation.members[site].readings
    }
    pairs = [
        (kind, first, second)
        for kind, first, second in (
            ("intra", "radiomics", "radiomics:r1_repeat"),
            ("intra", "radiomics:r2", "radiomics:r2_repeat"),
            ("inter", "radiomics", "radiomics:r2"),
        )
        if all(t == "radiomics" or t.partition(":")[2] in readings for t in (first, second))
    ]
    if not pairs:
        return columns, "no repeat readings at any site: the ICC step was left out"
    steps = view.restrict(columns).transforms
    results = federation.sum_many(
        [
            SumItem(
                PairedMoments(mean=np.zeros(len(columns))),
                View(source=Paired(first=Table(name=a), second=Table(name=b)), transforms=steps),
                "train",
            )
            for _, a, b in pairs
        ]
    )
    good = np.ones(len(columns), dtype=bool)
    patients = 0
    for (kind, _, _), result in zip(pairs, results, strict=True):
        value = result.agreement if kind == "inter" else result.consistency
        good &= value > federation.study.selection.icc_threshold
        patients = max(patients, int(result.n.max(initial=0)))
    kept = tuple(name for name, keep in zip(columns, good, strict=True) if keep)
    return kept, f"ICC from {len(pairs)} pairs of readings of {patients} patients"


def principal_components(federation: Federation, views: Sequence[View], prefix: str) -> list[View]:
    """Each view projected on its principal components; two rounds."""
    means = federation.sum_many([SumItem(Means(), view, "train") for view in views])
    products = federation.sum_many(
        [
            SumItem(CrossProducts(mean=m.mean), view, "train")
            for view, m in zip(views, means, strict=True)
        ]
    )
    projected = []
    for view, product in zip(views, products, strict=True):
        axes, _ = principal_axes(
            product.products, product.n, federation.study.selection.pca_components
        )
        names = tuple(f"{prefix}_pc{i + 1}" for i in range(axes.shape[1]))
        columns = view.outputs()
        projected.append(
            view.then(
                Select(columns=columns),
                Project(columns=columns, mean=product.mean, axes=axes, names=names),
            )
        )
    return projected
