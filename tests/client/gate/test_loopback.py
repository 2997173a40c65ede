"""A local user at the line between SuperNode and launcher: listens first, or connects first.

The SuperNode's side is Flower's own Runtime API with one message to hand out; the launcher is the
program itself, with a note in place of Flower's program of one message.
"""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from flwr.proto.runtime_pb2 import AcquireTaskRequest, AcquireTaskResponse, PullTaskInputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import (
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory

from client.gate.loopback import HOST, Loopback
from common.utils.processes import free_port

LAUNCHER = """
import os
from client.gate import launcher
from common.flower.app_line import AppLine

launcher.load_site = launcher.leave_the_screen_to_the_site = lambda _: None  # the test reads it
AppLine.answer = lambda *_: os.write(1, b"a message is run\\n")
launcher.main()
"""
# a message is taken up within a second or two of the launcher's start
SECONDS = 90.0


@dataclass
class Listener:
    """Flower's Runtime API of a SuperNode, with one message to hand out and its visitors' paths."""

    port: int = field(default_factory=free_port)
    paths: list[str] = field(default_factory=list)

    @contextmanager
    def listening(self, own: Loopback | None, secret: bytes | None) -> Iterator[None]:
        """Listen while the block lasts.

        Parameters
        ----------
        own : of which it holds certificate and key; None = it speaks without TLS.
        secret : that it asks for; None = it takes anybody.
        """
        factory = NodeStateFactory(ObjectStoreFactory())
        factory.state().create_task(TaskType.CLIENT_APP, 1, fab_hash="f")
        app = create_app(factory, secret)

        async def noted(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.paths.append(scope["path"])
            await app(scope, receive, send)

        files: dict[str, Any] = {}
        if own is not None:
            files = {"ssl_certfile": str(own.certificate), "ssl_keyfile": str(own.key)}
        config = uvicorn.Config(noted, HOST, self.port, log_level="critical", **files)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


def renewed(folder: Path) -> Loopback:
    loopback = Loopback(folder)
    loopback.renew()
    return loopback


@pytest.fixture
def own(tmp_path: Path) -> Loopback:
    return renewed(tmp_path / "own")


@pytest.fixture
def other(tmp_path: Path) -> Loopback:
    """Credentials that another user has made for the same address."""
    return renewed(tmp_path / "other")


def launched(port: int, loopback: Loopback) -> str:
    """Return the launcher's words until it ends, or has run the message."""
    command = [sys.executable, "-c", LAUNCHER, "site.toml", *loopback.of_launcher(port)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        limit = threading.Timer(SECONDS, process.kill)
        limit.start()
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if "a message is run" in line:
                process.terminate()
        limit.cancel()
    return " ".join(said.split())


def test_the_launcher_runs_a_message_of_its_own_supernode(own: Loopback) -> None:
    node = Listener()
    with node.listening(own, own.secret.read_bytes()):
        assert "a message is run" in launched(node.port, own)


def test_a_user_who_takes_the_port_first_gets_nothing_run_and_learns_nothing(
    own: Loopback, other: Loopback
) -> None:
    impostor = Listener()
    with impostor.listening(other, None):
        said = launched(impostor.port, own)
    assert "a message is run" not in said
    assert "a program that is not this site's SuperNode listens on its port" in said
    assert impostor.paths == []


def test_without_the_pinned_certificate_that_user_would_get_a_message_run(
    own: Loopback, other: Loopback
) -> None:
    own.certificate.write_bytes(other.certificate.read_bytes())
    impostor = Listener()
    with impostor.listening(other, None):
        assert "a message is run" in launched(impostor.port, own)
    assert impostor.paths


def test_a_program_without_tls_gets_nothing_run_either(own: Loopback) -> None:
    impostor = Listener()
    with impostor.listening(None, None):
        said = launched(impostor.port, own)
    assert "not this site's SuperNode" in said
    assert impostor.paths == []


@contextmanager
def connected(port: int, own: Loopback, secret: bytes | None) -> Iterator[RuntimeHttpClient]:
    interceptors: list[Any] = [RuntimeVersionHttpInterceptor(component_name="SuperExec")]
    if secret is not None:
        methods = frozenset({"/flwr.proto.Runtime/AcquireTask"})
        interceptors.append(
            SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=methods)
        )
    client = RuntimeHttpClient.from_server_address(
        f"{HOST}:{port}", False, own.certificate.read_bytes(), interceptors
    )
    try:
        yield client
    finally:
        client.close()


def acquired(port: int, own: Loopback, secret: bytes | None) -> AcquireTaskResponse:
    with connected(port, own, secret) as client:
        return client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))


@pytest.mark.parametrize("secret", [None, b"guessed"])
def test_a_user_who_connects_to_the_supernode_first_is_handed_no_message(
    secret: bytes | None, own: Loopback
) -> None:
    node, real = Listener(), own.secret.read_bytes()
    with node.listening(own, real):
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            acquired(node.port, own, secret)
        with (
            connected(node.port, own, secret) as client,
            pytest.raises(httpx.HTTPStatusError, match="401"),
        ):
            client.PullTaskInput(PullTaskInputRequest())
        assert acquired(node.port, own, real).token


def test_a_supernode_without_a_secret_would_hand_a_message_to_anybody(own: Loopback) -> None:
    node = Listener()
    with node.listening(own, None):
        assert acquired(node.port, own, None).token


def test_a_port_that_is_taken_stops_the_real_supernode(own: Loopback) -> None:
    """Flower must not go on without the line: the launcher would wait beside a stranger."""
    script = (
        "import sys\n"
        "from common.flower.supernode import flower_supernode\n"
        "from common.utils.processes import end_with_this_thread\n"
        "sys.argv = sys.argv[1:]\n"
        "end_with_this_thread(flower_supernode)\n"
    )
    with socket.create_server((HOST, 0)) as stranger:
        port = stranger.getsockname()[1]
        command = [sys.executable, "-c", script, "flower-supernode", "--insecure"]
        command += ["--superlink", f"{HOST}:{free_port()}", "--isolation", "process"]
        done = subprocess.run(
            [*command, *own.of_node(port)], capture_output=True, text=True, timeout=SECONDS
        )
    assert done.returncode != 0
    assert "address already in use" in done.stdout + done.stderr


def test_credentials_are_new_at_every_start_and_for_this_user_alone(own: Loopback) -> None:
    files = (own.certificate, own.key, own.secret)
    before = [path.read_bytes() for path in files]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(own.folder.stat().st_mode) == 0o700
    own.renew()
    assert all(old != path.read_bytes() for old, path in zip(before, files, strict=True))


def test_flower_understands_both_sides_arguments(own: Loopback) -> None:
    from flwr.supercore.cli.flower_superexec import _parse_args
    from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

    node = _parse_args_run_supernode().parse_args(["--insecure", *own.of_node(9094)])
    launcher = _parse_args().parse_args(own.of_launcher(9094))
    assert launcher.runtime_api_address == f"{node.host}:{node.port}"
    assert launcher.root_certificates == node.ssl_ca_certfile == node.ssl_certfile
    assert launcher.superexec_auth_secret_file == node.superexec_auth_secret_file
    assert not launcher.insecure
