"""Harmonise tables over hospitals or scanners (ComBat, `common.learning.combat`).

The hospitals are asked for what their batches share. What a batch has of its own follows at its
hospital and stays there. No label is seen, so all training patients take part, as in the z-scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.learning.combat import Common, common_of
from common.messages.exchanges import SumItem
from common.statistics.base import Int
from common.statistics.fold_histogram import Support
from common.statistics.within_batches import WithinBatches
from common.study.model import Study
from common.transforms import Clip, Harmonise, Impute, Select, Standardise
from common.transforms.views import Joined, View, table
from server.phases.near_zero_variance import fold_histograms, frequent_in_all, split, variance_asks
from server.phases.protocol import Federation
from server.phases.standardise import moments, moments_asks

Names = tuple[str, ...]


def harmonise(federation: Federation, views: Sequence[View]) -> tuple[list[View], list[Names]]:
    """Lay the harmonising step on views of base tables; one round, four with covariates.

    Returns
    -------
    The views with the step laid on, and the columns that were dropped from each: those constant
    within every hospital, of which nothing but the difference between hospitals would be left.
    """
    study = federation.study
    covariates, support = _covariates(federation) if study.harmonisation.covariates else NOTHING
    count = 0 if covariates is None else len(covariates.outputs())
    fewest = study.harmonisation.min_batch
    statistic = WithinBatches(covariates=count, support=support, fewest=fewest)
    results = federation.sum_many(
        [SumItem(statistic, _beside(view, covariates), "train") for view in views]
    )
    harmonised, dropped = [], []
    for view, found in zip(views, results, strict=True):
        names = view.outputs()
        common = common_of(found.mean, found.squares, found.cross, found.products, found.n)
        varies = common.scale > 0
        kept = tuple(name for name, good in zip(names, varies, strict=True) if good)
        step = _step(study, kept, common.narrow(np.flatnonzero(varies)), covariates)
        harmonised.append(view.restrict(kept).then(step))
        dropped.append(tuple(name for name in names if name not in kept))
    return harmonised, dropped


NOTHING: tuple[View | None, Support | None] = (None, None)


def _beside(view: View, covariates: View | None) -> View:
    return view if covariates is None else View(source=Joined(parts=(view, covariates)))


def _step(study: Study, names: Names, common: Common, covariates: View | None) -> Harmonise:
    settings = study.harmonisation
    return Harmonise(
        columns=names,
        kept=names,
        common=common,
        covariates=covariates,
        fewest=settings.min_batch,
        unseen=settings.unseen,
    )


def covariate_columns(study: Study) -> Names:
    """Return the columns of the clinical table that the covariates have.

    >>> from common.study.harmonisation import HarmonisationSettings
    >>> from common.study.model import ClinicalColumn, Study
    >>> stage = ClinicalColumn(name="stage", kind="categorical", levels=("I", "II", "III"))
    >>> kept = HarmonisationSettings(covariates=("stage",))
    >>> covariate_columns(Study.model_construct(clinical=(stage,), harmonisation=kept))
    ('stage=II', 'stage=III')
    """
    wanted = set(study.harmonisation.covariates)
    return tuple(name for name in study.clinical_columns if name.partition("=")[0] in wanted)


def _covariates(federation: Federation) -> tuple[View | None, Support | None]:
    """Return the filled, standardised and limited covariates, without rare ones; three rounds."""
    study, names = federation.study, covariate_columns(federation.study)
    raw = table("clinical").then(Select(columns=names))
    ((mean, deviation),) = moments(federation, [raw])
    usable: Int = np.flatnonzero(np.isfinite(deviation) & (deviation > 0))
    names = tuple(names[i] for i in usable)
    if not names:
        return NOTHING
    centre, scale = mean[usable], deviation[usable]
    fill = Impute(columns=names, fill=centre)
    scaled = raw.restrict(names).then(fill, Standardise(columns=names, mean=centre, scale=scale))
    (found,) = federation.sum_many(fold_histograms(study, [scaled]))
    stays = frequent_in_all(study, found.support())
    if not stays.any():
        return NOTHING
    kept, _ = split(names, stays)
    view, support = scaled.restrict(kept), found.support().narrow(np.flatnonzero(stays))
    if study.privacy.mode == "guarded":
        limit = np.full(len(kept), study.selection.clip)
        view, support = view.then(Clip(limit=study.selection.clip)), support.limited(-limit, limit)
    return view, support


def unharmonised(view: View) -> View:
    """Return a view without its harmonising step, for readings compared at one hospital."""
    steps = [Select(columns=s.kept) if isinstance(s, Harmonise) else s for s in view.transforms]
    return View(source=view.source, transforms=tuple(steps))


def in_words(study: Study, dropped: Names) -> str:
    """Describe the step for the notes of a model.

    Parameters
    ----------
    dropped : columns that are constant within every batch.
    """
    settings = study.harmonisation
    over = "hospitals" if settings.batch == "hospital" else "scanners"
    keeps = ", ".join(settings.covariates)
    kept = f", keeping what {keeps} explains" if keeps else ""
    left = f"; {len(dropped)} constant within every hospital left out" if dropped else ""
    return f"features harmonised over {over} (ComBat){kept}{left}"


def harmonise_rounds(study: Study) -> int:
    """Return the rounds that `harmonise` takes."""
    return 4 if study.harmonisation.covariates else 1


def harmonise_asks(study: Study, width: int, tables: int) -> tuple[Disclosure, ...]:
    """Declare what `harmonise` asks for."""
    beside = covariate_columns(study)
    within = WithinBatches(covariates=len(beside))
    asked = sum_disclosure(study, within, width + len(beside), tables=tables)
    if not beside:
        return (asked,)
    return (*moments_asks(study, len(beside), 1), variance_asks(study, len(beside)), asked)
