"""What is asked about probabilities: of test sets, and of training rows where none are pooled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from common.dossier.asked import Asked, Phase, sums
from common.evaluation.local import Evaluation
from common.statistics.class_histogram import (
    MOST_CELLS,
    ClassCells,
    ClassHistogram,
)
from common.statistics.forest import NodeCounts
from common.statistics.histogram import Histogram
from common.statistics.placements import Placements
from common.statistics.scores import (
    BINS,
    THRESHOLDS,
    BinnedCalibration,
    BrierSums,
    Confusion,
    DecisionCounts,
)
from common.study.model import Study
from common.study.strata import most_levels, strata_columns

# as the coordinator's phase has them: cells of a model's probability, levels of a tree, and of each
# forest that is compared the columns that a split looks at
PROBABILITY_CELLS = 100
DEPTH = 4
LOOKS = (1, 2, 1, 2, 1, 2)
Parts = dict[str, tuple[int, ...]]


def scores_over_sites(study: Study, models: int, subset: str) -> tuple[Asked, ...]:
    """Every measure of a set over sites; two rounds."""
    edges, counts = np.zeros((models, MOST_CELLS + 1)), np.zeros((models, MOST_CELLS))
    cells = ClassCells(edges=edges, counts=counts, lower=counts, upper=counts)
    placements = Placements(edges=edges, single=counts, negatives=cells, positives=cells)
    return tuple(
        sums(study, statistic, models, subset)
        for statistic in (
            ClassHistogram(edges=edges),
            Confusion(cutoffs=np.zeros(models)),
            BinnedCalibration(),
            BrierSums(),
            DecisionCounts(),
            placements,
        )
    )


def handed_out(study: Study, models: int) -> Iterator[tuple[str, str, Parts]]:
    """Set, what is told of it, and its arrays, for every set that is scored at the sites."""
    areas: Parts = {"auc": (models,), "covariance": (models, models)}
    for test in study.test_sets:
        if len(study.members(test.name)) > 1:
            yield test.name, "areas of the own patients", areas
        else:
            yield test.name, "all measures of the set", {**areas, **_measures(models)}
            levels = sum(most_levels(column) for column in strata_columns(study))
            if levels:
                by_level: Parts = {"auc": (levels, models), "covariance": (levels, models, models)}
                yield test.name, "areas within strata", {**by_level, "counts": (levels, 2)}


def _measures(models: int) -> Parts:
    """Arrays of an `Evaluation`, beside the areas."""
    sizes: Parts = {
        "histogram": (models, 4 * MOST_CELLS + 1),
        "confusion": (models, 4),
        "calibration": (models, 3, BINS),
        "brier": (models,),
        "decision": (models, 2, THRESHOLDS.size),
    }
    return {name: sizes[name] for name in Evaluation.__dataclass_fields__ if name != "delong"}


def fusion_by_bins(study: Study, models: int) -> Phase:
    """Cut-offs, and a forest grown from counts; no row leaves."""
    stacks = "fusion_decision" in study.fusion_models
    edges = np.zeros((models, PROBABILITY_CELLS + 1))
    asked = [sums(study, Histogram(edges=edges), models)]
    rounds = 4
    if stacks:
        base = len(study.base_models)
        asked.append(sums(study, _nodes(study, base), base, rounds=DEPTH))
        rounds += DEPTH
    known = models + (len(LOOKS) if stacks else 0)
    curves = ClassHistogram(edges=np.zeros((known, MOST_CELLS + 1)))
    asked.append(sums(study, curves, known))
    measured = scores_over_sites(study, models + int(stacks), "train")
    purpose = "Cut-offs, and the model on all probabilities"
    return Phase("fusion_decision", purpose, rounds, (*asked, *measured))


def _nodes(study: Study, base: int) -> NodeCounts:
    """The deepest level of all trees, every node open."""
    trees = study.fusion.trees * (study.folds + 1) * len(LOOKS)
    looks = sum(min(look, base) for look in LOOKS)
    questions = study.fusion.trees * (study.folds + 1) * looks * 2 ** (DEPTH - 1)
    each = np.zeros(questions, dtype=np.int64)
    return NodeCounts(
        edges=np.zeros((base, study.fusion.bins + 1)),
        feature=np.zeros((trees, 1), dtype=np.int64),
        threshold=np.zeros((trees, 1)),
        excluded=np.zeros(trees, dtype=np.int64),
        draw=np.zeros(trees, dtype=np.int64),
        seed=0,
        tree=each,
        node=each,
        column=each,
    )
