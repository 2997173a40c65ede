"""Feature-level fusion (paper, "Construction of the fusion model")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.transforms.views import Joined, View
from server.federation.batching import in_lockstep
from server.federation.federation import Federation
from server.phases.arm import Arm
from server.phases.linear import fit_linear_arm
from server.phases.spearman import spearman_filter
from server.phases.standardise import standardise

SHOWN_NOTE = "label-free steps of the last outer problem, the final model, are shown"


def fit_feature_fusion(federation: Federation, arms: Mapping[str, Arm]) -> Arm:
    """DLRad_FB: all arms' features side by side, selected and classified like one table.

    Outer fold k takes the deep features of the networks that never saw fold k.
    """
    base = [arms[name] for name in federation.study.base_models]
    joined: dict[tuple[int, ...], View] = {}
    views = []
    for outer in range(federation.study.folds + 1):
        parts = [arm.features[outer] for arm in base]
        key = tuple(id(part) for part in parts)
        views.append(joined.setdefault(key, View(source=Joined(parts=tuple(parts)))))
    distinct = list({id(view): view for view in views}.values())
    scaled, dropped = standardise(federation, distinct)
    (filtered,) = in_lockstep(federation, spearman_filter(federation.study, scaled))
    final = {
        id(view): (one.table.view, one.table.support)
        for view, one in zip(distinct, filtered, strict=True)
    }
    selection: dict[str, Any] = {
        "steps": (
            {"step": "columns", "count": len(distinct[-1].outputs())},
            {"step": "constant", "names": dropped[-1]},
            {"step": "rare", "names": filtered[-1].rare},
            {"step": "spearman", "names": filtered[-1].names},
        ),
        "notes": tuple(filter(None, (SHOWN_NOTE, filtered[-1].note))),
    }
    fitted = [final[id(view)][0] for view in views]
    supports = [final[id(view)][1] for view in views]
    arm = fit_linear_arm(federation, "fusion_feature", fitted, supports, (), selection)
    return arm.with_selection(correlation=filtered[-1].correlation_of(arm.selected))
