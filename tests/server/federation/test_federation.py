"""The server's handle on the sites: sums, late or broken replies, refusals, bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Error, Message

from common.errors import RefusedError, SiteError
from common.masking.layout import end_to_end, to_rings
from common.masking.pooled_rows import to_slots
from common.masking.update import Update, to_update_rings
from common.messages.codec import decode, encode
from common.messages.exchanges import (
    EnrolReply,
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
from common.statistics.base import Rows
from common.statistics.moments import Means
from common.study.model import Study, WaitingSettings
from common.transforms import Select
from common.transforms.views import table
from server.federation.federation import Federation
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from tests import builders

VIEW = table("clinical").then(Select(columns=("x",)))
NO_RANGES = np.zeros((0, 2), dtype=np.int64)
VALUES = {"a": [1.0, 2.0], "b": [3.0, 5.0, 7.0], "c": [100.0]}


def rows_of(site: str) -> Rows:
    values = np.array(VALUES[site])[:, None]
    n = len(values)
    return Rows(values=values, columns=("x",), label=np.zeros(n), fold=np.zeros(n, dtype=np.int64))


def honest(site: str, request: Any, study: Study) -> Any:
    if isinstance(request, EnrolRequest):
        counts = {"train": (len(VALUES[site]), 1)} if site != "c" else {}
        counts |= {"t": (len(VALUES[site]), 1)} if site != "a" else {}
        return EnrolReply(site, study.digest(), {}, counts, {"clinical": ("x",)}, (), 0)
    if isinstance(request, SumRequest):
        rows = rows_of(site)
        rings = end_to_end(
            to_rings(item.statistic, item.statistic.from_rows(rows), 1, 3) for item in request.items
        )
        return SumReply(site, **request.echo, ring64=rings.ring64, ring32=rings.ring32)
    if isinstance(request, RowsRequest):
        scores = np.array(VALUES[site], dtype=np.int64)[:, None] * 10
        labels = np.arange(len(scores)) % 2.0
        places = {"a": np.array([4, 1]), "b": np.array([0, 3, 2])}[site]
        return RowsReply(site, **request.echo, ring32=to_slots(scores, labels, places, 5, 2))
    assert isinstance(request, TrainRequest)
    share = len(VALUES[site]) / request.plan.total
    change = np.full(3, float(ord(site)) - 90.0, dtype=np.float32) - request.weights
    sums = np.array([2.0, 4.0, 0.0, 0.0, share * 3.0])
    update = Update(change * np.float32(share), np.zeros(0, dtype=np.float32), sums)
    rings = to_update_rings(update, request.running, 2)
    return TrainReply(
        site, **request.echo, parameters=rings.parameters, statistics=rings.statistics
    )


Answer = Callable[[str, Any, Study], Any]


class Hospitals:
    """Stands in for a ClientApp: node i is site i."""

    def __init__(self, study: Study, answer: Answer) -> None:
        self.study, self.answer = study, answer

    def __call__(self, message: Message, context: Context) -> Message:
        site = Path(str(context.node_config["site-config"])).name
        reply = self.answer(site, decode(message.content), self.study)
        return Message(encode(reply), reply_to=message)


@pytest.fixture
def study() -> Study:
    return builders.study(
        sites="ab",
        visitors="c",
        tests={"t": ("external_test", "bc")},
        privacy={"masking": "off"},
        waiting={"sum_seconds": 0.2, "enrol_seconds": 0.2},
    )


@pytest.fixture(autouse=True)
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield


def federation_of(study: Study, answer: Answer = honest) -> Federation:
    sites = {name: Path(name) for name in study.site_names}
    grid = InProcessGrid(Hospitals(study, answer), sites)  # type: ignore[arg-type]
    return Federation(grid=grid, study=study, run="r")


def test_a_sum_runs_over_the_sites_that_hold_the_subset(study: Study) -> None:
    federation = federation_of(study)
    federation.enrol()
    train, test = federation.sum_many(
        [SumItem(Means(), VIEW, "train"), SumItem(Means(), VIEW, "t")]
    )
    assert train.count.tolist() == [5]
    assert train.mean.tolist() == pytest.approx([18 / 5])
    assert test.mean.tolist() == pytest.approx([115 / 4])


def test_bytes_are_counted_by_site_exchange_and_phase(study: Study) -> None:
    federation = federation_of(study)
    federation.transfers.phase = "p"
    federation.enrol()
    federation.sum(Means(), VIEW)
    found = {(row["site"], row["exchange"]): row for row in federation.transfers.table()}
    assert set(found) == {
        ("a", "query.enrol"),
        ("b", "query.enrol"),
        ("c", "query.enrol"),
        ("a", "query.sum"),
        ("b", "query.sum"),
    }
    assert all(row["messages"] == row["rounds"] == 1 for row in found.values())
    assert int(str(found["a", "query.sum"]["bytes_up"])) >= 16


def test_updates_add_up_to_the_weighted_average(study: Study) -> None:
    federation = federation_of(study)
    federation.enrol()
    plan = RoundPlan(epochs=1, learning_rate=0.1, excluded_fold=-1, total=5, keep=False)
    done = federation.train("dl3d", "final", np.zeros(3, dtype=np.float32), NO_RANGES, plan)
    expected = (2 * (ord("a") - 90) + 3 * (ord("b") - 90)) / 5
    np.testing.assert_allclose(done.update.change, expected, rtol=1e-6)
    assert done.update.steps == pytest.approx(3.0)
    assert done.loss == pytest.approx(0.5)
    assert np.isnan(done.held_out_loss)


def test_pooled_rows_come_in_an_order_no_site_determines(study: Study) -> None:
    federation = federation_of(study)
    federation.enrol()
    rows = federation.rows({"m": VIEW}, np.zeros((0, 0)))
    keys = list(zip(rows.labels, rows.probabilities[:, 0], strict=True))
    assert keys == sorted(keys)
    assert len(keys) == 5


def replacing(site: str, kind: type[Any], reply: Any) -> Answer:
    def answer(name: str, request: Any, study: Study) -> Any:
        replaced = name == site and isinstance(request, kind)
        return reply if replaced else honest(name, request, study)

    return answer


def changing(who: str, kind: type[Any], **fields: Any) -> Answer:
    """The site's honest reply to this kind of request, with other values in its fields."""

    def answer(name: str, request: Any, study: Study) -> Any:
        reply = honest(name, request, study)
        changed = name == who and isinstance(request, kind)
        return dataclasses.replace(reply, **fields) if changed else reply

    return answer


def test_a_problem_names_the_site_and_its_log_and_nothing_else(study: Study) -> None:
    problem = Problem(kind="software", log_id="ab12")
    federation = federation_of(study, replacing("b", SumRequest, problem))
    federation.enrol()
    with pytest.raises(SiteError, match=r"site b: cannot go on \(software, its log ab12\)"):
        federation.sum(Means(), VIEW)


def test_a_refusal_is_recorded_and_told(study: Study) -> None:
    refused = Refused(refusals=(Refusal(rule="rows", threshold=10, subset="train"),))
    federation = federation_of(study, replacing("a", SumRequest, refused))
    federation.enrol()
    with pytest.raises(RefusedError, match="site a: refuses: rule rows, threshold 10"):
        federation.sum(Means(), VIEW)
    assert federation.refusals == [
        {"site": "a", "rule": "rows", "threshold": 10, "subset": "train"}
    ]


def test_an_objection_of_a_site_stands_in_the_events(study: Study) -> None:
    federation = federation_of(study, changing("a", TrainRequest, objection=(0.5, 4.0)))
    heard: list[dict[str, Any]] = []
    federation.events.listener = heard.append
    federation.enrol()
    plan = RoundPlan(1, 0.1, 0, 5, keep=False, validation_fold=1, round=2)
    federation.train("dl3d", "fold0", np.zeros(3, dtype=np.float32), NO_RANGES, plan)
    (told,) = federation.objections
    assert told == {
        **{"site": "a", "network": "dl3d", "variant": "fold0", "round": 2},
        **{"before": 0.5, "after": 4.0},
    }
    assert [{**event, **told} == event for event in heard if event["kind"] == "objected"] == [True]


def test_a_reply_of_another_exchange_is_refused(study: Study) -> None:
    rings = np.zeros(1, dtype=np.uint32), np.zeros(4, dtype=np.uint64)
    reply = TrainReply("a", "s", 0, "", *rings)
    federation = federation_of(study, replacing("a", SumRequest, reply))
    federation.enrol()
    with pytest.raises(
        SiteError, match=r"^site a, phase.*: not a reply that the catalogue has -> .* install"
    ):
        federation.sum(Means(), VIEW)


def test_a_vector_of_another_length_is_refused(study: Study) -> None:
    for size in (1, 50):
        longer = changing("b", SumRequest, ring64=np.zeros(size, dtype=np.uint64))
        federation = federation_of(study, longer)
        federation.enrol()
        with pytest.raises(
            SiteError, match=r"^site b, phase.* another form .*\(shape: numbers of a ring"
        ):
            federation.sum(Means(), VIEW)


def test_an_update_of_another_size_is_refused(study: Study) -> None:
    longer = changing("a", TrainRequest, parameters=np.zeros(7, dtype=np.uint32))
    federation = federation_of(study, longer)
    federation.enrol()
    plan = RoundPlan(epochs=1, learning_rate=0.1, excluded_fold=-1, total=5, keep=False)
    with pytest.raises(
        SiteError, match=r"^site a, phase.* another form .*\(shape: numbers of a ring"
    ):
        federation.train("dl3d", "final", np.zeros(3, dtype=np.float32), NO_RANGES, plan)


def test_a_site_that_never_answers_is_named_after_the_wait(study: Study) -> None:
    class Silent(InProcessGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            replies = list(super().pull_messages(message_ids))
            return [r for r in replies if r.metadata.message_type != "query.sum"]

    sites = {name: Path(name) for name in study.site_names}
    grid = Silent(Hospitals(study, honest), sites)  # type: ignore[arg-type]
    federation = Federation(grid=grid, study=study, run="r")
    federation.enrol()
    with pytest.raises(
        SiteError, match="sites a, b: no reply in time -> see that the site is running"
    ):
        federation.sum(Means(), VIEW)


# -- which reply is to which message ---------------------------------------------------------------

OTHER_ANSWERS = {"site": "a", "session": "0" * 16, "number": 7, "request": "0" * 64}


@pytest.mark.parametrize("field", OTHER_ANSWERS)
def test_a_sum_or_an_update_that_answers_something_else_is_refused(
    study: Study, field: str
) -> None:
    plan = RoundPlan(epochs=1, learning_rate=0.1, excluded_fold=-1, total=5, keep=False)
    for kind in (SumRequest, TrainRequest):
        other = changing("b", kind, **{field: OTHER_ANSWERS[field]})
        federation = federation_of(study, other)
        federation.enrol()
        with pytest.raises(SiteError, match="site b: a reply to another question"):
            if kind is SumRequest:
                federation.sum(Means(), VIEW)
            else:
                federation.train("dl3d", "final", np.zeros(3, dtype=np.float32), NO_RANGES, plan)


@pytest.mark.parametrize("field", ["site", "request"])
def test_rows_that_answer_something_else_are_refused(study: Study, field: str) -> None:
    other = changing("b", RowsRequest, **{field: OTHER_ANSWERS[field]})
    federation = federation_of(study, other)
    federation.enrol()
    with pytest.raises(SiteError, match="site b: a reply to another question"):
        federation.rows({"m": VIEW}, np.zeros((0, 0)))


class Misdelivering(InProcessGrid):
    """Changes what the metadata of replies to sums say, or puts other messages before them."""

    change: Callable[[Message], Iterable[Message]] | None = None

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = super().pull_messages(message_ids)
        for reply in replies:
            yield from self.change(reply) if self.change else [reply]


def misdelivered(study: Study, change: Callable[[Message], Iterable[Message]]) -> Federation:
    """An enrolled federation whose replies are changed from then on."""
    sites = {name: Path(name) for name in study.site_names}
    grid = Misdelivering(Hospitals(study, honest), sites)  # type: ignore[arg-type]
    federation = Federation(grid=grid, study=study, run="r")
    federation.enrol()
    grid.change = change
    return federation


def with_metadata(reply: Message, name: str, value: Any) -> list[Message]:
    reply.metadata.__dict__[f"_{name}"] = value
    return [reply]


def test_a_reply_from_another_node_than_the_one_asked_is_refused(study: Study) -> None:
    federation = misdelivered(study, lambda reply: with_metadata(reply, "src_node_id", 99))
    with pytest.raises(SiteError, match="site a: a reply from another node"):
        federation.sum(Means(), VIEW)


def test_a_reply_to_another_message_of_the_round_is_refused(study: Study) -> None:
    answered: list[str] = []

    def to_the_first(reply: Message) -> list[Message]:
        answered.append(reply.metadata.reply_to_message_id)
        return with_metadata(reply, "reply_to_message_id", answered[0])

    federation = misdelivered(study, to_the_first)
    with pytest.raises(SiteError, match="site b: a reply to another message of the same round"):
        federation.sum(Means(), VIEW)


def test_a_stray_reply_of_an_earlier_round_is_noted_and_passed_over(study: Study) -> None:
    heard: list[Message] = []
    reported: list[dict[str, Any]] = []

    def behind_an_old_one(reply: Message) -> list[Message]:
        heard.append(reply)
        return [heard[0], reply] if federation.events.listener else [reply]

    federation = misdelivered(study, behind_an_old_one)
    first = federation.sum(Means(), VIEW, "t")
    federation.events.listener = reported.append
    again = federation.sum(Means(), VIEW, "t")
    assert np.array_equal(again.mean, first.mean)
    strays = [event["site"] for event in reported if event["kind"] == "stray_reply"]
    assert strays == ["b", "c"]


def erring(study: Study, code: int, times: int) -> Federation:
    """A federation in which Flower puts errors in the place of this many replies of site a."""
    left = [times]

    def in_its_place(reply: Message) -> list[Message]:
        if reply.metadata.src_node_id != federation.nodes["a"] or not left[0]:
            return [reply]
        left[0] -= 1
        error = Message(Error(code, "patient 17 is not there"), reply_to=reply)
        error.metadata.__dict__["_reply_to_message_id"] = reply.metadata.reply_to_message_id
        error.metadata.__dict__["_src_node_id"] = 1
        return [error]

    federation = misdelivered(study, in_its_place)
    times_slept: list[float] = []
    federation.connection.clock = lambda: sum(times_slept)
    federation.connection.sleep = times_slept.append
    return federation


@pytest.fixture
def patient_study(study: Study) -> Study:
    return study.model_copy(update={"waiting": WaitingSettings(sum_seconds=600.0)})


@pytest.mark.parametrize("code", [3, 4, 5, 8])
def test_a_site_whose_reply_was_lost_is_asked_the_same_again(
    patient_study: Study, code: int
) -> None:
    federation = erring(patient_study, code, times=2)
    reported: list[dict[str, Any]] = []
    federation.events.listener = reported.append
    found = federation.sum(Means(), VIEW)
    assert found.mean.tolist() == pytest.approx([18 / 5])
    assert federation.number == 1
    kinds = [(event["kind"], event["site"]) for event in reported if event["kind"] != "contact"]
    assert kinds == [("lost", "a"), ("asked_again", "a")] * 2
    rows = {row["site"]: row for row in federation.transfers.table() if "sum" in row["exchange"]}  # type: ignore[operator]
    assert rows["a"]["messages"] == rows["a"]["rounds"] == 1


@pytest.mark.parametrize(
    ("code", "words"), [(2, "Flower reports error 2"), (7, "another release of fedlnm installed")]
)
def test_an_app_that_fails_is_not_asked_again(patient_study: Study, code: int, words: str) -> None:
    federation = erring(patient_study, code, times=1)
    with pytest.raises(SiteError, match=f"site a: .*{words}") as raised:
        federation.sum(Means(), VIEW)
    assert "patient 17" not in str(raised.value)
