"""Results of the federated run and of its references as one results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROWS = (
    *("performance", "site_performance", "delong", "roc", "calibration", "decision_curve"),
    *("strata", "strata_tests", "transfers"),
)


def merge_results(trees: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first tree (the federated run) with the rows of the others added.

    Table 1, study, software and warnings are those of the federated run.
    """
    merged = dict(trees[0])
    for tree in trees[1:]:
        for key in (*ROWS, "refusals"):
            merged[key] = [*merged.get(key, ()), *tree.get(key, ())]
        for key in ("selection", "fusion", "training"):
            merged[key] = {**merged[key], **tree[key]}
        timing = {phase: dict(runs) for phase, runs in merged["timing"].items()}
        for phase, runs in tree["timing"].items():
            timing.setdefault(phase, {}).update(runs)
        merged["timing"] = timing
    return merged
