"""The warm process that forks for every message."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import client.app
from client.gate.launcher import PRELOADED, ForkingExecutor

SERVE = """
import json, os, sys
from client.gate import launcher
from common.flower import superexec

def say(text):
    os.write(1, text.encode() + b"\\n")

def app():
    sys.path.insert(0, {folder!r})
    import client.app
    say(json.dumps([sys.argv, client.app.__file__]))
    if sys.argv[1] == "fails":
        raise RuntimeError("of this message alone")

superexec.flwr_clientapp = app
launcher.PRELOADED = ("client.app",)
launcher.serve_forks(sys.stdin)
say("served")
"""


@pytest.fixture
def served(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """A warm process asked for two messages, the first of which fails.

    As Flower does, each puts the folder of the app on the path; code of the coordinator lies there.
    """
    smuggled = tmp_path / "smuggled" / "client"
    smuggled.mkdir(parents=True)
    (smuggled / "__init__.py").touch()
    (smuggled / "app.py").touch()
    return subprocess.run(
        [sys.executable, "-c", SERVE.format(folder=str(smuggled.parent))],
        input="".join(json.dumps(["flwr-clientapp", what]) + "\n" for what in ("fails", "works")),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_a_message_runs_the_installed_release_whatever_lies_in_the_folder_of_the_app(
    served: subprocess.CompletedProcess[str],
) -> None:
    lines = [json.loads(line) for line in served.stdout.splitlines() if line.startswith("[")]
    assert sorted(arguments[1] for arguments, _ in lines) == ["fails", "works"]
    assert {file for _, file in lines} == {client.app.__file__}


def test_the_clientapp_is_loaded_before_the_first_message() -> None:
    assert "client.app" in PRELOADED


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
        "insecure": False,
        "root_certificates_path": "node.pem",
        "parent_pid": 7,
    }
    return SimpleNamespace(**{**fields, **changes})


def test_the_warm_process_is_told_what_flower_would_start() -> None:
    pipe: Any = StringIO()
    result = ForkingExecutor(pipe).launch(spec())
    assert result.status == "accepted"
    assert pipe.getvalue() == (
        '["flwr-clientapp", "--root-certificates", "node.pem", "--token", "t",'
        ' "--runtime-api-address", "127.0.0.1:9094", "--parent-pid", "7"]\n'
    )


def test_nothing_but_a_hospitals_app_is_started() -> None:
    from flwr.supercore.constant import TaskType

    pipe: Any = StringIO()
    for other in set(TaskType) - {TaskType.CLIENT_APP}:
        assert ForkingExecutor(pipe).launch(spec(task_type=other)).status == "failed"
    assert pipe.getvalue() == ""


@pytest.mark.parametrize("missing", [{"insecure": True}, {"root_certificates_path": None}])
def test_nothing_is_started_for_a_supernode_that_has_not_proved_itself(missing: Any) -> None:
    pipe: Any = StringIO()
    assert ForkingExecutor(pipe).launch(spec(**missing)).status == "failed"
    assert pipe.getvalue() == ""


def test_flower_understands_what_the_warm_process_is_told() -> None:
    from flwr.supernode.cli.flwr_clientapp import _parse_args_run_flwr_clientapp

    pipe: Any = StringIO()
    ForkingExecutor(pipe).launch(spec())
    arguments = json.loads(pipe.getvalue())
    parsed = _parse_args_run_flwr_clientapp().parse_args(arguments[1:])
    assert (parsed.token, parsed.runtime_api_address) == ("t", "127.0.0.1:9094")
    assert (parsed.insecure, parsed.root_certificates, parsed.parent_pid) == (False, "node.pem", 7)
