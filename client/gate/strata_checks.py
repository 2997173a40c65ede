"""What areas within levels must be: of declared strata, withheld where the rules say so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from client.gate.schema import GateContext, expect
from common.evaluation.level_areas import LevelAreas, levels_told
from common.messages.exchanges import EvaluateRequest
from common.study.model import PrivacySettings
from common.study.strata import level_names, strata_columns

MOST_PATIENTS = 10_000_000


def check_strata(
    found: Mapping[str, LevelAreas], request: EvaluateRequest, context: GateContext
) -> None:
    """Levels of the study's strata, with areas where patients are enough and nowhere else."""
    columns = {column.name: column for column in strata_columns(context.study)}
    expect(set(found) == set(columns), "shape", "strata the study does not have")
    for name, levels in found.items():
        size = len(level_names(columns[name], request.cuts.get(name)))
        _check_levels(levels, size, request.edges.shape[0], context.privacy)


def _check_levels(found: LevelAreas, size: int, models: int, privacy: PrivacySettings) -> None:
    expect(found.counts.shape == (size, 2), "shape", "patients of levels")
    expect(found.hidden.shape == (size,) and len(found.areas) == size, "shape", "levels")
    counts = found.counts
    whole = (counts >= 0.0) & (counts <= MOST_PATIENTS) & (counts == np.rint(counts))
    expect(whole.all(), "value", "patients of levels that are no counts")
    expect(np.isin(found.hidden, (0.0, 1.0)).all(), "value", "levels that are withheld")
    hidden = found.hidden > 0.5
    expect((counts[hidden] == 0.0).all(), "too_few", "patients of a level that is withheld")
    expect(((counts == 0) | (counts >= privacy.min_cell)).all(), "too_few", "patients of a level")
    told = levels_told(counts, hidden, privacy)
    for own, area, allowed in zip(counts, found.areas, told, strict=True):
        expect(area.auc.shape == (models,), "shape", "areas of a level")
        expect(area.covariance.shape == (models, models), "shape", "covariances of a level")
        if not allowed:
            nothing = area.n == area.positives == 0 and np.isnan(area.auc).all()
            expect(nothing and np.isnan(area.covariance).all(), "too_few", "areas of a level")
            continue
        expect((area.n, area.positives) == (int(own.sum()), int(own[1])), "value", "areas")
        expect(((area.auc >= 0.0) & (area.auc <= 1.0)).all(), "value", "areas of a level")
