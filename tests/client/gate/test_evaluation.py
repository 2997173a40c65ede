"""The gate before the measures of a site's test patients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from client.gate.schema import GateContext
from common.evaluation.calibration_fit import CalibrationFit
from common.evaluation.canaries import CanaryAudit, CanaryFigures
from common.evaluation.follow_up_findings import measure_locally
from common.evaluation.local import evaluate_locally
from common.evaluation.membership import MembershipAudit
from common.evaluation.release_audit import ReleaseAudit
from common.messages.exchanges import EvaluateReply, EvaluateRequest
from common.statistics.base import Rows
from common.statistics.class_histogram import score_edges
from common.statistics.placements import DeLongResult
from common.study.follow_up import FollowUp
from common.study.model import Study
from tests.fixtures import gate

FIT = CalibrationFit(20, 10, *(np.full(2, value) for value in (9.5, 0.1, 0.4, 0.2, 0.5, 0.9, 0.3)))
SEARCHED = CanaryFigures(searched=4, planted=9, found=6, chance=1, patients=40, patients_found=3)


@pytest.fixture
def study(study: Study) -> Study:
    """With two models."""
    return study.model_copy(update={"fusion_models": ("fusion_decision",)})


@pytest.fixture
def evaluation(study: Study) -> tuple[EvaluateRequest, EvaluateReply]:
    rng = np.random.default_rng(2)
    n = 30
    label = (np.arange(n) % 2).astype(np.float64)
    values = np.clip(rng.normal(0.4 + 0.2 * label[:, None], 0.2, (n, 2)), 0.001, 0.999)
    rows = Rows(values, ("x", "y"), label, np.full(n, -1))
    edges = score_edges(np.quantile(values, [0.25, 0.5, 0.75], axis=0).T)
    request = EvaluateRequest("r", study.digest(), {}, ("internal", "external_1"), edges)
    found = evaluate_locally(rows, np.array([0.5, 0.5]), edges, 3)
    shares = np.array([[0.5, 0.41, 0.6]])  # the stacker is not attacked
    part = DeLongResult(20, 10, np.array([0.5, 0.6]), np.eye(2))
    reply = EvaluateReply(
        site="c",
        request=request.digest,
        counts={"internal": (20, 10), "external_1": (n, n // 2)},
        evaluations={"external_1": found},
        parts={"internal": part},
        fits={"internal": FIT},
        withheld=(),
        membership=MembershipAudit(40, 20 + n, shares, shares),
        releases=ReleaseAudit(5, 0, 1.25, 6),
        canaries=CanaryAudit(SEARCHED, SEARCHED, CanaryFigures(0, 0, 0, 0, 0, 0), SEARCHED),
    )
    return request, reply


def test_a_true_evaluation_passes(evaluation: Any, context: GateContext) -> None:
    request, reply = evaluation
    assert gate.code("evaluate.handout", request, reply, context) == ""


def test_more_models_than_the_study_has_are_stopped(evaluation: Any, context: GateContext) -> None:
    request, reply = evaluation
    more = replace(request, edges=np.vstack([request.edges, request.edges]))
    reported = replace(reply, request=more.digest)
    assert gate.code("evaluate.handout", more, reported, context) == "not_declared"


def spoiled(evaluation: Any, path: str, value: Any) -> Any:
    """The evaluation of external_1 with another value at a dotted path."""
    first, _, rest = path.partition(".")
    inner = spoiled(getattr(evaluation, first), rest, value) if rest else value
    return replace(evaluation, **{first: inner})


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("brier", np.zeros(3), "shape"),
        ("confusion.tp", np.array([0.5, 1.0]), "value"),
        ("confusion.tp", np.zeros(30), "shape"),
        ("calibration.count", np.zeros((2, 11)), "shape"),
        ("decision.tp", np.zeros((2, 100)), "shape"),
        ("decision.n", 31, "value"),
        ("delong.covariance", np.zeros((30, 2)), "shape"),
        ("delong.auc", np.array([0.5, 61.0]), "value"),
        ("histogram.edges", np.array([[-np.inf, 0.123456, np.inf]] * 2), "value"),
        ("histogram.counts", np.zeros((2, 2, 500)), "shape"),
        ("brier", ("Muster",), "type"),
        ("fit.n", 29, "value"),
        ("fit.expected", np.array([31.0, 9.0]), "value"),
        ("fit.slope", np.zeros(3), "shape"),
        ("fit.slope_error", np.array([-1.0, 1.0]), "value"),
        ("smooth.curve.low", np.full((2, 41), 0.1234567), "value"),
        ("smooth.curve.low", np.full((2, 42), 0.5), "shape"),
        ("smooth.precision", np.array([0.5, 61.0]), "value"),
        ("smooth.recalibrated.brier", np.zeros((2, 4)), "shape"),
    ],
)
def test_a_spoiled_evaluation_is_stopped(
    evaluation: Any, context: GateContext, path: str, value: Any, expected: str
) -> None:
    request, reply = evaluation
    other = spoiled(reply.evaluations["external_1"], path, value)
    changed = replace(reply, evaluations={"external_1": other})
    assert gate.code("evaluate.handout", request, changed, context) == expected


def test_measures_of_few_patients_or_of_a_set_over_sites_are_stopped(
    evaluation: Any, context: GateContext
) -> None:
    request, reply = evaluation
    few = DeLongResult(9, 5, np.array([0.5, 0.6]), np.eye(2))
    counts = {**reply.counts, "internal": (9, 5)}
    fits = {"internal": replace(FIT, n=9, positives=5)}
    small = replace(reply, counts=counts, parts={"internal": few}, fits=fits)
    assert gate.code("evaluate.handout", request, small, context) == "too_few"
    own = reply.evaluations["external_1"]
    wrong = replace(reply, evaluations={"internal": own})
    assert gate.code("evaluate.handout", request, wrong, context) == "shape"


@pytest.mark.parametrize(("field", "value"), [("site", "b"), ("request", "0" * 64)])
def test_measures_that_answer_another_question_are_stopped(
    evaluation: Any, context: GateContext, field: str, value: str
) -> None:
    request, reply = evaluation
    assert (
        gate.code("evaluate.handout", request, replace(reply, **{field: value}), context)
        == "other_question"
    )


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("auc", np.array([[0.512, 0.41, 0.6]]), "value"),
        ("tpr", np.array([[61.0, 0.41, 0.6]]), "value"),
        ("tpr", np.array([[np.nan, 0.41, 0.6]]), "value"),
        ("auc", np.full((30, 3), 0.5), "shape"),
        ("auc", np.full((2, 3), 0.5), "shape"),  # the stacker's too
        ("members", 9, "too_few"),
        ("others", 51, "value"),
    ],
)
def test_a_spoiled_attack_on_membership_is_stopped(
    evaluation: Any, context: GateContext, path: str, value: Any, expected: str
) -> None:
    request, reply = evaluation
    changed = replace(reply, membership=spoiled(reply.membership, path, value))
    assert gate.code("evaluate.handout", request, changed, context) == expected


def test_a_hospital_that_does_not_train_has_no_training_patients_to_attack(
    evaluation: Any, context: GateContext
) -> None:
    request, reply = evaluation
    sites = tuple(
        one.model_copy(update={"trains": False}) if one.name == "c" else one
        for one in context.study.sites
    )
    other = replace(context, study=context.study.model_copy(update={"sites": sites}))
    assert gate.code("evaluate.handout", request, reply, other) == "not_declared"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("smallest", -1), ("determined", 10**9), ("epsilon", 1.2345), ("epsilon", -0.5)),
        *(("stand_ins", -1), ("stand_ins", 10**9)),
    ],
)
def test_spoiled_figures_on_releases_are_stopped(
    evaluation: Any, context: GateContext, path: str, value: Any
) -> None:
    request, reply = evaluation
    changed = replace(reply, releases=spoiled(reply.releases, path, value))
    assert gate.code("evaluate.handout", request, changed, context) == "value"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("cells.searched", -1, "value"),
        ("cells.planted", 10, "value"),
        ("components.found", 10, "value"),
        ("components.planted", 5, "value"),  # fewer than are found
        ("columns.patients", 2, "too_few"),
        ("columns.patients_found", 2, "value"),  # not rounded up
        ("columns.patients_found", 42, "value"),
        ("columns.patients_found", "Muster", "type"),
    ],
)
def test_spoiled_figures_on_canaries_are_stopped(
    evaluation: Any, context: GateContext, path: str, value: Any, expected: str
) -> None:
    request, reply = evaluation
    spoilt = spoiled(reply.canaries, path, value)
    if path == "columns.patients":
        spoilt = spoiled(spoilt, "columns.patients_found", 0)
    changed = replace(reply, canaries=spoilt)
    assert gate.code("evaluate.handout", request, changed, context) == expected


def test_a_hospital_of_a_study_that_cannot_be_derived_has_no_canaries(
    evaluation: Any, context: GateContext
) -> None:
    request, reply = evaluation
    privacy = context.study.privacy.model_copy(update={"masking": "off"})
    study = context.study.model_copy(update={"privacy": privacy})
    assert gate.code("evaluate.handout", request, reply, context) == ""
    other = replace(context, study=study)
    assert gate.code("evaluate.handout", request, reply, other) == "not_declared"


@pytest.fixture
def followed(study: Study, context: GateContext) -> tuple[Any, EvaluateReply, GateContext]:
    """Measures of times at the one hospital that holds a set."""
    grid = {"ends": (3.0, 6.0, 9.0, 12.0), "horizons": (6.0, 9.0)}
    timed = study.model_copy(update={"follow_up": FollowUp(**grid)})
    rng = np.random.default_rng(2)
    n = 60
    rows = Rows(
        np.clip(rng.normal(0.5, 0.2, (n, 2)), 0.001, 0.999),
        ("x", "y"),
        (np.arange(n) % 2).astype(np.float64),
        np.full(n, -1),
        period=rng.integers(0, 4, n),
    )
    edges = np.tile(np.linspace(0, 1, 9), (2, 1))
    request = EvaluateRequest("r", timed.digest(), {}, ("internal", "external_1"), edges)
    last = np.array(timed.time_grid.last_periods)
    found = measure_locally(rows, "external_1", np.array([0.5, 0.5]), edges, last, 4, 3)
    reply = EvaluateReply(
        site="c",
        request=request.digest,
        counts={"internal": (20, 10), "external_1": (n, n // 2)},
        evaluations={},
        parts={},
        withheld=(),
        followed={"external_1": found},
    )
    return request, reply, replace(context, study=timed)


def test_measures_of_times_pass(followed: Any) -> None:
    request, reply, context = followed
    assert reply.followed["external_1"].groups[0].last.size
    assert gate.code("evaluate.handout", request, reply, context) == ""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("subset", "internal"),
        ("patients", 61),
        ("harrell", np.full((2, 2), 0.12345)),
        ("areas", np.full((2, 1, 2), 0.5)),
        ("tests", np.full((2, 2), 3.0)),
        ("groups", ()),
        ("shown", False),
    ],
)
def test_other_measures_of_times_are_stopped(followed: Any, path: str, value: Any) -> None:
    request, reply, context = followed
    other = spoiled(reply.followed["external_1"], path, value)
    changed = replace(reply, followed={"external_1": other})
    assert gate.code("evaluate.handout", request, changed, context) not in ("", "gate_failed")


def test_a_small_count_of_times_and_a_set_of_several_hospitals_are_stopped(followed: Any) -> None:
    request, reply, context = followed
    own = reply.followed["external_1"]
    moved = own.groups[0].events.copy()
    moved[0, :2] += [1.0 - moved[0, 0], moved[0, 0] - 1.0]
    group = replace(own.groups[0], events=moved)
    few = replace(own, groups=(group, *own.groups[1:]))
    changed = replace(reply, followed={"external_1": few})
    assert gate.code("evaluate.handout", request, changed, context) == "too_few"
    shared = replace(own, subset="internal", patients=20, events=10)
    changed = replace(reply, followed={"internal": shared})
    assert gate.code("evaluate.handout", request, changed, context) == "not_declared"
