"""Attack (g): the server changes the app, or the study, after the hospital approved it."""

from __future__ import annotations

import hashlib
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message
from flwr.cli.install import install_from_fab
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from client.app import app, enrol
from client.gate.approval_app import describe_app, read_app
from common.messages.codec import decode
from common.messages.exchanges import EnrolReply, EnrolRequest, Problem, SumRequest
from common.study.model import Study
from common.utils.app_file import RELEASE


def test_one_comment_more_is_another_app(fab: bytes, changed_fab: bytes) -> None:
    assert hashlib.sha256(fab).digest() != hashlib.sha256(changed_fab).digest()


def test_building_again_gives_the_same_app(app_folder: Path, fab: bytes) -> None:
    import shutil
    import subprocess
    import sys

    again = app_folder.parent / "again" / "fedlnm"
    shutil.copytree(app_folder, again)
    program = Path(sys.executable).with_name("flwr")
    subprocess.run([program, "build", "--app", again], cwd=again, check=True, capture_output=True)
    (made,) = again.glob("*.fab")
    assert made.read_bytes() == fab


def test_an_app_that_runs_other_code_beside_the_releases_files_is_not_called_the_release(
    fab: bytes, tmp_path: Path
) -> None:
    """The component and a library are the server's own; no file of the release is changed."""
    with zipfile.ZipFile(BytesIO(fab)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = files["pyproject.toml"]
    files["pyproject.toml"] = config.replace(b'"client.app:app"', b'"evil:app"')
    files["evil.py"] = b"print('anything')\nfrom client.app import app\n"
    files["numpy/__init__.py"] = b""
    entries = {n: hashlib.sha256(data).hexdigest() for n, data in files.items() if n[0] != "."}
    lines = [f"{name},{digest},{len(files[name]) * 8}" for name, digest in entries.items()]
    files[".info/CONTENT"] = "\n".join(lines).encode()
    path = tmp_path / "fedlnm.fab"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    installed = install_from_fab(path.read_bytes(), tmp_path / "flower", skip_prompt=True)
    assert (installed / "evil.py").is_file(), "Flower takes it"
    told = "\n".join(describe_app(read_app(path), RELEASE))
    assert "it is NOT the release installed here" in told
    assert "evil.py: not in this release" in told
    assert "numpy/__init__.py: not in this release" in told
    assert "pyproject.toml: changed (tool.flwr.app.components.clientapp)" in told


def test_the_release_itself_is_called_so(fab: bytes, tmp_path: Path) -> None:
    (tmp_path / "fedlnm.fab").write_bytes(fab)
    told = "\n".join(describe_app(read_app(tmp_path / "fedlnm.fab"), RELEASE))
    assert "it is that of the release installed here" in told


def test_without_the_gate_a_changed_app_runs(
    approved_node: Any, changed_fab: bytes, enrolment: EnrolRequest
) -> None:
    approved_node.fab = changed_fab
    approved_node.ask("query.enrol", enrolment, app)
    assert approved_node.ran == ["query.enrol"]


def test_a_changed_app_does_not_run(
    approved_node: Any, gated: Any, changed_fab: bytes, enrolment: EnrolRequest, gate_log: Any
) -> None:
    gated()
    approved_node.fab = changed_fab
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert approved_node.ran == []
    assert decode(reply.content).kind == "app_not_approved"
    assert "app_not_approved" in gate_log()


def test_a_changed_app_under_the_approved_apps_name_does_not_run(
    approved_node: Any,
    gated: Any,
    fab: bytes,
    changed_fab: bytes,
    enrolment: EnrolRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server states the approved digest and then hands over other bytes."""
    honest = approved_node._run(1)
    monkeypatch.setattr(approved_node, "_run", lambda run_id: honest)
    approved_node.fab = changed_fab
    gated()
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert approved_node.ran == []
    assert reply.error.code == ErrorCode.INVALID_FAB


def test_the_approved_app_runs(approved_node: Any, gated: Any, enrolment: EnrolRequest) -> None:
    gated()
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert isinstance(decode(reply.content), EnrolReply)


def test_revoking_an_app_holds_within_a_run(
    approved_node: Any, gated: Any, settings: Any, fab: bytes, enrolment: EnrolRequest
) -> None:
    from client.gate import approvals
    from common.masking import identity

    gated()
    approved_node.ask("query.enrol", enrolment, app)
    private = identity.load(settings.identity).private
    approvals.revoke(settings.work, private, hashlib.sha256(fab).hexdigest())
    reply = approved_node.ask("query.enrol", enrolment, app)
    assert decode(reply.content).kind == "app_not_approved"
    assert approved_node.ran == ["query.enrol"]


def lowered(study: Study) -> EnrolRequest:
    """The study with a threshold of one patient."""
    privacy = study.privacy.model_copy(update={"min_rows": 1})
    other = study.model_copy(update={"privacy": privacy})
    return EnrolRequest(run="r", study=other.digest(), study_json=other.model_dump_json())


def test_without_the_gate_a_changed_study_is_answered(approved_node: Any, study: Study) -> None:
    bare = ClientApp()
    bare.query("enrol")(enrol)
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
