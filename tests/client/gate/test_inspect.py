"""The gate on its own: sizes, ranges and names follow from the request, everything else stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import RecordDict

from client.gate.inspect import CHECKS, read_request
from client.gate.schema import GateContext, StoppedError
from common.masking.layout import sizes
from common.masking.narrow import Grid, pack, ring_width
from common.messages.codec import encode
from common.messages.exchanges import (
    CATALOGUE,
    EnrolRequest,
    Problem,
    Refusal,
    Refused,
    RoundPlan,
    RowsReply,
    RowsRequest,
    SumItem,
    SumReply,
    SumRequest,
    TrainReply,
    TrainRequest,
)
from common.messages.problems import PROBLEMS
from common.messages.replies import FORMS
from common.statistics.gram import FoldGram
from common.statistics.moments import Means
from common.study.model import Study
from common.transforms import Select
from common.transforms.views import table
from tests.fixtures.gate import code
from tests.fixtures.models import out_of_fold

RING = np.random.default_rng(0)


@pytest.fixture
def study(study: Study) -> Study:
    """A study that trains a network as well."""
    return study.model_copy(update={"base_models": ("clinical", "dl2d")})


def masked(n: int, bits: int = 64) -> Any:
    """Numbers as a mask leaves them."""
    dtype = np.uint64 if bits == 64 else np.uint32
    return RING.integers(0, 2**bits, n, dtype=dtype)


# -- sums ------------------------------------------------------------------------------------------


def sums_of(study: Study, *subsets: str, statistic: Any = None) -> tuple[SumRequest, SumReply]:
    view = table("clinical").then(Select(columns=("age", "marker")))
    item = statistic or Means()
    items = tuple(SumItem(item, view, subset) for subset in subsets)
    request = SumRequest("r", study.digest(), "s", 0, items, ())
    ring64, ring32 = (len(subsets) * n for n in sizes(item, 2))
    return request, SumReply("c", **request.echo, ring64=masked(ring64), ring32=masked(ring32, 32))


def test_sums_of_the_declared_size_pass(study: Study, context: GateContext) -> None:
    for statistic in (Means(), FoldGram(folds=5)):
        request, reply = sums_of(study, "train", "internal", statistic=statistic)
        assert code("query.sum", request, reply, context) == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: replace(r, ring64=r.ring64[1:]), "shape"),
        (lambda r: replace(r, ring64=np.append(r.ring64, masked(1))), "shape"),
        (lambda r: replace(r, ring32=np.append(r.ring32, masked(1, 32))), "shape"),
        (lambda r: replace(r, ring64=r.ring64.reshape(2, -1)), "shape"),
        (lambda r: replace(r, ring64=r.ring64.view(np.int64)), "dtype"),
        (lambda r: replace(r, ring64=r.ring64.astype(np.float64)), "dtype"),
        (lambda r: replace(r, ring64=tuple(r.ring64.tolist())), "type"),
        (lambda r: replace(r, ring64=r.ring64 >> np.uint64(20)), "not_masked"),
        (lambda r: replace(r, number="0"), "type"),
        (lambda r: RowsReply("c", "", np.zeros(3, dtype=np.uint32)), "wrong_reply"),
        (lambda r: EnrolRequest("r", "s", "j"), "wrong_reply"),
    ],
)
def test_other_sums_are_stopped(
    study: Study, context: GateContext, change: Any, expected: str
) -> None:
    request, reply = sums_of(study, "train", "internal")
    assert code("query.sum", request, change(reply), context) == expected


def test_one_sum_among_others_that_lacks_its_mask_is_stopped(
    study: Study, context: GateContext
) -> None:
    request, reply = sums_of(study, "train", "internal")
    half = reply.ring64.size // 2
    ring64 = np.concatenate([reply.ring64[:half], np.arange(half, dtype=np.uint64)])
    assert code("query.sum", request, replace(reply, ring64=ring64), context) == "not_masked"


def test_sums_that_the_study_does_not_mask_may_be_plain(study: Study, context: GateContext) -> None:
    privacy = study.privacy.model_copy(update={"masking": "off"})
    clear = study.model_copy(update={"privacy": privacy})
    plain = replace(context, study=clear, privacy=privacy)
    request, reply = sums_of(study, "train")
    small = replace(reply, ring64=np.arange(reply.ring64.size, dtype=np.uint64))
    assert code("query.sum", request, small, plain) == ""
    assert code("query.sum", request, small, context) == "not_masked"


def test_sums_over_a_subset_of_other_sites_are_stopped(study: Study, context: GateContext) -> None:
    request, reply = sums_of(study, "external_1")
    elsewhere = replace(context, site="a")
    assert code("query.sum", request, reply, context) == ""
    assert code("query.sum", request, reply, elsewhere) == "shape"


# -- training --------------------------------------------------------------------------------------


def training(study: Study, epochs: int) -> tuple[TrainRequest, TrainReply]:
    plan = RoundPlan(epochs, 0.1, -1, 100, False)
    weights, running = np.zeros(50, dtype=np.float32), np.array([[10, 14], [20, 21]])
    request = TrainRequest("r", study.digest(), "s", 0, "dl2d", "final", weights, running, plan, ())
    trained = 50 if epochs else 0
    rings = masked(trained, 32), masked(5 + (5 if epochs else 0))
    parameters, statistics = rings
    return request, TrainReply("c", **request.echo, parameters=parameters, statistics=statistics)


@pytest.mark.parametrize("epochs", [0, 1])
def test_an_update_of_the_size_of_the_weights_passes(
    study: Study, context: GateContext, epochs: int
) -> None:
    request, reply = training(study, epochs)
    assert code("train.network", request, reply, context) == ""


def test_an_update_that_says_more_of_departures_than_the_study_has_is_stopped(
    study: Study, context: GateContext
) -> None:
    request, reply = training(study, 1)
    assert code("train.network", request, replace(reply, departures=1), context) == "value"


def test_an_update_of_another_size_or_without_its_mask_is_stopped(
    study: Study, context: GateContext
) -> None:
    request, reply = training(study, 1)
    _, loss_only = training(study, 0)
    plain = replace(reply, parameters=np.arange(50, dtype=np.uint32))
    longer = replace(reply, parameters=np.append(reply.parameters, masked(1, 32)))
    assert code("train.network", request, loss_only, context) == "shape"
    assert code("train.network", request, longer, context) == "shape"
    assert code("train.network", request, plain, context) == "not_masked"


@pytest.mark.parametrize(
    ("losses", "fold", "wanted"),
    [
        ((), -1, ""),
        ((0.69, 4.21), 1, ""),
        ((0.69, 4.21), -1, "not_declared"),
        ((4.21,), 1, "shape"),
        ((0.69, 4.21, 1.0), 1, "shape"),
        ((0.691234, 4.21), 1, "value"),
        ((0.69, 1e7), 1, "value"),
        ((-1.0, 4.21), 1, "value"),
    ],
)
def test_an_objection_is_two_rounded_losses_where_patients_are_held_out(
    losses: tuple[float, ...], fold: int, wanted: str, study: Study, context: GateContext
) -> None:
    request, reply = training(study, 1)
    request = replace(request, plan=replace(request.plan, validation_fold=fold))
    answer = replace(reply, objection=losses, request=request.digest)
    assert code("train.network", request, answer, context) == wanted


def with_network(study: Study, context: GateContext, **settings: Any) -> GateContext:
    """The same site in a study whose 2D network has these settings."""
    network = study.dl2d.model_copy(update=settings)
    return replace(context, study=study.model_copy(update={"dl2d": network}))


@pytest.mark.parametrize("bits", [8, 16])
def test_changes_in_fewer_bits_pass_where_the_study_has_them(
    study: Study, context: GateContext, bits: int
) -> None:
    request, reply = training(study, 1)
    width = ring_width(bits, len(study.training_sites))
    request = replace(request, plan=replace(request.plan, grid=Grid(width, (2.0**-10,))))
    nothing = np.zeros(0, dtype=np.uint32)
    narrow = pack(masked(50, 32).astype(np.uint16), width)
    answer = replace(reply, parameters=nothing, narrow=narrow, request=request.digest)
    fewer = with_network(study, context, transfer_bits=bits)
    assert code("train.network", request, answer, fewer) == ""
    assert code("train.network", request, answer, context) == "shape"
    for others in (8, 16):
        if others != bits:
            other = with_network(study, context, transfer_bits=others)
            assert code("train.network", request, answer, other) == "shape"
    bare = replace(answer, narrow=pack(np.arange(50, dtype=np.uint16) % 4, width))
    assert code("train.network", request, bare, fewer) == "not_masked"
    for spoiled in (narrow[:-1], np.append(narrow, narrow[:1]), _with_padding(narrow)):
        assert code("train.network", request, replace(answer, narrow=spoiled), fewer) == "shape"


def _with_padding(packed: Any) -> Any:
    """Numbers in the places that fill up the last group of four."""
    return np.concatenate([packed[:-1], np.full(1, 255, dtype=np.uint8)])


def test_a_control_variate_passes_where_the_study_has_scaffold(
    study: Study, context: GateContext
) -> None:
    request, reply = training(study, 1)
    request = replace(request, control=np.zeros(50, dtype=np.float32))
    answer = replace(reply, parameters=masked(100, 32), request=request.digest)
    scaffold = with_network(study, context, strategy="scaffold")
    assert code("train.network", request, answer, scaffold) == ""
    assert code("train.network", request, answer, context) == "shape"


def test_an_update_of_a_network_that_the_study_does_not_train_is_stopped(
    study: Study, context: GateContext
) -> None:
    request, reply = training(study, 1)
    assert code("train.network", request, reply, context) == ""
    for strange in ("dl3d", "dl4d", ""):
        asked, said = replace(request, network=strange), replace(reply)
        assert code("train.network", asked, said, context) == "not_declared"


def test_a_cost_in_privacy_passes_where_the_study_adds_noise(
    study: Study, context: GateContext
) -> None:
    request, reply = training(study, 1)
    private = study.differential_privacy.model_copy(update={"noise_multiplier": 1.0})
    noisy = replace(context, study=study.model_copy(update={"differential_privacy": private}))
    reported = replace(reply, epsilon=2.5)
    assert code("train.network", request, reported, noisy) == ""
    assert code("train.network", request, reported, context) == "not_declared"
    assert code("train.network", request, replace(reply, epsilon=-1.0), noisy) == "value"


# -- rows ------------------------------------------------------------------------------------------


PLACES = {"a": 60, "b": 45, "c": 40}


def rows_of(study: Study) -> tuple[RowsRequest, RowsReply]:
    views = {"clinical": out_of_fold(study, ("marker", "age"))}
    request = RowsRequest("r", study.digest(), views, np.ones((1, 101)), PLACES, ())
    ring = np.random.default_rng(1).integers(0, 2**32, 3 * 145, dtype=np.uint32)
    return request, RowsReply("c", request.digest, ring)


def test_rows_in_a_masked_sum_pass(study: Study, context: GateContext) -> None:
    request, reply = rows_of(study)
    assert code("query.rows", request, reply, context) == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda ring: ring[1:], "shape"),
        (lambda ring: np.concatenate([ring, ring]), "shape"),
        (lambda ring: ring.astype(np.float32), "dtype"),
        (lambda ring: ring % 101, "not_masked"),
    ],
)
def test_other_rows_are_stopped(
    study: Study, context: GateContext, change: Any, expected: str
) -> None:
    request, reply = rows_of(study)
    other = replace(reply, ring32=change(reply.ring32))
    assert code("query.rows", request, other, context) == expected


# -- what a reply answers --------------------------------------------------------------------------

OTHERS = {"site": "b", "session": "t", "number": 1, "request": "0" * 64}


@pytest.mark.parametrize("field", OTHERS)
def test_a_reply_to_another_question_or_in_another_name_is_stopped(
    study: Study, context: GateContext, field: str
) -> None:
    asked: dict[str, tuple[Any, Any]] = {
        "query.sum": sums_of(study, "train"),
        "train.network": training(study, 1),
        "query.rows": rows_of(study),
    }
    for exchange, (request, reply) in asked.items():
        assert code(exchange, request, reply, context) == ""
        if hasattr(reply, field):
            other = replace(reply, **{field: OTHERS[field]})
            assert code(exchange, request, other, context) == "other_question", exchange


def test_a_sum_of_the_same_size_over_another_subset_is_another_question(
    study: Study, context: GateContext
) -> None:
    request, _ = sums_of(study, "train")
    _, other = sums_of(study, "internal")
    assert code("query.sum", request, other, context) == "other_question"


# -- in place of a reply ---------------------------------------------------------------------------


TRAINED = Refusal("rows", 10.0, "train")


def test_problems_and_refusals_pass_exactly_as_this_release_makes_them(
    study: Study, context: GateContext
) -> None:
    request, _ = sums_of(study, "train")
    passing = [
        *(Problem(kind, "0a1b2c3d") for kind in PROBLEMS),
        Problem("study_not_approved", "0a1b2c3d"),
        Refused((TRAINED,)),
        Refused((Refusal("test_rows", 10.0, "external_1"),)),
        Refused((TRAINED, Refusal("support", 5.0, "train"))),
        Refused((Refusal("consent", 1.0, ""),)),
    ]
    stopped = [
        Problem("Muster", "0a1b2c3d"),
        Problem("ValueError", "0a1b2c3d"),  # which error it is can depend on a value
        Problem("data", "Muster"),
        Refused((Refusal("rows", 10.0, "Muster-Max-1962"),)),
        Refused((Refusal("rows", 10.0, "marker"),)),  # a column, which a value may have chosen
        Refused((Refusal("rows", 10.0, "fold"),)),
        Refused((Refusal("Muster", 10.0, "train"),)),
        Refused((Refusal("rows", 61.0, "train"),)),
        Refused((Refusal("rows", 10, "train"),)),  # another type is a bit more
        Refused((TRAINED, TRAINED)),  # so is a second one
        Refused((Refusal("support", 5.0, "train"), TRAINED)),  # and another order
        Refused(()),
    ]
    said = {repr(reply): code("query.sum", request, reply, context) for reply in passing}
    assert set(said.values()) == {""}, said
    said = {repr(reply): code("query.sum", request, reply, context) for reply in stopped}
    assert set(said.values()) == {"text"}, said


def test_a_refusal_or_a_problem_names_its_own_site_or_none(
    study: Study, context: GateContext
) -> None:
    request, _ = sums_of(study, "train")
    for site, expected in (("c", ""), ("", ""), ("b", "other_question")):
        for reply in (Refused((TRAINED,), site=site), Problem("data", "0a1b2c3d", site=site)):
            assert code("query.sum", request, reply, context) == expected


def test_what_a_site_will_withhold_is_a_rule_and_a_test_set(
    study: Study, context: GateContext
) -> None:
    request, _ = sums_of(study, "train")
    for subset, expected in (("internal", ""), ("Muster", "text"), ("train", "text"), ("", "text")):
        reply = Refused((TRAINED,), "c", withheld=(Refusal("test_rows", 10.0, subset),))
        assert code("query.sum", request, reply, context) == expected


def test_what_was_not_asked_or_is_unknown_is_stopped(study: Study, context: GateContext) -> None:
    request, reply = sums_of(study, "train")
    assert code("query.sum", None, reply, context) == "not_asked"
    assert code("query.everything", request, reply, context) == "unknown_exchange"
    assert code("query.sum", request, RecordDict(), context) == "undecodable"


def test_a_gate_that_fails_is_closed(context: GateContext) -> None:
    empty = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint32)
    reply = SumReply("c", "s", 0, "", *empty)
    assert code("query.sum", "no request at all", reply, context) == "gate_failed"


def test_every_exchange_of_the_catalogue_has_its_check() -> None:
    assert set(FORMS) == {exchange.reply for exchange in CATALOGUE.values()}
    by_form_alone = {"query.key", "query.agree", "query.follow", "query.sign", "query.open"}
    assert set(CHECKS) == set(CATALOGUE) - by_form_alone


@pytest.mark.parametrize("kind", ["query.everything", "query.enrol"])
def test_a_request_that_its_exchange_does_not_have_is_not_read(study: Study, kind: str) -> None:
    request, _ = sums_of(study, "train")
    with pytest.raises(StoppedError):
        read_request(kind, encode(request))
