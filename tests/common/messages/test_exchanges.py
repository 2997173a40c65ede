"""A reply says which question it answers, and both ends read the same question."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.messages.codec import decode, encode
from common.messages.exchanges import (
    EnrolReply,
    EnrolRequest,
    EvaluateRequest,
    RoundPlan,
    RowsReply,
    RowsRequest,
    SumItem,
    SumReply,
    SumRequest,
    TrainRequest,
    answers,
)
from common.statistics.moments import CentredSquares, Means
from common.transforms import Clip, Select
from common.transforms.views import table

VIEW = table("clinical").then(Select(columns=("x", "y")), Clip(limit=3.0))
ITEMS = (
    SumItem(Means(), VIEW, "train"),
    SumItem(CentredSquares(np.asfortranarray([[1.0, 2.0]])[0]), VIEW, "train"),
)
SUM = SumRequest("r", "s", "x", 1, ITEMS, ())
PLAN = RoundPlan(1, 0.1, -1, 100, False)
TRAIN = TrainRequest(
    *("r", "s", "x", 1, "dl2d", "final"),
    *(np.arange(6, dtype=np.float32)[::2], np.zeros((0, 2), dtype=np.int64), PLAN, ()),
)
ROWS = RowsRequest("r", "s", {"n": VIEW, "m": VIEW}, np.ones((2, 1)), {"a": 2}, ())
BUNDLE = {"z": np.arange(3, dtype=np.uint8), "a": np.zeros(0, dtype=np.uint8)}
EVALUATE = EvaluateRequest("r", "s", BUNDLE, ("t",), np.array([[-np.inf, 0.5, np.inf]]))
REQUESTS: list[Any] = [EnrolRequest("r", "s", "{}"), SUM, TRAIN, ROWS, EVALUATE]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
def test_both_ends_find_the_same_echo(request_: Any) -> None:
    assert decode(encode(request_)).echo == request_.echo


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SUM, replace(SUM, items=ITEMS[::-1])),
        (SUM, replace(SUM, items=ITEMS[:1])),
        (SUM, replace(SUM, number=2)),
        (SUM, replace(SUM, session="y")),
        (TRAIN, replace(TRAIN, weights=TRAIN.weights + np.float32(1e-6))),
        (TRAIN, replace(TRAIN, plan=replace(PLAN, round=2))),
        (ROWS, replace(ROWS, run="q")),
        (ROWS, replace(ROWS, columns={"n": VIEW})),
        (ROWS, replace(ROWS, counts={"a": 3})),
        (ROWS, replace(ROWS, fitting=np.zeros((2, 1)))),
        (EVALUATE, replace(EVALUATE, run="q")),
        (EVALUATE, replace(EVALUATE, bundle={**BUNDLE, "a": BUNDLE["z"]})),
    ],
)
def test_another_question_has_another_echo(one: Any, other: Any) -> None:
    assert one.echo != other.echo


def test_a_reply_answers_one_question_in_one_sites_name() -> None:
    reply = RowsReply("a", ROWS.digest, np.zeros(8, dtype=np.uint32))
    assert answers(ROWS, reply, "a")
    assert not answers(ROWS, reply, "b")
    assert not answers(replace(ROWS, run="q"), reply, "a")
    assert not answers(ROWS, replace(reply, request="0" * 64), "a")
    enrolled = EnrolReply("a", "s", {}, {}, {}, (), 0)
    assert answers(REQUESTS[0], enrolled, "a")
    assert not answers(REQUESTS[0], replace(enrolled, study="t"), "a")


@pytest.mark.parametrize("number", [1.0, True, "1", None, np.ones(2)])
def test_a_value_of_another_type_is_no_echo(number: Any) -> None:
    empty = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint32)
    reply = SumReply("a", *SUM.echo.values(), *empty)
    assert answers(SUM, reply, "a")
    assert not answers(SUM, replace(reply, number=number), "a")
