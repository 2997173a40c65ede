"""`fedlnm-sim equality`: compare, show the tables, report missed bounds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from common.errors import InputError
from sim.equality.findings import Finding, as_table
from sim.equality.run import HEART_STUDY, compare_heart, compare_synthetic
from sim.equality.synthetic import FULL, SMALL

# usual folder of the public heart data beside the project
HEART = Path(__file__).resolve().parents[3] / "shared" / "data" / "heart"


@dataclass(frozen=True)
class Outcome:
    """All lines, omissions with reasons, and the duration."""

    lines: tuple[Finding, ...]
    left_out: tuple[str, ...]
    seconds: float

    @property
    def missed(self) -> tuple[Finding, ...]:
        """Lines that miss their bound."""
        return tuple(line for line in self.lines if not line.ok)

    def record(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "ok": not self.missed,
            "findings": [line.record() for line in self.lines],
            "left_out": list(self.left_out),
            "seconds": round(self.seconds, 1),
        }


def measure(parts: Sequence[str], *, small: bool, heart: Path, console: Console) -> Outcome:
    """Compare on the data sets asked for, reporting progress and showing the tables.

    Raises
    ------
    InputError : only the heart data were asked for, and they are not there.
    """
    start = time.monotonic()

    def tell(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - start:6.0f} s[/dim]  {text}", highlight=False)

    groups: list[list[Finding]] = []
    left_out: list[str] = []
    if "synthetic" in parts:
        groups.append(compare_synthetic(SMALL if small else FULL, tell))
    if "heart" in parts:
        why = _lacking(heart)
        if why and len(parts) == 1:
            raise InputError(why, where="heart data", remedy="give their folder with --heart")
        if why:
            left_out.append(f"heart data: {why}")
        else:
            groups.append(compare_heart(heart, tell))
    outcome = Outcome(
        lines=tuple(line for group in groups for line in group),
        left_out=tuple(left_out),
        seconds=time.monotonic() - start,
    )
    _show(groups, outcome, console)
    return outcome


def _lacking(heart: Path) -> str:
    """Name the missing part of the heart data, empty when all is there."""
    for needed in (HEART_STUDY, heart):
        if not needed.exists():
            return f"there is no {needed}"
    return ""


def _show(groups: Sequence[Sequence[Finding]], outcome: Outcome, console: Console) -> None:
    for group in groups:
        console.print(as_table(group, group[0].data))
    for text in outcome.left_out:
        console.print(f"[yellow]left out[/yellow]  {text}", highlight=False)
    for line in outcome.missed:
        console.print(
            f"[bold red]missed[/bold red]  {line.data}; {line.step}: {line.measure}"
            f" is {line.error:.4g}, must be {line.bound}",
            highlight=False,
        )
    bounded = sum(line.bound is not None for line in outcome.lines)
    console.print(
        f"{bounded - len(outcome.missed)} of {bounded} bounds hold ({outcome.seconds:.0f} s)",
        highlight=False,
    )
