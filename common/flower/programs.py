"""Environment of Flower's processes, in which they report to nobody and install nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # seconds between two looks for work; every message waits for this
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
}


def flower_environment(home: Path) -> dict[str, str]:
    """Return the environment for a process of Flower that keeps its files in `home`."""
    own = str(Path(sys.executable).parent)
    return {
        **os.environ,
        **QUIET,
        "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home),
    }


def flower_program(name: str) -> str:
    """Return the path of a program of the Flower that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))
