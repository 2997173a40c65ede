"""The warm process that forks for every message."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client.gate.launcher import ForkingExecutor, replace_executor
from common.errors import StudyError

SERVE = """
import json, os, sys
from types import SimpleNamespace
from client.gate import launcher

def say(text):
    os.write(1, text.encode() + b"\\n")

def app():
    sys.path.insert(0, {approved!r})
    import client.app
    say(json.dumps([sys.argv, client.app.__file__]))
    if sys.argv[1] == "fails":
        raise RuntimeError("of this message alone")

sys.modules["flwr.supernode.cli"] = SimpleNamespace(flwr_clientapp=app)
launcher.LIBRARIES = ("json",)
launcher.serve_forks(sys.stdin)
say("served")
"""


@pytest.fixture
def served(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """A warm process asked for two messages, the first of which fails."""
    approved = tmp_path / "approved" / "client"
    approved.mkdir(parents=True)
    (approved / "__init__.py").touch()
    (approved / "app.py").touch()
    return subprocess.run(
        [sys.executable, "-c", SERVE.format(approved=str(approved.parent))],
        input='["flwr-clientapp", "fails"]\n["flwr-clientapp", "works"]\n',
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_a_message_runs_the_approved_app_and_not_the_installed_release(
    served: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    lines = [line for line in served.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 2
    assert all(str(tmp_path / "approved" / "client" / "app.py") in line for line in lines)
    assert {"fails" in line for line in lines} == {True, False}


def test_a_message_that_fails_ends_its_own_process_only(
    served: subprocess.CompletedProcess[str],
) -> None:
    assert served.stdout.splitlines().count("served") == 1
    assert "of this message alone" in served.stderr


def spec(**changes: Any) -> Any:
    from flwr.supercore.constant import TaskType

    fields = {
        "task_type": TaskType.CLIENT_APP,
        "runtime_api_address": "127.0.0.1:9094",
        "token": "t",
        "insecure": True,
        "parent_pid": 7,
    }
    return SimpleNamespace(**{**fields, **changes})


def test_the_warm_process_is_told_what_flower_would_start() -> None:
    pipe: Any = StringIO()
    result = ForkingExecutor(pipe).launch(spec())
    assert result.status == "accepted"
    assert pipe.getvalue() == (
        '["flwr-clientapp", "--insecure", "--token", "t", "--runtime-api-address",'
        ' "127.0.0.1:9094", "--parent-pid", "7"]\n'
    )


def test_nothing_but_a_hospitals_app_is_started() -> None:
    from flwr.supercore.constant import TaskType

    pipe: Any = StringIO()
    for other in set(TaskType) - {TaskType.CLIENT_APP}:
        assert ForkingExecutor(pipe).launch(spec(task_type=other)).status == "failed"
    assert pipe.getvalue() == ""


def test_flower_understands_what_the_warm_process_is_told() -> None:
    from flwr.supernode.cli.flwr_clientapp import _parse_args_run_flwr_clientapp

    pipe: Any = StringIO()
    ForkingExecutor(pipe).launch(spec())
    import json

    arguments = json.loads(pipe.getvalue())
    parsed = _parse_args_run_flwr_clientapp().parse_args(arguments[1:])
    assert (parsed.token, parsed.runtime_api_address) == ("t", "127.0.0.1:9094")
    assert (parsed.insecure, parsed.parent_pid) == (True, 7)


def test_another_flower_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flwr.supercore.version.package_version", "1.42.0")
    pipe: Any = StringIO()
    with pytest.raises(StudyError, match=r"install flwr 1\.41\.0"):
        replace_executor(ForkingExecutor(pipe))


def test_a_moved_seam_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.supercore.superexec import run_superexec

    monkeypatch.setattr(run_superexec, "run_superexec", lambda: None)
    pipe: Any = StringIO()
    with pytest.raises(StudyError, match="launcher"):
        replace_executor(ForkingExecutor(pipe))
