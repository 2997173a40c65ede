"""A visit to a coordinator: reached or not, trusted or not, on time or not, and how fast."""

from __future__ import annotations

import dataclasses
import socket
import socketserver
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.check import network
from client.check.finding import Finding
from client.check.machine import check_clock
from client.check.network import PROBE_BYTES, check_coordinator, upload_speed, visit
from client.check.proxy import way_out
from client.site import Deployment, SiteSettings
from server.deployment.authority import make_authority


def found(deployment: Deployment) -> dict[str, Finding]:
    rows = check_coordinator(deployment, visit(deployment))
    return {row.kind.removeprefix("coordinator."): row for row in rows}


def test_a_coordinator_that_answers_under_its_own_certificate(hub: Any, tmp_path: Path) -> None:
    rows = found(hub().deployment(tmp_path))
    assert rows["reach"].severity == rows["certificate"].severity == "ok"
    assert rows["reach"].what.startswith("answers within")


def test_a_certificate_that_ends_soon_is_a_warning(hub: Any, tmp_path: Path) -> None:
    row = found(hub(days=7).deployment(tmp_path))["certificate"]
    assert row.severity == "warning"
    assert row.what.startswith("holds until 20")


def test_an_expired_certificate_is_named_with_its_end_and_this_clock(
    hub: Any, tmp_path: Path
) -> None:
    rows = found(hub(days=-2).deployment(tmp_path))
    assert rows["reach"].severity == "ok"
    assert rows["certificate"].severity == "problem"
    assert "the certificate expired on 20" in rows["certificate"].what
    assert "this machine's clock says" in rows["certificate"].what


def test_another_authority_is_not_trusted(hub: Any, tmp_path: Path) -> None:
    deployment = hub().deployment(tmp_path)
    (tmp_path / "coordinator.pem").write_bytes(make_authority("somebody else").certificate)
    row = found(deployment)["certificate"]
    assert row.severity == "problem"
    assert "not to be trusted" in row.what
    assert "root_certificates" in row.remedy


def test_a_certificate_for_another_name_is_said(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = hub().deployment(tmp_path, host="hub.example")
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest: real("127.0.0.1", *rest))
    row = found(deployment)["certificate"]
    assert (row.severity, row.what) == ("problem", "the certificate is for another name")


def test_nobody_listening_and_an_unknown_name_are_told_apart(hub: Any, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    deployment = hub().deployment(tmp_path)
    closed = deployment.model_copy(update={"superlink": f"127.0.0.1:{port}"})
    reach = found(closed)["reach"]
    assert (reach.severity, reach.what[:21]) == ("warning", "nothing listens there"), "not theirs"
    assert "fedlnm-site run waits for it" in reach.remedy
    assert found(closed)["certificate"].severity == "not checked"
    unknown = deployment.model_copy(update={"superlink": "no-such-host.invalid:443"})
    assert found(unknown)["reach"].what == "the name is not known"


def test_a_silent_network_is_told_after_a_while(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        deployment = hub().deployment(tmp_path).model_copy(update={"superlink": address})
        row = found(deployment)["reach"]
    assert row.severity == "problem"
    assert row.what.startswith("no answer within")


@contextmanager
def proxy(status: str, port: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Answer each CONNECT with a status, and connect to a port of this machine after 200."""
    heads: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            lines = iter(self.rfile.readline, b"\r\n")
            heads.append("".join(line.decode() for line in lines))
            self.wfile.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
            if not status.startswith("200"):
                return
            with socket.create_connection(("127.0.0.1", port)) as far:
                back = threading.Thread(target=self.carry, args=(far, self.connection))
                back.start()
                self.carry(self.connection, far)
                far.shutdown(socket.SHUT_RDWR)
                back.join()

        def carry(self, source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_address[1], heads
        finally:
            server.shutdown()


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the proxy of this machine's environment, and no other."""

    def chosen(url: str, name: str = "https_proxy") -> None:
        for variable in ("no_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(variable, raising=False)
            monkeypatch.delenv(variable.upper(), raising=False)
        monkeypatch.setenv(name, url)

    return chosen


@pytest.mark.parametrize("variable", ["https_proxy", "all_proxy"])
def test_a_proxy_with_a_password_gets_it(
    hub: Any, tmp_path: Path, through: Any, variable: str
) -> None:
    there = hub()
    with proxy("200 OK", there.port) as (port, heads):
        through(f"http://anna:p%40ss@127.0.0.1:{port}", variable)
        rows = found(there.deployment(tmp_path))
    assert rows["reach"].severity == rows["certificate"].severity == "ok"
    assert f"Proxy-Authorization: Basic {b64encode(b'anna:p@ss').decode()}" in heads[0]
    assert rows["proxy"].what == f"127.0.0.1:{port}, with a user and a password"


@pytest.mark.parametrize(
    ("status", "words", "what"),
    [
        *(
            (status, "anna:secret@", "the proxy refuses the user and password that it was given")
            for status in ("407 Proxy Authentication Required", "401 Unauthorized")
        ),
        ("407 Proxy Authentication Required", "", "the proxy asks for a user and a password"),
    ],
)
def test_a_refused_password_is_one_problem_with_its_remedy(
    hub: Any, tmp_path: Path, through: Any, status: str, words: str, what: str
) -> None:
    deployment = hub().deployment(tmp_path, host="hub.example")
    with proxy(status) as (port, _):
        through(f"http://{words}127.0.0.1:{port}")
        rows = found(deployment)
    assert (rows["proxy"].severity, rows["proxy"].what) == ("problem", what)
    assert rows["proxy"].where == f"127.0.0.1:{port}"
    assert "https_proxy=http://USER:PASSWORD@HOST:PORT into proxy.env" in rows["proxy"].remedy
    assert {rows["reach"].severity, rows["certificate"].severity} == {"not checked"}


@pytest.mark.parametrize(
    ("status", "first"),
    [
        ("403 Forbidden", "the hospital's network people"),
        ("500 Unable to connect", "the coordinator"),
        ("502 Bad Gateway", "the coordinator"),
    ],
)
def test_a_proxy_that_does_not_connect_there_is_named_with_its_own_remedy(
    hub: Any, tmp_path: Path, through: Any, status: str, first: str
) -> None:
    deployment = hub().deployment(tmp_path, host="hub.example")
    with proxy(status) as (port, _):
        through(f"http://anna:secret@127.0.0.1:{port}")
        row = found(deployment)["reach"]
    assert row.severity == ("problem" if status.startswith("4") else "warning"), "whose"
    assert row.what == (
        f"the proxy 127.0.0.1:{port} (https_proxy) does not connect to it ({status})"
    )
    assert row.remedy.startswith(f"ask {first}")
    assert "let the proxy connect to hub.example" in row.remedy


def test_an_unreadable_address_of_a_proxy_is_a_problem_of_the_proxy(
    hub: Any, tmp_path: Path, through: Any
) -> None:
    through("https://anna:secret@proxy.example:3128")
    rows = found(hub().deployment(tmp_path, host="hub.example"))
    assert rows["proxy"].severity == "problem"
    assert "has not the form http://USER:PASSWORD@HOST:PORT" in rows["proxy"].what
    assert "secret" not in str(rows)


def test_a_coordinator_that_is_exempt_is_reached_without_the_proxy(
    hub: Any, tmp_path: Path, through: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    through("http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "hub.example, 127.0.0.0/8, localhost")
    rows = found(hub().deployment(tmp_path))
    assert rows["proxy"].what == "none is on the way to the coordinator"
    assert rows["reach"].severity == "ok"


@pytest.mark.parametrize("given", ["root_certificates", "SSL_CERT_FILE"])
def test_a_bundle_of_certificates_is_trusted_alike_by_check_and_by_the_supernode(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    there = hub()
    deployment = there.deployment(tmp_path)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(make_authority("the hospital's own").certificate + there.authority)
    if given == "SSL_CERT_FILE":
        monkeypatch.setenv(given, str(bundle))
        deployment = deployment.model_copy(update={"root_certificates": None})
    else:
        deployment = deployment.model_copy(update={given: bundle})
    assert found(deployment)["certificate"].severity == "ok"
    for name, value in way_out(deployment).items():
        monkeypatch.setenv(name, value)
    own = deployment.root_certificates
    client = FleetHttpClient.from_server_address(
        deployment.superlink, False, own and own.read_bytes(), interceptors=()
    )
    with client, pytest.raises(httpx.HTTPStatusError, match="401"):  # an answer, over TLS
        client.GetRun(GetRunRequest())


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://127.0.0.1:1", "nothing listens where the proxy 127.0.0.1:1 (https_proxy)"),
        ("http://proxy.invalid:3128", "the name of the proxy proxy.invalid:3128 (https_proxy) is"),
    ],
)
def test_a_proxy_that_is_not_there_is_told_from_the_coordinator(
    hub: Any, tmp_path: Path, through: Any, url: str, what: str
) -> None:
    through(url)
    row = found(hub().deployment(tmp_path, host="hub.example"))["reach"]
    assert row.what.startswith(what)
    assert "https_proxy" in row.remedy


def test_a_lost_certificate_is_blamed_on_nobody_on_the_way(
    hub: Any, tmp_path: Path, through: Any
) -> None:
    deployment = hub().deployment(tmp_path)
    assert deployment.root_certificates is not None
    deployment.root_certificates.rename(tmp_path / "elsewhere")
    through("http://127.0.0.1:1")
    rows = list(check_coordinator(deployment, visit(deployment)))
    assert {row.severity for row in rows} == {"not checked"}
    assert all("is lost, with which the coordinator's" in row.what for row in rows)


def test_without_a_deployment_nothing_is_visited() -> None:
    rows = list(check_coordinator(None, None))
    assert {row.severity for row in rows} == {"not applicable"}
    assert all("[deployment]" in row.what for row in rows)


@pytest.mark.parametrize(
    ("server_ahead", "severity", "words"),
    [
        (0.0, "ok", "agrees"),
        (3600.0, "problem", "behind the coordinator's"),
        (-60.0, "problem", "ahead of the coordinator's"),
        (120.0, "warning", "behind the coordinator's"),
    ],
)
def test_the_clock_is_held_against_the_coordinators(
    hub: Any, tmp_path: Path, server_ahead: float, severity: str, words: str
) -> None:
    seen = visit(hub(ahead=server_ahead).deployment(tmp_path))
    rows = list(check_clock(SiteSettings(name="a", data=tmp_path), seen))
    assert rows[-1].severity == severity
    assert words in rows[-1].what


def test_a_coordinator_that_does_not_tell_the_time_leaves_the_clock_unchecked(
    hub: Any, tmp_path: Path
) -> None:
    seen = dataclasses.replace(visit(hub().deployment(tmp_path)), ahead=None)
    rows = list(check_clock(SiteSettings(name="a", data=tmp_path), seen))
    assert [row.severity for row in rows] == ["ok", "not checked"]


def test_speed_is_that_of_bytes_sent_and_thrown_away(hub: Any, tmp_path: Path) -> None:
    received: list[int] = []
    speed = upload_speed(hub(received=received).deployment(tmp_path))
    assert received == [PROBE_BYTES]
    assert speed is not None
    assert speed > 0


def test_no_speed_is_made_up_where_nobody_answers(hub: Any, tmp_path: Path) -> None:
    deployment = hub().deployment(tmp_path).model_copy(update={"superlink": "127.0.0.1:1"})
    assert upload_speed(deployment) is None
