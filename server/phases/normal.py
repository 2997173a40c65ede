"""Normal scores in place of standardised values, before any matrix of their products is made."""

from __future__ import annotations

import numpy as np

from common.learning.normal_scores import knots_of, score_grid
from common.statistics.fold_histogram import Support
from common.study.model import Study
from common.transforms import NormalScores
from server.phases.rank_cells import Counted


def lay_scores(study: Study, table: Counted) -> Counted:
    """The view with the step laid on, and the evidence in its units.

    Parameters
    ----------
    table : in cells that every site may be told.
    """
    limit = study.selection.clip
    knots = knots_of(table.cells, limit)
    step = NormalScores(columns=table.names, knots=knots, scores=score_grid(limit))
    support = table.support
    low, high = step.of(support.low[None])[0], step.of(support.high[None])[0]
    # outside the knots values become one: a cell that ends there takes in all of them
    low = np.where(low <= -limit, -np.inf, low)
    high = np.where(high >= limit, np.inf, np.maximum(high, np.nextafter(-limit, np.inf)))
    moved = Support(low=low, high=high, apart=support.apart)
    return Counted(view=table.view.then(step), support=moved, cells=table.cells)
