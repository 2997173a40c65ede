"""A run whose events a test writes, and its page."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.live.serving import LiveServer
from server.live.snapshot import of_simulation

PHASES = ["enrolment", "table1", "clinical", "dl2d", "fusion_decision", "evaluation"]
START = 1_790_000_000.0


class WrittenRun:
    """Appends to events.jsonl as a run does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, START

    def emit(self, kind: str, **details: Any) -> None:
        self.now += 1.0
        line = json.dumps({"time": self.now, "kind": kind, **details})
        with (self.folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def start(self) -> None:
        self.emit("started", phases=PHASES, rounds={"dl2d": 8}, trainings=2)

    def enter(self, phase: str) -> None:
        self.emit("phase", phase=phase, number=PHASES.index(phase) + 1, phases=len(PHASES))

    def joined(self, site: str) -> None:
        self.emit("contact", site=site, exchange="query.enrol", up=900, down=3400)
        self.emit("enrolled", site=site, counts={"train": [20, 8]})

    def round(self, variant: str, number: int) -> None:
        self.emit(
            "round",
            network="dl2d",
            variant=variant,
            round=number,
            rounds=4,
            loss=0.7 - 0.05 * number,
            held_out_loss=None if number == 1 else 0.72 - 0.03 * (number - 1),
            seconds=2.0,
        )


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    folder = tmp_path / "mine"
    folder.mkdir()
    return WrittenRun(folder)


@pytest.fixture
def server(run: WrittenRun) -> Iterator[LiveServer]:
    """The page of the run, served."""
    with LiveServer(of_simulation(run.folder).read) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()
