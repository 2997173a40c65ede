"""Cox models of one table, nested in the study's folds: every penalty and fold shares the rounds.

As with support vector machines, an outer problem chooses its penalty by the inner folds that it may
see, here by the partial likelihood that they add; the stronger penalty wins a tie. A linear
predictor becomes a risk by one cumulative hazard for all hospitals, that of the out-of-fold values:
models are compared within hospitals, but a risk is for a patient of any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.learning.cox import CoxBatch
from common.learning.cox_lasso import score_question
from common.learning.descent import Problem
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.cox import CoxGradient
from common.statistics.risk_sums import RiskSums, RiskSumsResult, risk_starts
from common.study.model import Study
from common.transforms import EventRisk, Linear
from common.transforms.views import View
from common.utils import portable
from server.phases.batching import distinct
from server.phases.lasso import OuterFold
from server.phases.protocol import UNREAD, Federation, only_if
from server.phases.svm import nested_problems

# of the logarithm of a cumulative hazard at a horizon
LOWEST, HIGHEST = -30.0, 5.0
NO_LASSO: Any = None
"""In place of the LASSO of an outer problem whose columns nobody chose."""


@dataclass(frozen=True)
class FittedCox:
    """The Cox model an outer problem chose.

    Parameters
    ----------
    decision : view that ends in the linear predictor, on mean 0 over the training rows.
    columns : one a weight.
    weights : (columns,), logarithms of hazard ratios of one unit of each column.
    cost : inverse of the ridge penalty.
    """

    decision: View
    columns: tuple[str, ...]
    weights: Float
    cost: float


def fit_cox_models(
    federation: Federation, name: str, outers: Sequence[OuterFold]
) -> tuple[list[FittedCox], int]:
    """Fit the model of every outer problem; count the problems that had not converged."""
    study, grid = federation.study, federation.study.time_grid
    views, places = distinct([outer.view for outer in outers])
    used = [
        tuple(
            column
            for column in view.outputs()
            if any(column in o.columns for o, at in zip(outers, places, strict=True) if at == place)
        )
        for place, view in enumerate(views)
    ]
    problems: list[list[Problem]] = [[] for _ in views]
    starts = []
    for outer, place in zip(outers, places, strict=True):
        starts.append(len(problems[place]))
        mask = np.array([column in outer.columns for column in used[place]])
        problems[place] += nested_problems(study, outer, mask)
    batches = []
    for place, view in enumerate(views):
        outputs = view.outputs()
        at = np.array([outputs.index(column) for column in used[place]], dtype=np.int64)
        gram = outers[places.index(place)].gram.narrow(at)
        tolerance = study.svm.tolerance
        batches.append(CoxBatch(gram, problems[place], grid.periods, tolerance))
    for _ in range(rounds_of(study)):
        still = [place for place, batch in enumerate(batches) if not batch.converged]
        if not still:
            break
        items = [
            SumItem(batches[place].request(), views[place].restrict(used[place]), "train")
            for place in still
        ]
        for place, result in zip(still, federation.sum_many(items), strict=True):
            batches[place].update(result)
    fitted = [
        _choose(study, name, outer, batches[place], start, used[place])
        for outer, place, start in zip(outers, places, starts, strict=True)
    ]
    return fitted, sum(len(batch.active) for batch in batches)


def rounds_of(study: Study) -> int:
    """Return the most rounds of gradients; one more question asks for scores at weights 0."""
    return max(min(study.svm.max_rounds, study.privacy.max_svm_rounds) - 1, 1)


def _choose(
    study: Study, name: str, outer: OuterFold, batch: CoxBatch, start: int, used: tuple[str, ...]
) -> FittedCox:
    """Choose the cost with the least mean loss of an event left out."""
    inner, candidates = study.folds - len(outer.excluded), []
    for number, cost in enumerate(study.cost_grid):
        first = start + number * (inner + 1)
        at = slice(first, first + inner)
        loss, events = batch.validation_loss[at].sum(), batch.validation_count[at].sum()
        candidates.append((float(loss) / max(float(events), 1.0), cost, first + inner))
    _, cost, position = min(candidates)
    own = outer.view.restrict(outer.columns)
    columns = own.outputs()
    weights = batch.weights[position][[used.index(column) for column in columns]]
    outputs = outer.view.outputs()
    places = [outputs.index(column) for column in columns]
    mean = outer.gram.training(outer.excluded).mean_x[places]
    step = Linear(columns, weights, intercept=-portable.dot(mean, weights), name=name)
    return FittedCox(own.then(step), columns, weights, cost)


def event_risk(federation: Federation, name: str, out_of_fold: View, patients: float) -> EventRisk:
    """Find the step from linear predictors to risks at the study's first horizon; one round.

    The sums by period stay at the coordinator: a period may hold few events of the other hospitals.
    So hospitals take this number as it comes, within limits; it is the same for every patient.
    """
    grid = federation.study.time_grid
    last = grid.last_periods[0]
    asked = RiskSums(grid.periods, risk_starts(grid.periods, last, patients))
    found: RiskSumsResult = federation.sum(asked, out_of_fold)
    own: Any = UNREAD
    if found is not UNREAD:
        hazard = float(found.cumulative_hazard()[0, last])
        own = float(np.clip(np.log(max(hazard, 1e-300)), LOWEST, HIGHEST))
    return EventRisk(b=federation.agreed(f"{name}/hazard", own, only_if(_may_be_a_hazard)))


def _may_be_a_hazard(found: Any) -> bool:
    return isinstance(found, float) and LOWEST <= found <= HIGHEST


def unconverged(study: Study, open_problems: int) -> tuple[str, ...]:
    """Return a note on the problems that had not converged; none without any."""
    if not open_problems:
        return ()
    return (f"{open_problems} Cox models had not converged after {rounds_of(study)} rounds",)


def record_of(final: FittedCox, risk: EventRisk) -> dict[str, Any]:
    """Return the final model for the report."""
    return {
        "cost": final.cost,
        "log_hazard_ratios": dict(zip(final.columns, final.weights.tolist(), strict=True)),
        "baseline": risk.b,
    }


def cox_asks(study: Study, width: int, tables: int) -> tuple[tuple[Disclosure, ...], int]:
    """Declare scores, gradients of all penalties and folds, and the hazard; rounds at most."""
    scores = score_question(study.folds, width, study.time_grid.periods)
    gradients, rounds = gradient_asks(study, width, tables)
    return (sum_disclosure(study, scores, width, tables=tables), *gradients), 1 + rounds


def gradient_asks(study: Study, width: int, tables: int) -> tuple[tuple[Disclosure, ...], int]:
    """Declare gradients of all penalties and folds, and the hazard; rounds at most."""
    grid, folds = study.time_grid, study.folds
    last = grid.last_periods[0]
    costs = len(study.cost_grid)
    problems = costs * (folds * folds + folds + 1) if tables == 1 else costs * (folds + 1)
    gradient = CoxGradient(
        weights=np.zeros((problems, width)),
        excluded=np.zeros((problems, folds)),
        validation=np.zeros(problems, dtype=np.int64),
        periods=grid.periods,
    )
    rounds = rounds_of(study)
    return (
        sum_disclosure(study, gradient, width, tables=tables, rounds=rounds),
        sum_disclosure(study, RiskSums(grid.periods, np.arange(last + 2)), 1),
    ), 1 + rounds
