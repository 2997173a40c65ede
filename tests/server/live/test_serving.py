"""The live page answers its reader, and nobody else."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

from common.errors import UsageError
from server.live.serving import LiveServer


def ask(server: LiveServer, method: str, path: str, host: str | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    headers = {} if host is None else {"Host": host}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def test_it_listens_on_the_loopback_address_alone(server: LiveServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW"]
)
@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics", "/health", "/elsewhere"])
def test_every_method_but_get_is_refused(server: LiveServer, method: str, path: str) -> None:
    answer = ask(server, method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("name", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_name_for_this_machine_gets_nothing(server: LiveServer, name: str) -> None:
    for path in ("/", "/status.json", "/metrics", "/health"):
        answer = ask(server, "GET", path, name)
        assert (answer.status, answer.body) == (403, b"not a name of this machine\n")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost:8080", "LOCALHOST"])
def test_a_tunnel_may_end_at_another_port(server: LiveServer, name: str) -> None:
    assert ask(server, "GET", "/status.json", name).status == 200


def test_two_names_at_once_get_nothing(server: LiveServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), 5) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n")
        assert b" 403 " in line.recv(200)


@pytest.mark.parametrize(
    "path",
    [
        "/events.jsonl",
        "/../events.jsonl",
        "/%2e%2e/events.jsonl",
        "//etc/passwd",
        "/status.json/..",
    ],
)
def test_no_address_leads_to_a_file(server: LiveServer, run: Any, path: str) -> None:
    run.start()
    assert ask(server, "GET", path).status == 404


def test_the_page_may_load_nothing_but_its_own_facts(server: LiveServer) -> None:
    answer = ask(server, "GET", "/")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert b"src=" not in answer.body
    assert b"Access-Control-Allow-Origin" not in bytes(answer.headers)


def test_facts_that_cannot_be_read_are_an_answer_and_not_the_end(
    server: LiveServer, run: Any
) -> None:
    (run.folder / "study.toml").write_text("no study", encoding="utf-8")
    answer = ask(server, "GET", "/status.json")
    assert (answer.status, b"InputError" in answer.body) == (503, True)
    (run.folder / "study.toml").unlink()
    assert json.loads(ask(server, "GET", "/status.json").body)["state"] == "not started"


def test_a_port_that_is_taken_is_told(server: LiveServer) -> None:
    with pytest.raises(UsageError, match="cannot be had"):
        LiveServer(dict, server.server_port)
