"""Serve a few read-only pages and numbers for Prometheus to this machine alone.

There is no way from a request to a file: each address has a function that makes its page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from common.errors import UsageError

ADDRESS = "127.0.0.1"
# Any port: a tunnel (ssh -L) may end at another one. A foreign name that somebody has pointed at
# 127.0.0.1 (DNS rebinding) is what has to be kept out.
OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Page:
    """Answer to a request: its text, and of which kind that is."""

    text: str
    kind: str = "text/plain"
    status: HTTPStatus = HTTPStatus.OK


class Request:
    """Request for a page.

    Parameters
    ----------
    headers : by lower-case name; of one that came several times, all values.
    """

    def __init__(self, headers: Mapping[str, list[str]]) -> None:
        self._headers = headers

    def one(self, name: str) -> str:
        """Return the value of a header, empty where it came not at all or more than once."""
        values = self._headers.get(name.lower(), [])
        return values[0] if len(values) == 1 else ""


Maker = Callable[[Request], Page]


class Handler(BaseHTTPRequestHandler):
    """Handler of GET for the pages of a `LoopbackServer`."""

    server: LoopbackServer
    server_version, sys_version = "fedlnm", ""
    timeout = 10.0  # seconds for a request to arrive

    def do_GET(self) -> None:
        """Answer with the page of this address."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not OWN_HOST.fullmatch(hosts[0].strip()):
            page = Page("not a name of this machine\n", status=HTTPStatus.FORBIDDEN)
        elif (maker := self.server.pages.get(self.path)) is None:
            page = Page("no such page\n", status=HTTPStatus.NOT_FOUND)
        else:
            page = self._made(maker)
        self._answer(page)

    def _made(self, maker: Maker) -> Page:
        names = {name.lower() for name in self.headers}
        try:
            return maker(Request({name: self.headers.get_all(name) or [] for name in names}))
        except Exception as error:  # whoever reads it asks again
            words = self.server.failure(error)
            return Page(f"{words}\n", status=HTTPStatus.SERVICE_UNAVAILABLE)

    def __getattr__(self, name: str) -> Any:
        # http.server looks for do_METHOD: every method but GET is refused in the same words
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def _refuse_method(self) -> None:
        self._answer(Page("this page is only read\n", status=HTTPStatus.METHOD_NOT_ALLOWED))

    def _answer(self, page: Page) -> None:
        body = page.text.encode()
        self.send_response(page.status)
        self.send_header("Content-Type", f"{page.kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if page.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is there
        """Write nothing: a page that asks every two seconds would fill the screen."""


class LoopbackServer(ThreadingHTTPServer):
    """Server of pages on the loopback address.

    Parameters
    ----------
    pages : by address, such as "/health".
    port : 0 = any that is free.
    headers : sent with every page.
    where : names the port's setting, should somebody else have the port.

    Raises
    ------
    UsageError : somebody else has the port.
    """

    daemon_threads = True

    def __init__(
        self,
        pages: Mapping[str, Maker],
        port: int = 0,
        headers: Mapping[str, str] = HEADERS,
        where: str = "--port",
    ) -> None:
        self.pages, self.headers = pages, headers
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be had: {error.strerror}",
                where=where,
                remedy="give another, or 0 for any that is free",
            ) from None

    @property
    def url(self) -> str:
        """Address of the first page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def failure(self, error: Exception) -> str:
        """Return the words in place of a page that could not be made."""
        return f"{type(error).__name__}: {error}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that went away."""


CONTENT_TYPE = "text/plain; version=0.0.4"
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Metric:
    """A metric and its values by labels."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    values: Iterable[tuple[Labels, float | None]]

    def lines(self) -> Iterator[str]:
        """Yield its lines; values that are not known are left out, and so is it without any."""
        known = [(labels, value) for labels, value in self.values if value is not None]
        if known:
            yield f"# HELP {self.name} {self.help}"
            yield f"# TYPE {self.name} {self.kind}"
        for labels, value in known:
            inner = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{self.name}{{{inner}}} {float(value)!r}"


def _escaped(text: str) -> str:
    """Escape a label's value.

    >>> print(_escaped('a"b'))
    a\\"b
    """
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def exposition(metrics: Iterable[Metric]) -> str:
    """Write metrics, one line a value."""
    lines = [line for metric in metrics for line in metric.lines()]
    return "\n".join(lines) + "\n"
