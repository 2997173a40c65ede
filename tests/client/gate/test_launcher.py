"""The process of the app: kept from message to message, replaced when it dies, ended when idle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import client.app
from client.gate.launcher import ForkingExecutor

LAST, HANGS = "nothing is asked for long afterwards", "hangs"
SERVE = """
import json, os, sys, time
from client.gate import launcher
from common.flower.app_line import AppLine

def say(*words):
    os.write(1, json.dumps(words).encode() + b"\\n")

def answer(line, token, app):
    sys.path.insert(0, {folder!r})
    import client.app
    say(token, os.getpid(), client.app.__file__, open("/proc/self/comm").read().strip())
    if token == "dies":
        os._exit(9)
    while token == "hangs":
        time.sleep(60)
    if token == "works for long":
        time.sleep(1)
    if token.startswith("grows"):
        kept.append(bytearray(os.urandom(1)) * (40 * 2**20))
    if token == "networks":
        sys.modules.update(dict.fromkeys(launcher.NETWORKS, sys))

def load():
    say("networks are loaded", os.getpid())

kept = []
AppLine.__init__ = lambda *_: None
AppLine.answer = answer
launcher.MOST_GROWTH = 20 * 2**20
launcher.IDLE_SECONDS = {idle}
launcher._load_networks = load
launcher.serve(sys.stdin.fileno())
say("served", os.getpid())
"""


@dataclass
class Served:
    """Words of a warm process and of those of its app, line by line."""

    lines: list[list[Any]]

    def process(self, token: str) -> int:
        """Process that took up a message."""
        (found,) = [line[1] for line in self.lines if line[0] == token]
        return int(found)


def until_gone(process: int) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + 60.0
    while psutil.pid_exists(process):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def served(folder: Path, *tokens: str, idle: float = 60.0) -> Served:
    """Have messages answered one after the other, each after the last was taken up.

    As Flower does, each puts the folder of the app on the path; code of the coordinator lies there.
    """
    smuggled = folder / "smuggled" / "client"
    smuggled.mkdir(parents=True)
    (smuggled / "__init__.py").touch()
    (smuggled / "app.py").touch()
    script = SERVE.format(folder=str(smuggled.parent), idle=idle)
    found = Served([])
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for token in tokens:
            message = {"address": "a", "certificate": "c", "parent": 1, "token": token}
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            while not found.lines or found.lines[-1][0] != token:
                found.lines.append(json.loads(process.stdout.readline()))
            if token == LAST:
                until_gone(found.process(token))
        process.stdin.close()
        if HANGS in tokens:
            os.kill(found.process(HANGS), signal.SIGKILL)
        found.lines += [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    return found


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Messages of which some end the process that answers them, or never end."""
    sick = ("dies", "after a death", "last", "grows", "after growth")
    late = ("networks", "grows with networks", "with networks", HANGS, "beside")
    return served(tmp_path_factory.mktemp("busy"), "first", "second", *sick, *late)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Messages between which nothing is asked for longer than a process waits."""
    folder = tmp_path_factory.mktemp("idle")
    return served(folder, "works for long", "soon", LAST, "anew", idle=0.1)


def test_one_process_answers_message_after_message(busy: Served) -> None:
    assert busy.process("first") == busy.process("second") != busy.process("served")


def test_a_message_runs_the_installed_release_whatever_lies_on_the_path(busy: Served) -> None:
    assert {line[2] for line in busy.lines if len(line) > 2} == {client.app.__file__}


def test_a_process_that_dies_is_replaced(busy: Served) -> None:
    assert busy.process("second") == busy.process("dies")
    assert busy.process("after a death") == busy.process("last") != busy.process("dies")


def test_a_process_that_hangs_keeps_no_message_waiting(busy: Served) -> None:
    assert busy.process("beside") != busy.process(HANGS)


def test_a_process_that_has_grown_gives_its_memory_back_by_ending(busy: Served) -> None:
    assert busy.process("last") == busy.process("grows") != busy.process("after growth")


def test_a_process_that_is_asked_nothing_for_long_ends(idle: Served) -> None:
    assert idle.process(LAST) != idle.process("anew")


def test_a_process_that_answers_for_long_is_not_idle(idle: Served) -> None:
    assert idle.process("works for long") == idle.process("soon")


def test_networks_are_loaded_before_a_fork_once_a_message_needed_them(busy: Served) -> None:
    said = [line[0] for line in busy.lines]
    place = said.index("networks are loaded")
    assert said.index("grows with networks") < place < said.index("with networks")
    assert busy.process("networks are loaded") == busy.process("served")


def test_a_list_of_processes_shows_when_the_app_answers(busy: Served) -> None:
    assert {line[3] for line in busy.lines if len(line) > 3} == {"fedlnm-answerin"}


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


def test_the_warm_process_is_told_where_the_message_is() -> None:
    pipe: Any = StringIO()
    assert ForkingExecutor(pipe).launch(spec()).status == "accepted"
    assert json.loads(pipe.getvalue()) == {
        "address": "127.0.0.1:9094",
        "certificate": "node.pem",
        "parent": 7,
        "token": "t",
    }


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
