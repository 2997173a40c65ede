"""Serve one page, read-only, to this machine alone and to no other page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from common.errors import UsageError
from common.html.pages import policy_source, render
from server.live.metrics import CONTENT_TYPE, exposition, healthy
from server.live.snapshot import LiveRun

ADDRESS = "127.0.0.1"
# Any port: a tunnel (ssh -L) may end at another one. A foreign name that somebody has pointed at
# 127.0.0.1 (DNS rebinding) is what has to be kept out.
OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)
Reader = Callable[[], dict[str, Any]]


PAGE = render("server.live", "live.html")
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {policy_source(PAGE, 'script')};"
        f" style-src {policy_source(PAGE, 'style')};"
        " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Handler(BaseHTTPRequestHandler):
    """Handler of GET for four addresses; there is no way from a request to a file."""

    server: LiveServer
    server_version, sys_version = "fedlnm", ""
    timeout = 10.0  # seconds for a request to arrive

    def do_GET(self) -> None:
        """Answer with the page, or with the facts that it shows."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not OWN_HOST.fullmatch(hosts[0].strip()):
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"not a name of this machine\n")
        elif self.path == "/":
            self._answer(HTTPStatus.OK, "text/html", PAGE.encode())
        elif self.path in ("/status.json", "/metrics", "/health"):
            self._tell_facts()
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"no such page\n")

    def _tell_facts(self) -> None:
        """Answer with the facts for the page, for Prometheus, or for a check of health."""
        status, kind = HTTPStatus.OK, "text/plain"
        try:
            facts = self.server.read()
            if self.path == "/metrics":
                kind, body = CONTENT_TYPE, exposition(facts)
            elif self.path == "/health":
                body = f"{facts['state']}\n"
                status = HTTPStatus.OK if healthy(facts) else HTTPStatus.SERVICE_UNAVAILABLE
            else:
                kind, body = "application/json", json.dumps(facts, allow_nan=False)
        except Exception as error:  # the page says so and asks again
            status, kind = HTTPStatus.SERVICE_UNAVAILABLE, "text/plain"
            body = f"{type(error).__name__}: {error}\n"
        self._answer(status, kind, body.encode())

    def __getattr__(self, name: str) -> Any:
        # http.server looks for do_METHOD: every method but GET is refused in the same words
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def _refuse_method(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"this page is only read\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is there
        """Write nothing: a page that asks every two seconds would fill the screen."""


class LiveServer(ThreadingHTTPServer):
    """Server of the page on the loopback address.

    Parameters
    ----------
    read : what the page shows, JSON-able.
    port : 0 = any that is free.

    Raises
    ------
    UsageError : somebody else has the port.
    """

    daemon_threads = True

    def __init__(self, read: Reader, port: int = 0) -> None:
        self.read = read
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be had: {error.strerror}",
                where="--port",
                remedy="give another, or 0 for any that is free",
            ) from None

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that went away."""


def serve(run: LiveRun, port: int, say: Callable[[str], None]) -> None:
    """Serve the page of a run; returns at Ctrl-C, which is how it is meant to end."""
    with LiveServer(run.read, port) as server:
        say(f"page of the run, for this machine only: {server.url}")
        say("Ctrl-C ends the page; the run goes on")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say("the page has ended")
