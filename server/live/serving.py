"""Serve one page, read-only, to this machine alone, with its facts as numbers for Prometheus.

Of hospitals there are the name, and when and how much they answered; of patients nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from common.html.pages import policy_source, render
from common.utils import loopback_pages
from common.utils.loopback_pages import CONTENT_TYPE, Labels, LoopbackServer, Metric, Page, Request
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


STATES = ("not started", "under way", "finished", "stopped", "interrupted")
WELL = ("not started", "under way", "finished")


def healthy(facts: Mapping[str, Any]) -> bool:
    """Return whether the run goes on, has yet to begin, or has reached its end."""
    return facts["state"] in WELL


def exposition(facts: Mapping[str, Any]) -> str:
    """Write the facts of `LiveRun.read` for Prometheus."""
    return loopback_pages.exposition((*_of_run(facts), *_of_sites(facts)))


def _of_run(facts: Mapping[str, Any]) -> Iterator[Metric]:
    own = {"run": str(facts["run"]), "study": str(facts["study"])}
    states = [({**own, "state": state}, float(facts["state"] == state)) for state in STATES]
    yield Metric("fedlnm_run_state", "gauge", "1 for the state that the run is in.", states)
    for name, key, words in (
        ("done_ratio", "fraction", "Share of the work that is done."),
        ("phase", "number", "Number of the phase that the run is in."),
        ("phases", "phases", "Phases of the study."),
        ("rounds_done", "rounds_done", "Rounds of network training done."),
        ("rounds_planned", "rounds_planned", "Rounds of network training planned."),
        ("seconds_left", "seconds_left", "Estimate of the time left."),
        ("last_event_timestamp_seconds", "last_event", "Time of the last event."),
    ):
        yield Metric(f"fedlnm_run_{name}", "gauge", words, [(own, facts[key])])
    words = "Programs that had ended and were started again."
    yield Metric("fedlnm_run_restarts_total", "counter", words, [(own, facts["restarts"])])


def _of_sites(facts: Mapping[str, Any]) -> Iterator[Metric]:
    sites: Mapping[str, Mapping[str, Any]] = facts["sites"]
    own = {site: {"run": str(facts["run"]), "site": site} for site in sites}
    connections = facts["connections"]

    def each(key: str) -> list[tuple[Labels, float | None]]:
        return [(own[site], one[key]) for site, one in sites.items()]

    yield Metric("fedlnm_site_enrolled", "gauge", "1 once it has joined.", each("enrolled"))
    online = [(own[s], float(connections[s] == "online")) for s in sites if s in connections]
    yield Metric("fedlnm_site_online", "gauge", "1 while it is connected.", online)
    last = each("last_contact")
    yield Metric("fedlnm_site_last_reply_timestamp_seconds", "gauge", "Time of its reply.", last)
    late = [
        (own[site], facts["now"] - one["waited_for_since"] if one["waited_for_since"] else 0.0)
        for site, one in sites.items()
    ]
    yield Metric("fedlnm_site_waited_for_seconds", "gauge", "Time that it is late by.", late)
    yield Metric("fedlnm_site_up_bytes_total", "counter", "Bytes of its replies.", each("bytes_up"))
    words = "Bytes of the requests to it."
    yield Metric("fedlnm_site_down_bytes_total", "counter", words, each("bytes_down"))
