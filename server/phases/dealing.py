"""Folds by the rare levels of all sites: count the levels, then let every site deal its patients.

No site knows or learns another's counts: the sum decides in how many folds a level is open, and
each site puts its own patients into these; see `client.data.folds`.
"""

from __future__ import annotations

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.statistics.base import Float
from common.statistics.dealt_folds import DealtFolds, LevelTotals
from common.study.model import Study
from common.study.strata import asks_for_levels, dealt_columns
from common.transforms import Select
from common.transforms.views import table
from server.phases.protocol import Federation

ROUNDS = 2


def deal_folds(federation: Federation) -> Float:
    """Let every site deal its folds; return the rows and positives (2, folds) in each.

    Two rounds, or none where nothing but the outcome decides, or one site trains and knows all.
    """
    study = federation.study
    if not asks_for_levels(study):
        return np.zeros((2, 0))
    view = table("coded").then(Select(columns=tuple(c.name for c in dealt_columns(study))))
    totals = federation.sum(LevelTotals(levels=_most_levels(study)), view)
    dealt = federation.sum(DealtFolds(folds=study.folds, totals=totals.counts), view)
    return np.array([dealt.rows, dealt.positives])


def dealing_asks(study: Study) -> tuple[tuple[Disclosure, ...], int]:
    """Declare what `deal_folds` asks for, and its rounds."""
    if not asks_for_levels(study):
        return (), 0
    width, most = len(dealt_columns(study)), _most_levels(study)
    dealt = DealtFolds(folds=study.folds, totals=np.zeros((width, most)))
    asked = (LevelTotals(levels=most), dealt)
    return tuple(sum_disclosure(study, one, width) for one in asked), ROUNDS


def _most_levels(study: Study) -> int:
    return max(len(column.levels) for column in dealt_columns(study))
