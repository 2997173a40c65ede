"""Principal components of wide tables, such as the features of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.errors import StudyError
from common.learning.pca import leading_axes, most_axes
from common.messages.exchanges import SumItem
from common.statistics.fold_histogram import FoldHistogram, Support
from common.statistics.gram import CrossProducts
from common.statistics.histogram import HistogramResult
from common.statistics.rank_gram import first_edges
from common.study.model import Study
from common.transforms import Project, Standardise
from common.transforms.views import View
from server.phases.batching import Procedure, run_together
from server.phases.near_zero_variance import (
    CELLS,
    frequent_in_all,
    scaled_edges,
    split,
    variance_asks,
)
from server.phases.protocol import Federation, agreed_axes
from server.phases.rank_cells import (
    Counted,
    Names,
    lay_scores,
    rank_cells_asks,
    refined,
    shared,
    without_ties,
)
from server.phases.standardise import moments, moments_asks


def principal_components(federation: Federation, views: Sequence[View], prefix: str) -> list[View]:
    """Project each view on its principal components; four rounds, seven in guarded mode.

    Columns that are the same for nearly all patients, such as units of a network that answer to one
    patient alone, are left out. In guarded mode the components are those of normal scores: a
    covariance of fewer rows than columns would otherwise give single patients away.
    """
    study = federation.study
    tables = _frequent_columns(federation, views)
    if study.privacy.mode == "guarded":
        tables = _scored(federation, tables)
    products = federation.sum_many(
        [SumItem(_about_zero(one.support), one.view, "train") for one in tables]
    )
    projected = []
    for number, (table, product) in enumerate(zip(tables, products, strict=True)):
        wanted = most_axes(product.n, product.mean.size, study.selection.pca_components)
        found = agreed_axes(federation, f"{prefix}/axes/{number}", product.products, wanted)
        axes, _ = leading_axes(found, product.n)
        names = tuple(f"{prefix}_pc{i + 1}" for i in range(axes.shape[1]))
        columns = table.view.outputs()
        step = Project(columns=columns, mean=product.mean, axes=axes, names=names)
        projected.append(table.view.then(step))
    return projected


def components_asks(study: Study, width: int, tables: int) -> tuple[Disclosure, ...]:
    """Declare what `principal_components` asks for; a round each."""
    guarded = study.privacy.mode == "guarded"
    return (
        *moments_asks(study, width, tables),
        variance_asks(study, width, tables),
        *(rank_cells_asks(study, width, tables) if guarded else ()),
        sum_disclosure(study, CrossProducts(mean=np.zeros(width)), width, tables=tables),
    )


def _about_zero(support: Support) -> CrossProducts:
    """Ask for products of columns whose mean is about zero; the rest is corrected later."""
    return CrossProducts(mean=np.zeros(support.low.size), support=support)


def _frequent_columns(federation: Federation, views: Sequence[View]) -> list[Counted]:
    """Standardise the columns in which enough rows differ; three rounds."""
    study = federation.study
    found = moments(federation, views)
    asked = []
    for view, (mean, deviation) in zip(views, found, strict=True):
        edges = scaled_edges(mean, deviation)
        asked.append(SumItem(FoldHistogram(folds=study.folds, edges=edges), view, "train"))
    histograms = federation.sum_many(asked)
    tables = []
    for view, (mean, deviation), histogram in zip(views, found, histograms, strict=True):
        support = histogram.support()
        # a unit that is zero in all patients has no scale, wherever rare values are let in
        stays = frequent_in_all(study, support) & np.isfinite(deviation) & (deviation > 0)
        columns, _ = split(view.outputs(), stays)
        at = np.flatnonzero(stays)
        centre, scale = mean[at], deviation[at]
        step = Standardise(columns=columns, mean=centre, scale=scale)
        support = support.narrow(at)
        # of the columns' own units
        low, high = (support.low - centre) / scale, (support.high - centre) / scale
        counts = histogram.counts.sum(axis=0)[at]
        tables.append(
            Counted(
                view=view.restrict(columns).then(step),
                support=Support(low=low, high=high, apart=support.apart),
                cells=HistogramResult(edges=first_edges(at.size, CELLS), counts=counts),
            )
        )
    return tables


def _scored(federation: Federation, tables: Sequence[Counted]) -> list[Counted]:
    """Put normal scores in place of the values, without tied columns; three rounds.

    Raises
    ------
    StudyError : no column is left of a view.
    """
    (scored,) = run_together(federation, _laid(federation.study, tables))
    return list(scored)


def _laid(study: Study, tables: Sequence[Counted]) -> Procedure[list[Counted]]:
    tables = yield from refined(study, tables)
    parts = yield from without_ties(study, tables)
    tables = yield from shared(study, [_usable(*part) for part in parts])
    return [lay_scores(study, one) for one in tables]


def _usable(left: Counted, dropped: Names) -> Counted:
    if not left.names:
        raise StudyError(
            f"all of {len(dropped)} columns have one value for many patients",
            where="principal components",
            remedy="train the network for longer, or leave the feature-level fusion out",
        )
    return left
