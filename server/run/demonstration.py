"""`flwr run .` without settings: make the small phantom hospitals first, then study them."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from flwr.serverapp import Grid

from common.demonstration import demonstration_folder
from common.errors import StudyError
from common.utils.processes import kept

MOST_HOSPITALS = 6
NODE_POLLS = 120


def prepare_demonstration(grid: Grid) -> dict[str, str]:
    """Make the hospitals of the demonstration study, and return its run configuration.

    There are as many hospitals as SuperNodes, at most six: Flower's default is two.

    Raises
    ------
    StudyError : the hospitals could not be made.
    """
    nodes = _count_nodes(grid)
    print(f"no study given: demonstrating on small phantom hospitals over {nodes} SuperNodes")
    if nodes < MOST_HOSPITALS:
        print(f"for all {MOST_HOSPITALS}: flwr run . --federation-config 'num-supernodes=6'")
    hospitals = str(min(nodes, MOST_HOSPITALS))
    command = [sys.executable, "-m", "sim", "demonstration", "--hospitals", hospitals]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(kept(command), cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise StudyError(
            f"the phantom hospitals could not be made: {done.stderr.strip()[-300:]}",
            where="demonstration",
        )
    return {
        "study": done.stdout.strip().splitlines()[-1],
        "identity": str(demonstration_folder() / "coordinator.pem"),
        "out": str(demonstration_folder() / f"run-{datetime.now():%Y%m%d-%H%M%S}"),
    }


def _count_nodes(grid: Grid) -> int:
    """Count SuperNodes once their number stays the same; they appear one by one."""
    seen, steady = 0, 0
    for _ in range(NODE_POLLS):
        count = len(list(grid.get_node_ids()))
        steady = steady + 1 if count and count == seen else 0
        seen = count
        if steady >= 4:
            break
        time.sleep(0.5)
    return seen
