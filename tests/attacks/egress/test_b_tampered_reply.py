"""Attack (b): an app answers with more, or with something else, than the catalogue declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from client.app import app
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolRequest, Problem
from common.statistics.base import Rows

PATIENT = "Muster-Max-1962"
Tamper = Callable[[RecordDict], None]


def add_record(content: RecordDict) -> None:
    content["notes"] = ConfigRecord({"patient": PATIENT})


def add_metric(content: RecordDict) -> None:
    content[PATIENT] = MetricRecord({"age": 61})


def add_array(content: RecordDict) -> None:
    content["more"] = ArrayRecord({PATIENT: Array(np.array([61.0]))})


def add_key_beside_the_header(content: RecordDict) -> None:
    content.config_records["header"]["note"] = PATIENT


def add_text_inside_the_header(content: RecordDict) -> None:
    header = str(content.config_records["header"]["json"])
    content.config_records["header"]["json"] = header[:-1] + f', "note": "{PATIENT}"}}'


def add_bytes_behind_an_array(content: RecordDict) -> None:
    plain = Array(np.zeros(0))
    hidden = Array(plain.dtype, plain.shape, plain.stype, plain.data + PATIENT.encode())
    content["arrays"] = ArrayRecord({"float64": hidden})


def add_numbers_to_the_header(content: RecordDict) -> None:
    content.config_records["header"]["uint8"] = PATIENT.encode()


ADDITIONS = (
    add_numbers_to_the_header,
    add_record,
    add_metric,
    add_array,
    add_key_beside_the_header,
    add_text_inside_the_header,
    add_bytes_behind_an_array,
)


def answering(tamper: Tamper) -> Callable[[Message, Context], Message]:
    """The honest app's reply, tampered with."""

    def handler(message: Message, context: Context) -> Message:
        reply = app(message, context)
        tamper(reply.content)
        return reply

    return handler


def replacing(**fields: Any) -> Tamper:
    """The honest reply with other values in its fields."""

    def tamper(content: RecordDict) -> None:
        other = encode(dataclasses.replace(decode(content), **fields))
        content.clear()
        content.update(other)

    return tamper


@pytest.mark.parametrize("tamper", ADDITIONS)
def test_without_the_gate_what_is_added_reaches_the_server(
    approved_node: Any, enrolment: EnrolRequest, tamper: Tamper
) -> None:
    approved_node.ask("query.enrol", enrolment, answering(tamper))
    assert PATIENT.encode() in approved_node.wire.data


@pytest.mark.parametrize("tamper", ADDITIONS)
def test_what_is_added_to_a_reply_is_stopped_and_logged(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, gate_log: Any, tamper: Tamper
) -> None:
    gated()
    reply = approved_node.ask("query.enrol", enrolment, answering(tamper))
    problem = decode(reply.content)
    assert isinstance(problem, Problem)
    assert problem.kind in ("extra_content", "undecodable")
    assert PATIENT.encode() not in approved_node.wire.data
    assert problem.log_id in gate_log()


ROWS = Rows(np.array([[61.0]]), (PATIENT,), np.ones(1), np.zeros(1, dtype=np.int64))
CHANGES = {
    "another column": (replacing(columns={"clinical": (PATIENT,)}), "text"),
    "another version": (replacing(software={"python": PATIENT}), "text"),
    "another reading": (replacing(readings=(PATIENT,)), "text"),
    "another subset": (replacing(counts={PATIENT: (1, 1)}), "shape"),
    "a number as a text": (replacing(excluded=PATIENT), "type"),
    "rows in a count": (replacing(counts={"train": ROWS, "internal": ROWS}), "type"),
    "more positives than patients": (
        replacing(counts={"train": (1, 2), "internal": (1, 1)}),
        "value",
    ),
    "an array of another dtype": (replacing(key=np.zeros(3, dtype=np.float32)), "type"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_field_is_stopped_and_logged(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, gate_log: Any, name: str
) -> None:
    tamper, code = CHANGES[name]
    gated()
    reply = approved_node.ask("query.enrol", enrolment, answering(tamper))
    problem = decode(reply.content)
    assert isinstance(problem, Problem)
    assert problem.kind == code
    assert PATIENT.encode() not in approved_node.wire.data
    assert f'"code": "{code}"' in gate_log()


def with_a_name_in_the_metadata(message: Message, context: Context) -> Message:
    reply = app(message, context)
    reply.metadata.group_id = PATIENT
    return reply


def test_without_the_gate_a_name_leaves_in_the_metadata(
    approved_node: Any, enrolment: EnrolRequest
) -> None:
    approved_node.ask("query.enrol", enrolment, with_a_name_in_the_metadata)
    assert PATIENT.encode() in approved_node.wire.data


def test_metadata_is_the_gates_own(approved_node: Any, gated: Any, enrolment: EnrolRequest) -> None:
    gated()
    reply = approved_node.ask("query.enrol", enrolment, with_a_name_in_the_metadata)
    assert not isinstance(decode(reply.content), Problem)
    assert PATIENT.encode() not in approved_node.wire.data


def test_an_honest_reply_leaves_byte_for_byte(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, gate_log: Any
) -> None:
    handed_in: list[RecordDict] = []

    def honest(message: Message, context: Context) -> Message:
        reply = app(message, context)
        handed_in.append(reply.content)
        return reply

    gated()
    reply = approved_node.ask("query.enrol", enrolment, honest)
    assert decode(reply.content).site == "a"
    assert reply.content.object_id == handed_in[0].object_id
    assert gate_log() == ""
