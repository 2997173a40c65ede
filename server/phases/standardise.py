"""Label-free steps on several views at once: z-score, Spearman filter, ICC, components.

They are fitted on all training rows, since they never see a label; whatever sees a label is fitted
inside the folds. All views of a step share its rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.exchanges import SumItem
from common.learning.correlation_filter import greedy_filter
from common.learning.pca import principal_axes
from common.statistics.base import Float
from common.statistics.capped_histogram import CappedHistogram, cap_for, share_cells
from common.statistics.fold_histogram import FoldHistogram, Support
from common.statistics.gram import CrossProducts
from common.statistics.histogram import Histogram, HistogramResult
from common.statistics.icc import PairedMoments
from common.statistics.moments import CentredSquares, Means
from common.statistics.rank_gram import RankGram, first_edges, merge_cells, refine_edges
from common.study import Study
from common.transforms import Bound, Project, Select, Standardise
from common.views import Paired, Table, View
from server.federation import Federation
from server.lockstep import Procedure
from server.phases.rare import fold_histograms, frequent, frequent_in_all, scaled_edges, split

Names = tuple[str, ...]


def standardise(federation: Federation, views: Sequence[View]) -> tuple[list[View], list[Names]]:
    """z-score every column with the federated mean and deviation; two rounds.

    Returns
    -------
    The views with the step laid on, and the constant columns that were dropped from each.
    """
    moments = _moments(federation, views)
    standardised, dropped = [], []
    for view, (mean, deviation) in zip(views, moments, strict=True):
        columns = view.outputs()
        varies = np.isfinite(deviation) & (deviation > 0)
        kept = tuple(name for name, good in zip(columns, varies, strict=True) if good)
        step = Standardise(columns=kept, mean=mean[varies], scale=deviation[varies])
        standardised.append(view.restrict(kept).then(step))
        dropped.append(tuple(name for name in columns if name not in kept))
    return standardised, dropped


def _moments(federation: Federation, views: Sequence[View]) -> list[tuple[Float, Float]]:
    """Mean and deviation of every column of every view; two rounds."""
    means = federation.sum_many([SumItem(Means(), view, "train") for view in views])
    squares = federation.sum_many(
        [
            SumItem(CentredSquares(mean=mean.mean), view, "train")
            for view, mean in zip(views, means, strict=True)
        ]
    )
    return [(m.mean, s.deviation) for m, s in zip(means, squares, strict=True)]


@dataclass(frozen=True)
class Filtered:
    """What is left of a standardised view, and what was dropped as nearly constant.

    Parameters
    ----------
    names : columns kept.
    rare : columns in which too few rows differ from the others.
    support : evidence that no column kept is nearly constant, in the order of `names`.
    """

    names: Names
    rare: Names
    support: Support


def spearman_filter(study: Study, views: Sequence[View]) -> Procedure[list[Filtered]]:
    """Columns that stay after greedy deletion at the study's Spearman threshold; four rounds.

    Nearly constant columns go first: they may enter no matrix of products.
    """
    bins = study.selection.spearman_bins
    found = yield [
        *fold_histograms(study, views),
        *_histograms([first_edges(len(view.outputs()), bins) for view in views], views),
    ]
    supports = [one.support() for one in found[: len(views)]]
    stays = [np.flatnonzero(frequent(study, support)) for support in supports]
    parts = [split(v.outputs(), frequent(study, s)) for v, s in zip(views, supports, strict=True)]
    views = [view.restrict(names) for view, (names, _) in zip(views, parts, strict=True)]
    supports = [support.narrow(at) for support, at in zip(supports, stays, strict=True)]
    first = [
        HistogramResult(edges=one.edges[at], counts=one.counts[at])
        for one, at in zip(found[len(stays) :], stays, strict=True)
    ]
    cells = yield from _rank_cells(study, views, first)
    correlations = yield [
        SumItem(RankGram(edges=cell.edges, counts=cell.counts, support=support), view, "train")
        for view, cell, support in zip(views, cells, supports, strict=True)
    ]
    filtered = []
    for (names, rare), support, correlation in zip(parts, supports, correlations, strict=True):
        chosen = np.sort(greedy_filter(correlation, names, study.selection.spearman_threshold))
        kept = tuple(names[int(i)] for i in chosen)
        filtered.append(Filtered(names=kept, rare=rare, support=support.narrow(chosen)))
    return filtered


def _rank_cells(
    study: Study, views: Sequence[View], first: Sequence[HistogramResult]
) -> Procedure[list[HistogramResult]]:
    """Cells for ranks that every site may be told the counts of; two rounds."""
    bins, privacy = study.selection.spearman_bins, study.privacy
    refined = yield _histograms([refine_edges(one, bins) for one in first], views)
    cells = [merge_cells(one, privacy.min_rank_cell) for one in refined]
    cap = cap_for(privacy.min_cell)
    capped = yield [
        SumItem(CappedHistogram(edges=cell.edges, cap=cap), view, "train")
        for view, cell in zip(views, cells, strict=True)
    ]
    return [
        share_cells(cell, own, privacy.min_cell) for cell, own in zip(cells, capped, strict=True)
    ]


def _histograms(edges: Sequence[Float], views: Sequence[View]) -> list[SumItem]:
    return [
        SumItem(Histogram(edges=own), view, "train") for own, view in zip(edges, views, strict=True)
    ]


def reliable_columns(federation: Federation, view: View) -> Procedure[tuple[Names, str]]:
    """Columns whose intra- and inter-reader ICC both exceed the study's threshold; one round.

    Sites without repeat readings take no part; without any, nothing is filtered, as the note says.

    Parameters
    ----------
    view : the standardised view; its last step puts repeat readings on the same scale.
    """
    columns = view.outputs()
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
    results = yield [
        SumItem(
            PairedMoments(mean=np.zeros(len(columns))),
            View(
                source=Paired(first=Table(name=a), second=Table(name=b)), transforms=view.transforms
            ),
            "train",
        )
        for _, a, b in pairs
    ]
    good = np.ones(len(columns), dtype=bool)
    patients = 0
    for (kind, _, _), result in zip(pairs, results, strict=True):
        value = result.agreement if kind == "inter" else result.consistency
        good &= value > federation.study.selection.icc_threshold
        patients = max(patients, int(result.n.max(initial=0)))
    kept = tuple(name for name, keep in zip(columns, good, strict=True) if keep)
    return kept, f"ICC from {len(pairs)} pairs of readings of {patients} patients"


def principal_components(federation: Federation, views: Sequence[View], prefix: str) -> list[View]:
    """Each view projected on its principal components; four rounds.

    Columns that are the same for nearly all patients, such as units of a network that answer to one
    patient alone, are left out. In guarded mode columns are bounded, as z-scores are before a Gram
    matrix: a covariance of fewer rows than columns would otherwise give single patients away.
    """
    study, settings = federation.study, federation.study.selection
    moments = _moments(federation, views)
    found = federation.sum_many(
        [
            SumItem(
                FoldHistogram(folds=study.folds, edges=scaled_edges(mean, deviation)), view, "train"
            )
            for view, (mean, deviation) in zip(views, moments, strict=True)
        ]
    )
    asked, bounded = [], []
    for view, (mean, deviation), histogram in zip(views, moments, found, strict=True):
        support = histogram.support()
        stays = frequent_in_all(study, support)
        columns, _ = split(view.outputs(), stays)
        at = np.flatnonzero(stays)
        named = view.then(Select(columns=columns))
        if study.privacy.mode == "guarded":
            scale, limit = deviation[at], settings.clip
            named = named.then(Bound(columns=columns, mean=mean[at], scale=scale, limit=limit))
            reach = settings.clip * deviation
            support = support.limited(mean - reach, mean + reach)
        bounded.append(named)
        statistic = CrossProducts(mean=mean[at], support=support.narrow(at))
        asked.append(SumItem(statistic, named, "train"))
    products = federation.sum_many(asked)
    projected = []
    for view, product in zip(bounded, products, strict=True):
        axes, _ = principal_axes(product.products, product.n, settings.pca_components)
        names = tuple(f"{prefix}_pc{i + 1}" for i in range(axes.shape[1]))
        step = Project(columns=view.outputs(), mean=product.mean, axes=axes, names=names)
        projected.append(view.then(step))
    return projected
