"""Radiomics model: z-score, Spearman, ICC, LASSO, SVM (paper, "Feature selection ...")."""

from __future__ import annotations

from typing import Any

from common.transforms import Select
from common.transforms.base import positions
from common.transforms.views import table
from server.federation.batching import in_lockstep
from server.federation.federation import Federation
from server.phases.arm import Arm
from server.phases.linear import fit_linear_arm
from server.phases.normal import lay_scores
from server.phases.spearman import spearman_filter
from server.phases.standardise import reliable_columns, standardise

SCORES_NOTE = "guarded mode: the features enter LASSO and machine as normal scores"


def fit_radiomics(federation: Federation) -> Arm:
    """The radiomics arm, in the paper's order of steps."""
    columns = federation.columns("radiomics")
    raw = table("radiomics").then(Select(columns=columns))
    (scaled,), (constant,) = standardise(federation, [raw])
    guarded = federation.study.privacy.mode == "guarded"
    (filtered,), (trusted, note) = in_lockstep(
        federation,
        spearman_filter(federation.study, [scaled], drop_tied=guarded),
        reliable_columns(federation, scaled),
    )
    uncorrelated = filtered.names
    reliable = tuple(name for name in uncorrelated if name in set(trusted))
    if not reliable:
        reliable, note = uncorrelated, f"{note}; no feature passed, so the step was left out"
    kept = filtered.table.narrow(positions(uncorrelated, reliable))
    notes = [note, filtered.note]
    if guarded:
        kept = lay_scores(federation.study, kept)
        notes.append(SCORES_NOTE)
    view, support = kept.view, kept.support
    selection: dict[str, Any] = {
        "steps": (
            {"step": "columns", "count": len(columns)},
            {"step": "constant", "names": constant},
            {"step": "rare", "names": filtered.rare},
            *([{"step": "tied", "names": filtered.tied}] if guarded else ()),
            {"step": "spearman", "names": uncorrelated},
            {"step": "icc", "names": reliable},
        ),
        "notes": tuple(filter(None, notes)),
    }
    outer = federation.study.folds + 1
    views = [view] * outer
    arm = fit_linear_arm(federation, "radiomics", views, [support] * outer, views, selection)
    return arm.with_selection(correlation=filtered.correlation_of(arm.selected))
