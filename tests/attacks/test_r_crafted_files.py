"""Attack (r): a hospital or a coordinator sends a small file in which any field is another one.

What reads it refuses it in words, or shows it; it never ends with a traceback, and nothing in it
moves the cursor of a screen.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from client.commands.status import Seen, described
from common.errors import InputError
from common.messages.feasibility import FeasibilityReport
from common.study.model import Study
from common.utils.bounded import parse_json
from server.feasibility.assess import assess, lines
from tests import builders

STUDY: Study = builders.study(**builders.TABULAR)
CHECKED: dict[str, Any] = {
    "format": 1,
    "site": "a",
    "study": STUDY.name,
    "digest": STUDY.digest(),
    "release": "0.1.0",
    "device": "cpu",
    "cores": 2,
    "ready": False,
    "open_checks": ["machine.disk"],
    "counts": [
        {"subset": "train", "patients": 60, "positives": 20},
        {"subset": "internal", "patients": 15, "positives": 5},
    ],
    "rules": [{"rule": "rows", "subset": "train", "threshold": 5, "stops": True}],
    "load": [{"phase": "table1", "rounds": 3, "bytes_up": 1000}],
    "mbit_per_second": 10.0,
}
SHOWN: dict[str, Any] = {
    "runs": [
        {
            "run": "r",
            "study": "s",
            "state": "under way",
            "begun": 1.7e9,
            "now": 1.7e9,
            "phase": "table1",
            "number": 1,
            "phases": 2,
            "rounds_done": 0,
            "rounds_planned": 3,
            "done": 0.5,
            "seconds_left": 100.0,
            "waits_for": [{"site": "a", "since": 1.7e9, "connected": True}],
        }
    ]
}
OTHERS = [
    *[None, True, -1, 0, 1e-320, 1e308, 10**30, float("nan"), float("inf"), -float("inf")],
    *["x", "\x1b[2J", "[red]x[/red]", [], {}],
]


def spoilt(tree: Any) -> Iterator[str]:
    """Yield the tree as JSON with every part replaced by every other value in turn."""

    def places(part: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if at:
            yield at
        if isinstance(part, dict | list):
            for key, one in part.items() if isinstance(part, dict) else enumerate(part):
                yield from places(one, (*at, key))

    for at in places(tree):
        for other in OTHERS:
            made = copy.deepcopy(tree)
            within = made
            for key in at[:-1]:
                within = within[key]
            within[at[-1]] = other
            yield json.dumps(made)


def test_whatever_a_hospitals_check_says_the_coordinator_gets_an_outlook_or_a_refusal(
    tmp_path: Path,
) -> None:
    file, shown, refused = tmp_path / "a.json", 0, 0
    for text in [json.dumps(CHECKED), *spoilt(CHECKED)]:
        file.write_text(text, encoding="utf-8")
        try:
            found = list(lines(assess(STUDY, [FeasibilityReport.read(file)])))
            shown += 1
        except InputError:
            refused += 1
        else:
            assert not any("\x1b" in line for line in found)
    assert shown > 50 and refused > 200


def test_whatever_a_coordinator_says_of_its_runs_the_hospital_is_shown_it_or_refuses_it() -> None:
    shown, refused = 0, 0
    for text in [json.dumps(SHOWN), *spoilt(SHOWN)]:
        try:
            seen = Seen.model_validate(parse_json(text))
        except ValueError:
            refused += 1
            continue
        for run in seen.runs:
            list(described(run, "a"))
        shown += 1
    assert shown > 40 and refused > 150
