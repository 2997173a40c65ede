"""The proxy's configuration in a real nginx: hospitals reach a SuperNode's calls and no more."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.commands.init import join
from client.site import identity_of, load_site
from common.errors import StudyError
from common.masking import identity
from common.messages.joining import Invitation, JoinRequest
from common.messages.status_ticket import PATH, StatusTicket
from common.utils.processes import free_port
from server.deployment.folder import CoordinatorFolder, CoordinatorSettings, only_one
from server.deployment.init import make_coordinator, renew
from server.deployment.nginx import FLEET_CALLS
from server.deployment.roster import enrol
from server.deployment.run_folder import RunFolder
from server.live.for_hospitals import shown_to_hospitals
from server.progress.events import Events
from tests import builders

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: make nginx")


class SuperLinkDouble(ThreadingHTTPServer):
    """Stands where the SuperLink would, with its certificate, and notes what gets through."""

    def __init__(self, folder: CoordinatorFolder, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Noting)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder.server_certificate, folder.server_key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.seen: list[tuple[str, str, int]] = []


class _Noting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        assert isinstance(self.server, SuperLinkDouble)
        self.server.seen.append((self.path, self.headers.get("flwr-signature", ""), len(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Proxy:
    """A running nginx with the configuration of a coordinator's folder."""

    def __init__(self, folder: CoordinatorFolder) -> None:
        self.folder, self.port = folder, folder.settings().public_port
        self.command = [str(NGINX), "-p", str(folder.proxy), "-c", "nginx.conf"]

    def start(self) -> None:
        subprocess.run([*self.command, "-t"], check=True, capture_output=True)
        subprocess.run(self.command, check=True, capture_output=True)

    def stop(self) -> None:
        subprocess.run([*self.command, "-s", "stop"], check=True, capture_output=True)
        pid = self.folder.proxy / "nginx.pid"
        deadline = time.monotonic() + 10
        while pid.exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def ask(self, path: str, method: str = "POST", body: bytes = b"") -> int:
        """Status of the answer to a request, the path sent as it is."""
        context = ssl.create_default_context(cafile=str(self.folder.authority))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            connection.putheader("flwr-signature", "signed")
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CoordinatorFolder:
    root = tmp_path_factory.mktemp("hub") / "hub"
    settings = CoordinatorSettings(address=f"127.0.0.1:{free_port()}", port=free_port())
    return make_coordinator(root, settings)


@pytest.fixture(scope="module")
def superlink(folder: CoordinatorFolder) -> Iterator[SuperLinkDouble]:
    server = SuperLinkDouble(folder, folder.settings().port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def proxy(folder: CoordinatorFolder, superlink: SuperLinkDouble) -> Iterator[Proxy]:
    running = Proxy(folder)
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize("call", FLEET_CALLS)
def test_a_supernodes_calls_get_through_with_their_signature(
    proxy: Proxy, superlink: SuperLinkDouble, call: str
) -> None:
    assert proxy.ask(f"/v1/fleet/{call}", body=b"x" * 100) == 200
    assert superlink.seen[-1] == (f"/v1/fleet/{call}", "signed", 100)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/control/list-nodes",
        "/v1/runtime/acquire-task",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/..%2fcontrol%2fstart-run",
        "/v1/fleet/%252e%252e/control/start-run",
        "/v1/fleet/pull-messages/../../control/start-run",
        "//v1/control/start-run",
        "/V1/CONTROL/start-run",
        "/docs",
        "/openapi.json",
        "/health",
        "/",
    ],
)
def test_nothing_else_gets_through(proxy: Proxy, superlink: SuperLinkDouble, path: str) -> None:
    before = len(superlink.seen)
    assert proxy.ask(path) == 403
    assert len(superlink.seen) == before


def test_a_path_in_disguise_arrives_as_what_it_was_taken_for(
    proxy: Proxy, superlink: SuperLinkDouble
) -> None:
    assert proxy.ask("/v1/control/../fleet/pull-messages") == 200
    assert superlink.seen[-1][0] == "/v1/fleet/pull-messages"


def test_an_attempt_to_start_a_run_is_logged(proxy: Proxy) -> None:
    proxy.ask("/v1/control/start-run?attempt=logged")
    wanted = '/v1/control/start-run?attempt=logged HTTP/1.1" 403'
    log = proxy.folder.proxy / "access.log"
    # nginx writes the line after it has answered
    deadline = time.monotonic() + 20
    while wanted not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.05)


def test_only_calls_with_a_body_get_through(proxy: Proxy, superlink: SuperLinkDouble) -> None:
    before = len(superlink.seen)
    assert proxy.ask("/v1/fleet/pull-messages", method="DELETE") == 403
    assert len(superlink.seen) == before


def test_a_large_part_of_a_message_gets_through(proxy: Proxy, superlink: SuperLinkDouble) -> None:
    assert proxy.ask("/v1/fleet/push-object", body=b"x" * 6_000_000) == 200
    assert superlink.seen[-1][2] == 6_000_000


def test_a_superlink_that_cannot_show_its_certificate_is_not_talked_to(
    proxy: Proxy, superlink: SuperLinkDouble, tmp_path: Path
) -> None:
    folder = make_coordinator(
        tmp_path / "hub",
        CoordinatorSettings(address=f"127.0.0.1:{free_port()}", port=proxy.folder.settings().port),
    )
    other = Proxy(folder)
    before = len(superlink.seen)
    other.start()
    try:
        assert other.ask("/v1/fleet/pull-messages") == 502
    finally:
        other.stop()
    assert len(superlink.seen) == before


def test_a_renewed_certificate_needs_a_reload_only(proxy: Proxy) -> None:
    renew(proxy.folder)
    subprocess.run([*proxy.command, "-s", "reload"], check=True, capture_output=True)
    assert proxy.ask("/docs") == 403


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Path]]:
    """A coordinator that shows hospitals how a run stands, and the folder of one that is enrolled.

    A run of the study of that hospital is under way, as far as its files say.
    """
    root = tmp_path_factory.mktemp("shown")
    address = f"127.0.0.1:{free_port()}"
    settings = CoordinatorSettings(address=address, port=free_port(), status_port=free_port())
    folder = make_coordinator(root / "hub", settings)
    made = join(root / "north", "north", Invitation.read(folder.invitation), port=9094)
    enrol(folder, JoinRequest.read(made.request_file), replace=False)
    run = RunFolder(folder.runs / "s-1")
    run.study_file.parent.mkdir(parents=True)
    builders.study_file(run.study_file, sites=("north", "south", "west"))
    events = Events(run.events_file)
    events.emit("started", phases=["enrolment", "table1"], rounds={}, trainings=0)
    events.emit("phase", phase="enrolment", number=1, phases=2)
    running = Proxy(folder)
    running.start()
    try:
        with only_one(folder), shown_to_hospitals(folder, [run], print):
            yield running, root / "north"
    finally:
        running.stop()


def seen(site: Path) -> Any:
    return CliRunner().invoke(app, ["status", str(site), "--json"], catch_exceptions=True)


def asked_with(proxy: Proxy, header: str | None, method: str = "GET", path: str = PATH) -> int:
    context = ssl.create_default_context(cafile=str(proxy.folder.authority))
    connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=context)
    try:
        headers = {} if header is None else {"Authorization": header}
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_enrolled_hospital_sees_through_the_proxy_how_a_run_stands(
    shown: tuple[Proxy, Path],
) -> None:
    done = seen(shown[1])
    assert done.exit_code == 0, done.exception
    (own,) = json.loads(done.stdout)["runs"]
    assert (own["study"], own["state"], own["phase"]) == ("s", "under way", "hospitals enrol")
    waited = [(one["site"], one["connected"]) for one in own["waits_for"]]
    assert waited == [("north", False), ("south", False), ("west", False)]
    words = CliRunner().invoke(app, ["status", str(shown[1])]).stdout
    assert "waits for north (THIS HOSPITAL), not connected" in words


def test_a_stranger_is_kept_out_and_a_captured_request_is_worth_nothing(
    shown: tuple[Proxy, Path],
) -> None:
    proxy, site = shown
    own = load_site(site / "site.toml")
    assert own.deployment is not None
    key = own.deployment.coordinator_key
    captured = StatusTicket.sign(identity_of(own), "north", key).header()
    strange = StatusTicket.sign(identity.generate(), "north", key).header()
    for header in (None, "", "Basic bm9ydGg6cGFzc3dvcmQ=", "Fedlnm x", strange):
        assert asked_with(proxy, header) == 403
    assert asked_with(proxy, captured) == 200
    assert asked_with(proxy, captured) == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_the_page_is_only_read(shown: tuple[Proxy, Path], method: str) -> None:
    own = load_site(shown[1] / "site.toml")
    assert own.deployment is not None
    ticket = StatusTicket.sign(identity_of(own), "north", own.deployment.coordinator_key)
    assert asked_with(shown[0], ticket.header(), method) in (403, 405)


@pytest.mark.parametrize("path", ["/status/", "/status.json", "/metrics", "/health", "/", "/docs"])
def test_a_ticket_opens_that_one_page_alone(shown: tuple[Proxy, Path], path: str) -> None:
    own = load_site(shown[1] / "site.toml")
    assert own.deployment is not None
    ticket = StatusTicket.sign(identity_of(own), "north", own.deployment.coordinator_key)
    assert asked_with(shown[0], ticket.header(), path=path) == 403


def test_without_a_port_there_is_no_such_page(proxy: Proxy) -> None:
    header = StatusTicket.sign(identity.generate(), "north", "").header()
    assert asked_with(proxy, header) == 403
    assert "status" not in (proxy.folder.proxy / "fedlnm.conf").read_text(encoding="utf-8")


def test_once_the_run_has_ended_the_hospital_hears_that_none_is_run(
    tmp_path: Path,
) -> None:
    settings = CoordinatorSettings(
        address=f"127.0.0.1:{free_port()}", port=free_port(), status_port=free_port()
    )
    other = Proxy(make_coordinator(tmp_path / "hub", settings))
    join(tmp_path / "north", "north", Invitation.read(other.folder.invitation), port=9094)
    other.start()
    try:
        ended = seen(tmp_path / "north")
    finally:
        other.stop()
    assert isinstance(ended.exception, StudyError)
    assert "runs no study at the moment" in str(ended.exception)
    stopped = seen(tmp_path / "north")
    assert "nothing listens there" in str(stopped.exception)
