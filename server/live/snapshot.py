"""What the page is told of a run: progress, sites, curves and, at the end, how good the models are.

It holds what the coordinator knows anyway, so nothing of a single patient.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from server.deployment.status import RunStatus
from server.live.curves import curves
from server.progress.events import read_events
from server.progress.run import progress_of
from server.progress.screen import PHASES, describe
from server.report.reading import MODEL_ORDER, set_label
from server.report.words import MODEL_LABELS, STACKER_LABELS, humanise, run_label, variant_label

LAST_EVENTS = 12


def snapshot(status: RunStatus, told: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    """Everything that the page shows, JSON-able."""
    return {
        **status.as_dict(),
        "now": time.time(),
        "last_event": told[-1]["time"] if told else None,
        "phase_list": _phases(status, told),
        "curves": curves(told),
        "stackers": _stackers(told),
        "performance": _performance(folder) if status.state == "finished" else [],
        "refusals": _refusals(told),
        "log": _log(told),
        "references": _references(folder),
    }


def _phases(status: RunStatus, told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    plan = [event for event in told if event["kind"] in ("started", "resumed")]
    took = {event["phase"]: event["seconds"] for event in told if event["kind"] == "phase_done"}
    names: Sequence[str] = plan[-1].get("phases", ()) if plan else ()
    current = status.progress.number - 1
    listed = []
    for place, name in enumerate(names):
        ended = place < current or status.state == "finished"
        state = "done" if ended else "now" if place == current else "ahead"
        seconds = took.get(name) if ended else None
        listed.append({"label": PHASES.get(name, name), "state": state, "seconds": seconds})
    return listed


def _stackers(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = {event["candidate"]: event["auc"] for event in told if event["kind"] == "stacker"}
    return [
        {"label": STACKER_LABELS.get(name, humanise(name)), "auc": auc}
        for name, auc in found.items()
    ]


def _performance(folder: Path) -> list[dict[str, Any]]:
    """AUCs of the results, those of the references as well once they are there."""
    for name in ("results.json", "run.json"):
        try:
            rows = json.loads((folder / name).read_text(encoding="utf-8"))["performance"]
        except (OSError, ValueError, KeyError):  # not there, or being written
            continue
        rows.sort(key=lambda row: MODEL_ORDER.index(row["model"]))
        return [
            {
                "set": set_label(row["set"]),
                "n": row["n"],
                "model": MODEL_LABELS[row["model"]],
                **{key: row[key] for key in ("auc", "ci_low", "ci_high")},
            }
            for row in rows
            if row["run"] == "federated"
        ]
    return []


def _refusals(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    kept = ("site", "rule", "threshold", "subject")
    rows = [e for e in told if e["kind"] in ("refused", "withheld")]
    return [{"time": row["time"], **{key: row.get(key) for key in kept}} for row in rows]


def _log(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The last events worth a line, newest first."""
    lines: list[dict[str, Any]] = []
    for event in reversed(told):
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
    """Of a simulation: how far the runs for comparison are."""
    rows = []
    for path in sorted(folder.glob("references/*/events.jsonl")):
        found = progress_of(read_events(path), time.time())
        label = run_label(path.parent.name.replace("local-", "local:", 1))
        rows.append({"label": label, "state": found.state, "fraction": found.fraction})
    return rows
