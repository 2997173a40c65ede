"""Markdown tables of measurements, and their place in results.md."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench.measuring import GIB

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results.md"
_LIBRARIES = ("flwr", "torch", "numpy")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(value: float) -> str:
    """Seconds for people; a dash where nothing was measured."""
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if value < 1.0 else f"{value:.1f}"


def gib(size: float) -> str:
    """Bytes as GiB."""
    return f"{size / GIB:.2f}" if size else "-"


def held(value: float, bound: float) -> str:
    """Return whether a bound holds."""
    if math.isnan(value):
        return "not measured"
    return "yes" if value <= bound else "**no**"


def ratio(other: float, own: float) -> str:
    """Return how many times as much another takes."""
    return f"{other / own:.1f}x" if own > 0 and not math.isnan(other / own) else "-"


def conditions() -> str:
    """Date, machine and versions, and how busy the machine was."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {len(os.sched_getaffinity(0))} cores of {_processor()},"
        f" {memory:.0f} GiB, {platform.system()}; Python {platform.python_version()}, {versions};"
        f" load average when it was written down {os.getloadavg()[0]:.1f}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def put_section(name: str, text: str, path: Path = RESULTS) -> None:
    """Put a text between the markers of its name; at the end of the file where there are none."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    written = path.read_text(encoding="utf-8")
    block = f"{begin}\n{text.strip()}\n{end}"
    if begin in written:
        before, _, rest = written.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{path.name}: {begin} without {end}")
        written = before + block + after
    else:
        written = f"{written.rstrip()}\n\n{block}\n"
    path.write_text(written, encoding="utf-8")
