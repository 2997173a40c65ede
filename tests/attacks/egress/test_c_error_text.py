"""Attack (c): the text of an error holds a patient's id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from client.gate.site_gate import gate_mod
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolRequest, Problem

PATIENT = "Muster-Max-1962"


def failing_app(*mods: Any) -> ClientApp:
    made = ClientApp(mods=list(mods))

    @made.query("enrol")
    def enrol(message: Message, context: Context) -> Message:
        raise ValueError(f"no label in the row of {PATIENT}")

    return made


def as_flower_runs(app: ClientApp, message: Message, context: Context) -> Message:
    """Do with an exception as `flwr-clientapp` does (flwr/supernode/runtime/run_clientapp.py)."""
    try:
        return app(message, context)
    except Exception as error:
        reason = str(type(error)) + ":<'" + str(error) + "'>"
        return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def asked(site: Path, request: EnrolRequest) -> tuple[Message, Context]:
    context = Context(1, 7, {"site-config": str(site)}, RecordDict(), {})
    return Message(encode(request), 7, "query.enrol"), context


def test_without_the_mod_a_real_client_app_tells_the_id(
    site: Path, enrolment: EnrolRequest
) -> None:
    reply = as_flower_runs(failing_app(), *asked(site, enrolment))
    assert PATIENT in str(reply.error.reason)


def test_the_mod_keeps_the_id_of_a_real_client_app_in_the_sites_log(
    site: Path, enrolment: EnrolRequest, study: Any, allow: Any, gate_log: Any
) -> None:
    allow(study.digest())
    reply = as_flower_runs(failing_app(gate_mod), *asked(site, enrolment))
    problem = decode(reply.content)
    assert isinstance(problem, Problem)
    assert problem.kind == "app_failed"
    assert PATIENT not in str(reply.content.config_records["header"]["json"])
    assert PATIENT in gate_log()
    assert problem.log_id in gate_log()


def test_without_the_gate_supernode_sends_the_id(
    approved_node: Any, enrolment: EnrolRequest
) -> None:
    approved_node.ask("query.enrol", enrolment, lambda m, c: as_flower_runs(failing_app(), m, c))
    assert PATIENT.encode() in approved_node.wire.data


def test_the_gate_sends_the_code_and_a_log_id(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, gate_log: Any
) -> None:
    gated()
    reply = approved_node.ask(
        "query.enrol", enrolment, lambda m, c: as_flower_runs(failing_app(), m, c)
    )
    assert reply.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert PATIENT.encode() not in approved_node.wire.data
    assert str(reply.error.reason).split()[-1] in gate_log()
    assert PATIENT in gate_log()


def test_a_number_hidden_in_the_error_code_does_not_leave(
    approved_node: Any, gated: Any, enrolment: EnrolRequest
) -> None:
    gated()
    reply = approved_node.ask(
        "query.enrol", enrolment, lambda m, c: Message(Error(19620412, "x"), reply_to=m)
    )
    assert reply.error.code == ErrorCode.UNKNOWN


def test_a_problem_named_after_a_patient_is_stopped(
    approved_node: Any, gated: Any, enrolment: EnrolRequest
) -> None:
    gated()
    named = encode(Problem(kind="Muster_Max", log_id="00000000"))
    reply = approved_node.ask("query.enrol", enrolment, lambda m, c: Message(named, reply_to=m))
    assert decode(reply.content).kind == "text"
    assert b"Muster" not in approved_node.wire.data
