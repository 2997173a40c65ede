"""The facts of the live page: progress, sites, curves and, at the end, the models' AUCs.

It holds what the coordinator knows anyway, so nothing of a single patient.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from common.models import MODELS, in_order
from server.deployment.folder import CoordinatorFolder
from server.deployment.run_folder import RunFolder
from server.deployment.status import EVENTS, RunStatus, simulated_status, status_of
from server.progress.events import EventTail, read_events
from server.progress.run import progress_of
from server.progress.screen import PHASES, describe
from server.report.reading import set_label
from server.report.words import (
    STACKER_LABELS,
    humanise,
    model_label,
    run_label,
    variant_label,
)

FRESH_SECONDS = 1.0
Reader = Callable[[Sequence[Mapping[str, Any]]], RunStatus]


class LiveRun:
    """A run as it is now; many pages that ask at once cost no more than one."""

    def __init__(self, folder: Path, status: Reader) -> None:
        self._folder, self._status = folder, status
        self._tail = EventTail(folder / EVENTS)
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        self._read_at = -FRESH_SECONDS

    def read(self) -> dict[str, Any]:
        """Return everything that the page shows, at most a second old."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                events = self._tail.events()
                self._known = snapshot(self._status(events), events, self._folder)
                self._read_at = time.monotonic()
            return self._known


def of_deployment(folder: CoordinatorFolder, run: RunFolder) -> LiveRun:
    """Follow a run of the coordinator of this folder."""
    return LiveRun(run.path, lambda events: status_of(folder, run, events))


def of_simulation(folder: Path) -> LiveRun:
    """Follow the run in this folder."""
    return LiveRun(folder, lambda events: simulated_status(folder, events))


LAST_EVENTS = 12


def snapshot(
    status: RunStatus, events: Sequence[Mapping[str, Any]], folder: Path
) -> dict[str, Any]:
    """Return everything that the page shows, JSON-able."""
    return {
        **status.as_dict(),
        "now": time.time(),
        "last_event": events[-1]["time"] if events else None,
        "phase_list": _phases(status, events),
        "curves": curves(events),
        "stackers": _stackers(events),
        "performance": _performance(folder) if status.state == "finished" else [],
        "refusals": _refusals(events),
        "log": _log(events),
        "references": _references(folder),
    }


def _phases(status: RunStatus, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    plan = [event for event in events if event["kind"] in ("started", "resumed")]
    took = {event["phase"]: event["seconds"] for event in events if event["kind"] == "phase_done"}
    names: Sequence[str] = plan[-1].get("phases", ()) if plan else ()
    current = status.progress.number - 1
    listed = []
    for place, name in enumerate(names):
        ended = place < current or status.state == "finished"
        state = "done" if ended else "now" if place == current else "ahead"
        seconds = took.get(name) if ended else None
        listed.append({"label": PHASES.get(name, name), "state": state, "seconds": seconds})
    return listed


def _stackers(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = {event["candidate"]: event["auc"] for event in events if event["kind"] == "stacker"}
    return [
        {"label": STACKER_LABELS.get(name, humanise(name)), "auc": auc}
        for name, auc in found.items()
    ]


def _performance(folder: Path) -> list[dict[str, Any]]:
    """Return the AUCs of the results, of the references too once they are there."""
    for name in ("results.json", "run.json"):
        try:
            rows = json.loads((folder / name).read_text(encoding="utf-8"))["performance"]
        except (OSError, ValueError, KeyError):  # not there, or being written
            continue
        rows.sort(key=lambda row: in_order(MODELS).index(row["model"]))
        return [
            {
                "set": set_label(row["set"]),
                "n": row["n"],
                "model": MODELS[row["model"]].label,
                **{key: row[key] for key in ("auc", "ci_low", "ci_high")},
            }
            for row in rows
            if row["run"] == "federated"
        ]
    return []


def _refusals(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    kept = ("site", "rule", "threshold", "subset")
    rows = [e for e in events if e["kind"] in ("refused", "withheld")]
    return [{"time": row["time"], **{key: row.get(key) for key in kept}} for row in rows]


def _log(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the last events worth a line, newest first."""
    lines: list[dict[str, Any]] = []
    for event in reversed(events):
        named = dict(event)
        if "variant" in named:  # people count folds from one, as the curves' captions do
            named["variant"] = variant_label(named["variant"])
        text = Text.from_markup(describe(named)).plain.strip()
        if text:
            lines.append({"time": event["time"], "text": text})
        if len(lines) == LAST_EVENTS:
            break
    return lines


def _references(folder: Path) -> list[dict[str, Any]]:
    """Return how far the reference runs of a simulation are."""
    rows = []
    for path in sorted(folder.glob("references/*/events.jsonl")):
        found = progress_of(read_events(path), time.time())
        # the folder `local-north` or `without-north` has the run `local:north` or `without:north`
        label = run_label(path.parent.name.replace("-", ":", 1))
        rows.append({"label": label, "state": found.state, "fraction": found.fraction})
    return rows


Point = tuple[int, float]


def curves(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the trainings of every network in the order they began.

    Each has points (round, loss) of the training patients and of those held out; a round that was
    reported twice counts as reported last, and a loss that is no finite number is left out.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        if event["kind"] != "round":
            continue
        one = found.setdefault(
            (event["network"], event["variant"]), {"rounds": 0, "train": {}, "held": {}}
        )
        number = int(event["round"])
        one["rounds"] = int(event["rounds"])
        one["train"][number] = event.get("loss")
        # the loss on the patients held out is that of the round before: it comes with the next
        one["held"][number - 1] = event.get("held_out_loss")
    networks: dict[str, list[dict[str, Any]]] = {}
    for (network, variant), one in found.items():
        networks.setdefault(network, []).append(
            {
                "label": variant_label(variant),
                "rounds": one["rounds"],
                "loss": _points(one["train"]),
                "held_out_loss": _points(one["held"]),
            }
        )
    return [
        {"network": model_label(name), "trainings": trainings}
        for name, trainings in networks.items()
    ]


def _points(values: Mapping[int, float | None]) -> list[Point]:
    return [
        (number, float(value))
        for number, value in sorted(values.items())
        if number > 0 and value is not None and math.isfinite(value)
    ]
