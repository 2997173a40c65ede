"""A time to event: clinical, radiomics and fused Cox models against the usual programs.

lifelines, scikit-survival and statsmodels come with the development set-up alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from common.bundle.bundle import Bundle, sign_files
from common.evaluation.follow_up import GroupedFollowUp, life_table
from common.evaluation.follow_up_findings import FollowUpFindings
from common.statistics.base import Float, Rows
from common.study.follow_up import FollowUp
from common.study.model import Study
from common.transforms import EventRisk, Linear
from common.transforms.views import Joined, View, materialise
from server.phases.clinical import fit_clinical
from server.phases.decision import STACKER
from server.phases.evaluation import evaluate_test_sets
from server.phases.fitted_model import FittedModel
from server.phases.fusion import fit_feature_fusion
from server.phases.radiomics import fit_radiomics
from server.phases.risk_groups import decide_by_risk
from sim.equality.findings import Findings, Step, at_most
from sim.equality.sites import (
    Hospitals,
    PooledTables,
    WatchedFederation,
    federate,
    pooled_rows,
    synthetic_sites,
)
from sim.equality.synthetic import SMALL, SyntheticCohort, generate
from sim.sites import COORDINATOR, simulated_identity

LIBRARIES = ("lifelines", "sksurv", "statsmodels")
GRID = FollowUp(ends=tuple(range(2, 26, 2)), horizons=(8.0, 14.0))
PART, SUBSET, SPLIT = "follow_up", "internal", "internal_test"
FEATURES = 120


def lacking() -> str:
    """Name the programs to compare with that are not installed."""
    return ", ".join(name for name in LIBRARIES if find_spec(name) is None)


def compare_follow_up(findings: Findings, study: Study, work: Path, seed: int) -> None:
    """Fit and measure the models of a time to event, and compare both."""
    fused = {"follow_up": GRID, "fusion_models": ("fusion_feature", STACKER)}
    timed = study.model_copy(update=fused)
    drawn = generate(replace(SMALL, features=FEATURES), seed)
    cohort = with_times(drawn, seed)
    # as the hospitals' rows are stacked
    at = np.concatenate([np.flatnonzero((cohort.site == k) & (cohort.split == SPLIT))
                         for k in range(len(timed.site_names))])  # fmt: skip
    seen, happened = (own[at] for own in drawn_times(drawn, seed))
    sites = synthetic_sites(cohort, timed, work)
    federation = federate(timed, Hospitals(sites))
    federation.part = PART
    fitted = {"clinical": fit_clinical(federation), "radiomics": fit_radiomics(federation)}
    fitted["fusion_feature"] = fit_feature_fusion(federation, fitted)
    tables = PooledTables(sites, timed)
    rows = pooled_rows(sites, timed, "clinical", "train")
    step = findings.step("time to event: Cox", "statsmodels, scipy", federation.traffic(PART))
    for name, model in fitted.items():
        apart = weights_apart(model, tables, rows)
        step.add(f"{name}: log hazard ratios, per SD", apart, at_most(3e-4))
        apart = baseline_apart(model, tables, rows)
        step.add(f"{name}: baseline hazard, logarithm", apart, at_most(1e-6))
    decision = decide_by_risk(federation, fitted)
    if decision.stacker is not None:
        apart = fusion_apart(decision.stacker.final, timed, fitted, tables, rows)
        step.add(f"{STACKER}: log hazard ratios, per SD", apart, at_most(3e-4))
    found = _measured(federation, decision.models, decision.cutoffs, decision.edges)
    tested = pooled_rows(sites, timed, "clinical", SUBSET)
    reference = "scikit-survival, statsmodels, lifelines"
    step = findings.step("time to event: measures", reference, None)
    for place, (name, view) in enumerate(decision.models.items()):
        risk = materialise(view, tables, SUBSET).values[:, 0]
        _compare(step, found, place, name, risk, tested, decision.cutoffs[name])
        high = risk >= decision.cutoffs[name]
        apart = curves_apart(found.groups[place], (~high, high), seen, happened)
        step.add(f"{name}: life tables, Kaplan-Meier of the times", apart, at_most(0.1))


def drawn_times(cohort: SyntheticCohort, seed: int) -> tuple[Float, NDArray[np.bool_]]:
    """Return when each patient was last seen, and who had the event then."""
    random = np.random.default_rng(seed)
    hazard = np.exp(1.5 * cohort.label + 0.2 * cohort.site)
    time = 40.0 * random.weibull(1.2, cohort.label.size) / hazard
    leaves = random.uniform(3.0, 40.0, cohort.label.size)
    return np.minimum(time, leaves), np.asarray(time <= leaves)


def with_times(cohort: SyntheticCohort, seed: int) -> SyntheticCohort:
    """Return the cohort with times: patients of the positive class have the event sooner."""
    pairs = zip(*(own.tolist() for own in drawn_times(cohort, seed)), strict=True)
    placed = [GRID.place(seen, happened) for seen, happened in pairs]
    period, label = (np.array(own, dtype=np.int64) for own in zip(*placed, strict=True))
    return replace(cohort, label=label, period=period)


def weights_apart(model: FittedModel, tables: PooledTables, rows: Rows) -> float:
    """Return the largest difference of the weights from the penalised maximum that scipy finds.

    The partial likelihood, stratified by hospital and with Breslow's ties, is statsmodels'.
    """
    before, linear = _parted(model.final)
    z = materialise(before, tables, "train").values
    return _apart(z, linear.weights, model.selection["cox"]["cost"], rows)


def baseline_apart(model: FittedModel, tables: PooledTables, rows: Rows) -> float:
    """Return the difference of the logarithm of the cumulative baseline hazard from statsmodels'.

    Both are Breslow's of the out-of-fold linear predictor by the first horizon. Over the hospitals
    the patients at risk are known at some periods, and lie on straight lines between.
    """
    from statsmodels.duration.hazard_regression import PHReg, PHRegResults

    (risk,) = (step for step in model.final.transforms if isinstance(step, EventRisk))
    before = View(model.out_of_fold.source, model.out_of_fold.transforms[:-1])
    predictor = materialise(before, tables, "train").values
    status = rows.label.astype(int)
    cox = PHReg(rows.period, predictor, status=status, ties="breslow")
    as_given = PHRegResults(cox, np.ones(1), np.zeros((1, 1)))
    ((times, hazard, _),) = as_given.baseline_cumulative_hazard
    # as statsmodels has it, up to but without each time
    own = float(hazard[np.flatnonzero(times > GRID.last_periods[0])[0]])
    return abs(float(risk.b) - float(np.log(own)))


def fusion_apart(
    final: View, study: Study, fitted: dict[str, FittedModel], tables: PooledTables, rows: Rows
) -> float:
    """Return the same of the decision fusion, which learns from out-of-fold risks.

    Which of the penalties it has chosen is the one that fits best.
    """
    before, linear = _parted(final)
    parts = tuple(fitted[name].out_of_fold for name in study.base_models)
    learns = View(Joined(parts), before.transforms)
    z = materialise(learns, tables, "train").values
    return min(_apart(z, linear.weights, cost, rows) for cost in study.cost_grid)


def _parted(final: View) -> tuple[View, Linear]:
    """Return what a model's linear step takes, and that step."""
    steps = final.transforms
    (place,) = [i for i, step in enumerate(steps) if isinstance(step, Linear)]
    linear: Linear = steps[place]
    return View(final.source, steps[:place]), linear


def _apart(z: Float, weights: Float, cost: float, rows: Rows) -> float:
    from statsmodels.duration.hazard_regression import PHReg

    status = rows.label.astype(int)
    cox = PHReg(rows.period, z, status=status, ties="breslow", strata=rows.batch)
    found = optimize.minimize(
        lambda w: 0.5 * w @ w - cost * cox.loglike(w),
        np.zeros(z.shape[1]),
        jac=lambda w: w - cost * cox.score(w),
        method="BFGS",
        options={"gtol": 1e-8},
    )
    return float(np.abs(found.x - weights).max())


def curves_apart(
    found: GroupedFollowUp,
    groups: Sequence[NDArray[np.bool_]],
    seen: Float,
    happened: NDArray[np.bool_],
) -> float:
    """Return the largest distance of the groups' life tables from their times' own estimates."""
    from lifelines import KaplanMeierFitter

    ends = np.array(GRID.ends)[found.last]
    curves = life_table(found.events, found.censored).survival
    exact = [KaplanMeierFitter().fit(seen[own], happened[own]).predict(ends) for own in groups]
    return float(np.abs(curves - np.array(exact)).max())


def _measured(
    federation: WatchedFederation, models: dict[str, View], cutoffs: dict[str, float], edges: Float
) -> FollowUpFindings:
    """Hand out the models and return the measures of the spread test set."""
    bundle = Bundle(
        study=federation.study.digest(),
        models=models,
        networks={},
        cutoffs=cutoffs,
        software={},
        settings=federation.study.canonical(),
        training={},
        edges=edges,
    )
    files = sign_files(bundle.to_files(), simulated_identity(COORDINATOR))
    found = evaluate_test_sets(federation, bundle, files, edges)
    return next(one for one in found.follow_up if one.subset == SUBSET)


def _compare(
    step: Step,
    found: FollowUpFindings,
    place: int,
    name: str,
    risk: Float,
    rows: Rows,
    cutoff: float,
) -> None:
    """Compare the measures of one model on the test set."""
    from lifelines import KaplanMeierFitter
    from lifelines.statistics import logrank_test
    from sksurv.metrics import (
        concordance_index_censored,
        concordance_index_ipcw,
        cumulative_dynamic_auc,
    )
    from sksurv.util import Surv
    from statsmodels.duration.survfunc import survdiff

    assert rows.period is not None  # noqa: S101  the study has times
    happened, time = rows.label > 0.5, rows.period + 1.0
    # events come before the censorings of their period
    outcome = Surv.from_arrays(happened, time - 0.25 * happened)
    harrell = concordance_index_censored(happened, time, risk, tied_tol=0)[0]
    uno = concordance_index_ipcw(outcome, outcome, risk, tied_tol=0)[0]
    ends = np.array(GRID.last_periods) + 1.0
    areas, _ = cumulative_dynamic_auc(outcome, outcome, risk, ends, tied_tol=0)
    step.add(f"{name}: concordance, Harrell", abs(found.harrell[place, 0] - harrell), at_most(3e-3))
    step.add(f"{name}: concordance, Uno", abs(found.uno[place, 0] - uno), at_most(3e-3))
    apart = np.abs(found.areas[place, :, 0] - areas).max()
    step.add(f"{name}: areas at two horizons", apart, at_most(5e-3))
    whole = KaplanMeierFitter().fit(rows.period, happened)
    apart = abs(found.calibration[place].whole[1] - (1.0 - whole.predict(GRID.last_periods[0])))
    step.add(f"{name}: observed risk, Kaplan-Meier", apart, at_most(1e-9))
    apart = abs(found.calibration[place].whole[0] - risk.mean())
    step.add(f"{name}: predicted risk", apart, at_most(5e-3))
    high = risk >= cutoff
    test = logrank_test(rows.period[high], rows.period[~high], happened[high], happened[~high])
    within, _ = survdiff(rows.period, rows.label, high.astype(int), strata=rows.batch)
    for what, own, theirs in (
        ("log-rank", found.tests[place, 0], test.test_statistic),
        ("log-rank within hospitals", found.within[place, 0], within),
    ):
        step.add(f"{name}: {what}, relative", abs(own - theirs) / max(theirs, 1e-9), at_most(1e-6))
