"""Environment of every Flower process: no telemetry, no installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # seconds between two polls for work, part of the latency of every message
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
}


def flower_environment(home: Path) -> dict[str, str]:
    """Return this process's environment for a Flower process that keeps its files in `home`."""
    own = str(Path(sys.executable).parent)
    return {
        **os.environ,
        **QUIET,
        "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home),
    }


def flower_program(name: str) -> str:
    """Return the path of a program of the Flower installed beside this Python."""
    return str(Path(sys.executable).with_name(name))
