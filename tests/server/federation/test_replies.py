"""Whatever a hospital replies: it is taken, or hospital, phase, fault and remedy are named.

Every field of every reply, however deep, gives way to values of other kinds, lengths and
magnitudes, which go the coordinator's own way.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import ImplausibleError, StudyError
from common.evaluation.calibration_fit import CalibrationFit
from common.evaluation.canaries import CanaryAudit, CanaryFigures
from common.evaluation.level_areas import areas_by_level
from common.evaluation.local import Evaluation, evaluate_locally
from common.evaluation.membership import MembershipAudit
from common.evaluation.release_audit import ReleaseAudit
from common.masking.absence import Consent
from common.masking.agreement import SignedKey
from common.masking.fixed_point import KEY_BYTES
from common.masking.group_key import SEALED_BYTES
from common.masking.identity import SIGNATURE_BYTES
from common.masking.narrow import Grid, pack
from common.masking.update import Update, to_update_rings
from common.messages.codec import encode
from common.messages.exchanges import (
    CATALOGUE,
    AgreeReply,
    AgreeRequest,
    EnrolReply,
    EnrolRequest,
    EvaluateReply,
    EvaluateRequest,
    FollowReply,
    FollowRequest,
    KeyReply,
    KeyRequest,
    Problem,
    Refusal,
    Refused,
    RoundPlan,
    SumItem,
    TrainReply,
    TrainRequest,
)
from common.messages.opening import Opening, OpenReply, OpenRequest, SignReply, SignRequest
from common.statistics.base import Rows
from common.statistics.class_histogram import score_edges
from common.statistics.moments import Means
from common.statistics.placements import DeLongResult
from common.study.model import PrivacySettings, Study
from common.study.sums import subsets_of
from server.federation.federation import Federation
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from tests import builders
from tests.server.federation.test_federation import NO_RANGES, VALUES, VIEW, Hospitals, honest

SITE = "b"
EDGES = score_edges(np.tile([0.25, 0.5, 0.75], (2, 1)))
PATIENTS = 30
OPENING = Opening("s", 0, "q", "dl3d", "final", 0, ("a", "b", "c"), ("a", "b"))
KEY = SignedKey("b", "r", "d", "d", "s", "A" * 44, "A" * 88, 0, "", "")


@pytest.fixture(autouse=True)
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield


@pytest.fixture
def study() -> Study:
    own = builders.study(
        sites="ab",
        visitors="c",
        tests={"t": ("external_test", "bc"), "own": ("external_test", "b")},
        privacy={"masking": "off"},
        waiting={"sum_seconds": 0.2, "enrol_seconds": 0.2, "train_seconds": 0.2},
        clinical=[builders.number("x"), builders.levels("sex", "female", "male")],
        strata=["sex"],
    )
    return own.model_copy(update={"fusion_models": ("fusion_decision",)})


@cache
def own_set(privacy: PrivacySettings) -> tuple[Evaluation, Any]:
    """Return what a hospital finds on its own test set, by and without levels; found once."""
    n = PATIENTS
    values = np.random.default_rng(5).uniform(0.01, 0.99, (n, 2))
    rows = Rows(values, ("x", "y"), np.arange(n) % 2.0, np.full(n, -1))
    levels = areas_by_level(rows, np.arange(n) % 2.0, 2, privacy, EDGES)
    return evaluate_locally(rows, np.array([0.5, 0.5]), EDGES, 3), levels


def evaluated(request: EvaluateRequest, site: str, study: Study) -> EvaluateReply:
    own, n = tuple(name for name in request.test_sets if name == "own"), PATIENTS
    found, levels = own_set(study.privacy)
    searched = CanaryFigures(4, 9, 6, 1, 40, 3)
    fit = (np.full(2, value) for value in (9.5, 0.1, 0.4, 0.2, 0.5, 0.9, 0.3))
    shares = np.array([[0.5, 0.41, 0.6]])
    return EvaluateReply(
        site=site,
        request=request.digest,
        counts={"t": (20, 10)} | dict.fromkeys(own, (n, n // 2)),
        evaluations=dict.fromkeys(own, found),
        parts={"t": DeLongResult(20, 10, np.array([0.5, 0.6]), np.eye(2))},
        fits={"t": CalibrationFit(20, 10, *fit)},
        withheld=(Refusal("test_rows", 10.0, "t"),),
        strata={name: {"sex": levels} for name in own},
        membership=MembershipAudit(40, 50, shares, shares),
        releases=ReleaseAudit(5, 0, 1.25, 6),
        canaries=CanaryAudit(searched, searched, searched, searched),
    )


def ring(count: int) -> NDArray[np.uint8]:
    return np.ones(count, dtype=np.uint8)


def trained(request: TrainRequest, site: str) -> TrainReply:
    change = np.full(3, 0.25, dtype=np.float32)
    update = Update(change, np.zeros(0, dtype=np.float32), np.array([2.0, 4.0, 1.0, 1.0, 3.0]))
    grid = request.plan.grid
    rings = to_update_rings(update, request.running, 3, grid)
    return TrainReply(
        site,
        **request.echo,
        parameters=rings.parameters,
        statistics=rings.statistics,
        narrow=pack(rings.narrow, grid.width) if grid else ring(0),
        objection=(0.5, 4.0),
    )


def true(site: str, request: Any, study: Study) -> Any:
    """Return a reply of an honest site."""
    if isinstance(request, EnrolRequest):
        counts = dict.fromkeys(subsets_of(study, site), (len(VALUES[site]), 1))
        columns = {"clinical": study.clinical_columns}
        return EnrolReply(site, study.digest(), {"device": "CPU"}, counts, columns, ("r2",), 1)
    if isinstance(request, TrainRequest):
        return trained(request, site)
    if isinstance(request, EvaluateRequest):
        return evaluated(request, site, study)
    about = {"site": site, **request.echo}
    others = [name for name in study.site_names if name != site]
    if isinstance(request, KeyRequest):
        return KeyReply(**about, sealed=dict.fromkeys(others, ring(SEALED_BYTES)))
    if isinstance(request, OpenRequest):
        return OpenReply(**about, own=ring(KEY_BYTES), pairs={"c": ring(KEY_BYTES)})
    if isinstance(request, SignRequest):
        return SignReply(**about, signature=ring(SIGNATURE_BYTES))
    if isinstance(request, FollowRequest):
        return FollowReply(**about)
    if isinstance(request, AgreeRequest):
        return AgreeReply(**about)
    return honest(site, request, study)


class Spoiling:
    """Answer of all sites: true, but that of one may be another one than it would give."""

    def __init__(self) -> None:
        self.heard: Any = None
        self.instead: Any = None

    def __call__(self, site: str, request: Any, study: Study) -> Any:
        reply = true(site, request, study)
        if site != SITE:
            return reply
        self.heard = reply
        return reply if self.instead is None else self.instead(reply)


def asked(federation: Federation, exchange: str, request: Any) -> None:
    for _, reply in federation._ask(exchange, {SITE: request}, 0.2):
        for value in vars(reply).values():
            if isinstance(value, np.ndarray):
                value.tobytes()


def enrol(federation: Federation) -> None:
    for known in (federation.members, federation.nodes, federation._registered):
        known.clear()
    federation.enrol()


def train(federation: Federation, grid: Grid) -> None:
    plan = RoundPlan(1, 0.1, 0, 5, keep=False, validation_fold=1, grid=grid)
    federation.train("dl3d", "fold0", np.zeros(3, dtype=np.float32), NO_RANGES, plan)


def sums(federation: Federation) -> None:
    federation.sum_many([SumItem(Means(), VIEW, "train"), SumItem(Means(), VIEW, "t")])


ABOUT = ("r", "", "s")
ASKS: dict[str, Callable[[Federation], Any]] = {
    "query.enrol": lambda f: enrol(f),
    "query.sum": sums,
    "train.network": lambda f: train(f, Grid()),
    "train.network at 8 bits": lambda f: train(f, Grid(8, (2.0**-6,))),
    "query.rows": lambda f: f.rows({"m": VIEW}, np.zeros((0, 0))),
    "evaluate.handout": lambda f: f.evaluate({}, EDGES, {}),
    "query.key": lambda f: asked(f, "query.key", KeyRequest(*ABOUT, ())),
    "query.agree": lambda f: asked(f, "query.agree", AgreeRequest(*ABOUT, "", {})),
    "query.follow": lambda f: asked(f, "query.follow", FollowRequest(*ABOUT, 0)),
    "query.sign": lambda f: asked(f, "query.sign", SignRequest("r", "", OPENING)),
    "query.open": lambda f: asked(f, "query.open", OpenRequest("r", "", OPENING, {})),
}
HOSTILE: tuple[Any, ...] = (
    *(None, True, 0, -1, 7, 10**12, 10**40, 0.5, -0.25, 1e308),
    *("", "b", "x\x1b[31m", "\u202e" * 3, "a" * 5000),
    *((), ("",), ((),), (0, 0, 0), {}, {"": 0}, {"b": ()}, {"t": (2, 1)}, {"t": (1, 2)}),
    *(np.zeros(n, kind) for n in (0, 1, 64) for kind in ("f8", "f4", "u8", "u4", "u1", "i8")),
    *(np.full((2, 2), np.nan), np.full(3, np.inf), np.full(5, 2**64 - 1, dtype=np.uint64)),
    *(
        Problem("data", "0" * 8),
        Problem("\n", "x"),
        Refused(()),
        Refused((Refusal("?", 0.1, "u"),)),
    ),
)


def spoiled(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield values that could stand where this one does, and those with such values inside.

    Deep inside, where there are many places, each gets a part of them.
    """
    yield from HOSTILE if depth < 2 else HOSTILE[depth % 7 :: 19]
    if dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            for other in spoiled(getattr(value, one.name), depth + 1):
                yield dataclasses.replace(value, **{one.name: other})  # type: ignore[type-var]
    elif isinstance(value, dict):
        for name in value:
            yield {key: own for key, own in value.items() if key != name}
            for other in spoiled(value[name], depth + 1):
                yield {**value, name: other}
    elif isinstance(value, tuple):
        for place, own in enumerate(value):
            yield value[:place] + value[place + 1 :]
            for other in spoiled(own, depth + 1):
                yield (*value[:place], other, *value[place + 1 :])
    elif isinstance(value, np.ndarray):
        yield value[..., None]
        yield np.append(value, value)
        for other in (0, 1, -1, 2.0**40, np.nan, np.inf):
            with np.errstate(all="ignore"):
                yield np.full_like(value, other if value.dtype.kind == "f" else 0) - (other == -1)


def test_every_exchange_is_tried() -> None:
    assert {name.split()[0] for name in ASKS} == set(CATALOGUE)


@pytest.mark.parametrize("exchange", ASKS)
def test_a_reply_with_any_other_value_is_taken_or_refused_by_name(
    study: Study, exchange: str
) -> None:
    answer = Spoiling()
    sites = {name: Path(name) for name in study.site_names}
    grid = InProcessGrid(Hospitals(study, answer), sites)  # type: ignore[arg-type]
    federation = Federation(grid=grid, study=study, run="r")
    for ask in (ASKS["query.enrol"], ASKS[exchange]):
        ask(federation)
    reply, tried, refused = answer.heard, 0, 0
    others = spoiled(reply)
    if isinstance(reply, EnrolReply):
        more = dataclasses.replace(reply, key=KEY, consent=Consent(30, "A" * 86 + "=="))
        others = itertools.chain(others, spoiled(more))
    for other in others:
        if not dataclasses.is_dataclass(other):
            continue
        try:
            encode(other)
        except (TypeError, ValueError):  # no message can hold it
            continue
        tried += 1
        answer.instead = with_echo(other, reply)
        try:
            ASKS[exchange](federation)
        except ImplausibleError:
            refused += 1
        except StudyError as error:
            refused += 1
            assert f"site {SITE}" in str(error) or "of the sites do not fit" in str(error)
            assert error.remedy, error
    assert refused > tried / 2 > 20


def with_echo(other: Any, reply: Any) -> Callable[[Any], Any]:
    """Return a function that lets a reply answer the newest question where it is not spoiled."""

    def instead(now: Any) -> Any:
        if type(other) is not type(reply):
            return other
        echo = [name for name in ("session", "number", "request") if hasattr(now, name)]
        kept = [name for name in echo if getattr(other, name) is getattr(reply, name)]
        return dataclasses.replace(other, **{name: getattr(now, name) for name in kept})

    return instead
