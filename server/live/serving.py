"""Serve one page, read-only, to this machine alone and to no other page."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from common.html.pages import policy_source, render
from common.utils import loopback_pages
from common.utils.loopback_pages import LoopbackServer, Page, Request
from common.utils.metrics import CONTENT_TYPE
from server.live.metrics import exposition, healthy
from server.live.snapshot import LiveRun

Reader = Callable[[], dict[str, Any]]


PAGE = render("server.live", "live.html")
HEADERS = {
    **loopback_pages.HEADERS,
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {policy_source(PAGE, 'script')};"
        f" style-src {policy_source(PAGE, 'style')};"
        " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
}


class LiveServer(LoopbackServer):
    """Server of the page and of its facts: for the page itself, for Prometheus, for a health check.

    Parameters
    ----------
    read : what the page shows, JSON-able.
    port : 0 = any that is free.

    Raises
    ------
    UsageError : somebody else has the port.
    """

    def __init__(self, read: Reader, port: int = 0) -> None:
        def health(_: Request) -> Page:
            facts = read()
            status = HTTPStatus.OK if healthy(facts) else HTTPStatus.SERVICE_UNAVAILABLE
            return Page(f"{facts['state']}\n", status=status)

        pages = {
            "/": lambda _: Page(PAGE, "text/html"),
            "/status.json": lambda _: Page(json.dumps(read(), allow_nan=False), "application/json"),
            "/metrics": lambda _: Page(exposition(read()), CONTENT_TYPE),
            "/health": health,
        }
        super().__init__(pages, port, HEADERS)


def serve(run: LiveRun, port: int, say: Callable[[str], None]) -> None:
    """Serve the page of a run; returns at Ctrl-C, which is how it is meant to end."""
    with LiveServer(run.read, port) as server:
        say(f"page of the run, for this machine only: {server.url}")
        say("Ctrl-C ends the page; the run goes on")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say("the page has ended")
