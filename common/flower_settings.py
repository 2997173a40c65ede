"""What every process of Flower is started with: it reports to nobody and installs nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Every part of a large message passes through several buffers of 5 MiB. The C library would take each
# of them from the system and give it back, which costs more than what is done with them.
_KEPT_BUFFERS = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
}
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # seconds between two looks for work: it is waited for at every message
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
}


def flower_environment(home: Path) -> dict[str, str]:
    """This process's environment, for a process of Flower that keeps its files in `home`."""
    own = str(Path(sys.executable).parent)
    return {
        **os.environ,
        **QUIET,
        **_KEPT_BUFFERS,
        "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home),
    }


def flower_program(name: str) -> str:
    """Path of a program of the Flower that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))
