"""Serving the page until the person at the keyboard has seen enough."""

from __future__ import annotations

from collections.abc import Callable

from server.live.serving import LiveServer
from server.live.source import LiveRun


def serve(run: LiveRun, port: int, say: Callable[[str], None]) -> None:
    """Serve the page of a run; returns at Ctrl-C, which is how it is meant to end."""
    with LiveServer(run.read, port) as server:
        say(f"page of the run, for this machine only: {server.url}")
        say("Ctrl-C ends the page; the run goes on")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say("the page has ended")
