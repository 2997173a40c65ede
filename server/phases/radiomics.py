"""Radiomics model: z-score, Spearman, ICC, LASSO, SVM (paper, "Feature selection ...")."""

from __future__ import annotations

from typing import Any

from common.dossier.disclosure import Phase
from common.models import MODELS
from common.study.model import Study
from common.transforms import Select
from common.transforms.base import positions
from common.transforms.views import table
from server.phases.batching import run_together
from server.phases.fitted_model import FittedModel, ModelPhase, register
from server.phases.harmonise import (
    harmonise,
    harmonise_asks,
    harmonise_rounds,
    in_words,
    unharmonised,
)
from server.phases.linear import fit_linear_model, linear_asks
from server.phases.protocol import Federation
from server.phases.rank_cells import lay_scores
from server.phases.spearman import spearman_asks, spearman_filter
from server.phases.standardise import (
    moments_asks,
    readings_asks,
    reliable_columns,
    standardise,
)

SCORES_NOTE = "guarded mode: the features enter LASSO and machine as normal scores"


def fit_radiomics(federation: Federation) -> FittedModel:
    """Fit the radiomics model, in the paper's order of steps."""
    columns = federation.columns("radiomics")
    raw, notes = table("radiomics").then(Select(columns=columns)), []
    within: tuple[str, ...] = ()
    if federation.study.harmonises("radiomics"):
        (raw,), (within,) = harmonise(federation, [raw])
        notes.append(in_words(federation.study, within))
    (scaled,), (constant,) = standardise(federation, [raw])
    guarded = federation.study.privacy.mode == "guarded"
    (filtered,), (trusted, note) = run_together(
        federation,
        spearman_filter(federation.study, [scaled], drop_tied=guarded),
        reliable_columns(federation, unharmonised(scaled)),
    )
    uncorrelated = filtered.names
    reliable = tuple(name for name in uncorrelated if name in set(trusted))
    if not reliable:
        reliable, note = uncorrelated, f"{note}; no feature passed, so the step was left out"
    kept = filtered.table.narrow(positions(uncorrelated, reliable))
    notes += [note, filtered.note]
    if guarded:
        kept = lay_scores(federation.study, kept)
        notes.append(SCORES_NOTE)
    view, support = kept.view, kept.support
    selection: dict[str, Any] = {
        "steps": (
            {"step": "columns", "count": len(columns)},
            {"step": "constant", "names": (*within, *constant)},
            {"step": "rare", "names": filtered.rare},
            *([{"step": "tied", "names": filtered.tied}] if guarded else ()),
            {"step": "spearman", "names": uncorrelated},
            {"step": "icc", "names": reliable},
        ),
        "notes": tuple(filter(None, notes)),
    }
    outer = federation.study.folds + 1
    views = [view] * outer
    model = fit_linear_model(federation, "radiomics", views, [support] * outer, views, selection)
    return model.with_selection(correlation=filtered.correlation_of(model.selected))


def radiomics_asks(study: Study) -> Phase:
    """Declare what `fit_radiomics` asks for."""
    width = study.radiomics.expected_features
    fitted, rounds = linear_asks(study, width, tables=1)
    harmonised = study.harmonises("radiomics")
    asked = (
        *(harmonise_asks(study, width, 1) if harmonised else ()),
        *moments_asks(study, width, 1),
        *spearman_asks(study, width, 1),
        readings_asks(study, width),
        *fitted,
    )
    rounds += 7 + (harmonise_rounds(study) if harmonised else 0)
    return Phase("radiomics", "The radiomics model", rounds, asked)


register(
    ModelPhase(
        MODELS["radiomics"],
        lambda sites, _: fit_radiomics(sites),
        radiomics_asks,
        lambda study: study.radiomics.expected_features,
    )
)
