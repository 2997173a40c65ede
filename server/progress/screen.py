"""Print the progress of several runs at once, from their events.jsonl."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from common.disclosure.rule import patients_of
from common.models import MODELS
from common.utils.text_file import on_one_line
from server.federation.obstacles import Obstacle, obstacle_table
from server.progress.events import EventTail

PHASES = {
    "enrolment": "hospitals enrol",
    "table1": "Table 1",
    **{name: spec.short for name, spec in MODELS.items()},
    # also in a study without fusions: its training measures are of these predictions
    "fusion_decision": "out-of-fold predictions, decision-level fusion",
    "evaluation": "evaluation at the test hospitals",
}

LINES = {
    "stacker": "  stacker {candidate}: cross-validated AUC {auc:.3f}",
    "may_leave": "  {site} may be left out once it is away for {days} days",
    "lost": "  {site}: {why}; it will be asked again",
    "keys_renewed": "  [yellow]{site} was started again: all agree on new keys[/yellow]",
    "restarted": "  [yellow]{what} had ended and was started again[/yellow]",
    "no_manuscript": "  [yellow]{message}[/yellow]",
    "failed": "[red]stopped[/red]",
    "finished": "finished",
}
"""Lines of events that need no more than their own words."""


class Follower:
    """Printer of new events of a run, one line a step."""

    def __init__(self, label: str, path: Path, console: Console) -> None:
        self._label, self._console = label, console
        # a resumed run goes on in the same file
        self._tail = EventTail(path, path.stat().st_size if path.is_file() else 0)
        self._start = time.monotonic()

    def poll(self) -> None:
        """Print the events written since the last call."""
        for event in self._tail.new():
            if event["kind"] == "not_enrolled":
                self._console.print(obstacle_table([Obstacle(**row) for row in event["rows"]]))
            text = describe(_as_text(event))
            if text:
                seconds = time.monotonic() - self._start
                self._console.print(
                    f"[dim]{seconds:6.0f} s[/dim]  {self._label:<18} {text}", highlight=False
                )


def _as_text(value: Any) -> Any:
    """Escape all texts of an event: some are a site's."""
    if isinstance(value, str):
        return escape(on_one_line(value))
    if isinstance(value, dict):
        return {key: _as_text(part) for key, part in value.items()}
    return [_as_text(part) for part in value] if isinstance(value, list) else value


def describe(event: dict[str, Any]) -> str:
    """Return one line for an event, empty for those that are not worth one."""
    kind = event["kind"]
    if kind == "phase":
        return PHASES.get(event["phase"], str(event["phase"]))
    if kind == "enrolled":
        counts = ", ".join(f"{name} {n}" for name, (n, _) in event["counts"].items())
        return f"  {event['site']} joined ({counts})"
    if kind == "round" and event["round"] == event["rounds"]:
        loss = "" if event["loss"] is None else f", training loss {event['loss']:.3f}"
        return f"  {event['variant']}: {event['rounds']} rounds{loss}"
    if kind == "stopped_early":
        best = f"no better one since round {event['best']}"
        return f"  {event['variant']}: stopped after {event['round']} rounds, {best}"
    if kind == "refused":
        whose = patients_of(event["subset"])
        return f"  [yellow]{event['site']} refuses: {event['rule']}, {whose}[/yellow]"
    if kind == "objected":
        which = f"round {event['round']} of {event['network']}/{event['variant']}"
        losses = f"{event['before']:g} to {event['after']:g}"
        return f"  [yellow]{event['site']} objects to {which}: held-out loss {losses}[/yellow]"
    if kind == "foretold":
        whose = patients_of(event["subset"])
        return f"  {event['site']} will withhold: {event['rule']}, {whose}"
    if kind == "not_enrolled":
        return f"  [yellow]{event['note']}[/yellow]" if event["note"] else ""
    if kind == "waiting":
        late = ", ".join(_late(site) for site in event["sites"])
        return f"  [yellow]waiting for {late}[/yellow]"
    if kind in ("went_on", "not_signed", "all_needed"):
        return f"  [yellow]{_of_rounds(kind, event)}[/yellow]"
    if kind == "resumed":
        complete = "this run was complete; its results are taken as they are"
        return complete if event.get("complete") else "going on with an interrupted run"
    return LINES.get(kind, "").format(**event)


def _of_rounds(kind: str, event: dict[str, Any]) -> str:
    """Describe what happens to a training whose rounds go on without some hospitals."""
    which = f"{event['network']} {event['variant']}"
    if kind == "all_needed":
        why = f"{event['site']} has let max_departures rounds go on without one or two hospitals"
        return f"{which} waits for all hospitals in every round: {why}"
    which = f"{which}, round {event['round'] + 1}"
    if kind == "not_signed":
        return f"{which}: a hospital answered and was gone; the others answer again"
    return f"{which} goes on without {', '.join(event['without'])}, back in the next training"


def _late(site: dict[str, Any]) -> str:
    why = f", {site['why']}" if site["why"] else ""
    return f"{site['site']} ({site['seconds']} s{why})"


def follow(followers: Sequence[Follower]) -> None:
    """Poll all of them once."""
    for follower in followers:
        follower.poll()
