"""The facts of a run as numbers for Prometheus, and as one word for a check of health.

Of hospitals there are the name, and when and how much they answered; of patients nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.utils import metrics
from common.utils.metrics import Labels, Metric

STATES = ("not started", "under way", "finished", "stopped", "interrupted")
WELL = ("not started", "under way", "finished")


def healthy(facts: Mapping[str, Any]) -> bool:
    """Return whether the run goes on, has yet to begin, or has reached its end."""
    return facts["state"] in WELL


def exposition(facts: Mapping[str, Any]) -> str:
    """Write the facts of `LiveRun.read` for Prometheus."""
    return metrics.exposition((*_of_run(facts), *_of_sites(facts)))


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
