"""Comparison of a federated figure with its pooled reference, and the table of all."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich import box
from rich.table import Table

Relation = Literal["<=", "<", ">=", ">"]
COMPARE = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}


@dataclass(frozen=True)
class Bound:
    """Bound of an error, such as <= 1e-9."""

    relation: Relation
    limit: float

    def holds(self, value: float) -> bool:
        """Return whether the value keeps the bound; NaN never does."""
        return math.isfinite(value) and bool(COMPARE[self.relation](value, self.limit))

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:g}"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Parameters
    ----------
    data : the data set.
    step : of the study.
    reference : program behind the pooled figure.
    measure : quantity whose largest difference is `error`; counts and cosines say so themselves.
    error : the figure.
    bound : None for a figure without one.
    rounds, kilobytes : of the step, kB up of the site that sends most; None where the step's
        first line has them.
    """

    data: str
    step: str
    reference: str
    measure: str
    error: float
    bound: Bound | None = None
    rounds: int | None = None
    kilobytes: float | None = None

    @property
    def ok(self) -> bool:
        """True if the bound, if there is one, is kept."""
        return self.bound is None or self.bound.holds(self.error)

    def record(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "data": self.data,
            "step": self.step,
            "reference": self.reference,
            "measure": self.measure,
            "error": self.error if math.isfinite(self.error) else None,
            "bound": str(self.bound) if self.bound else None,
            "ok": self.ok if self.bound else None,
            "rounds": self.rounds,
            "kilobytes_up_per_site": self.kilobytes,
        }


@dataclass
class Findings:
    """Collector of the lines of one data set."""

    data: str
    lines: list[Finding] = field(default_factory=list)

    def step(self, name: str, reference: str, traffic: tuple[int, float] | None) -> Step:
        """Begin a step, whose first line carries the traffic."""
        return Step(self, name, reference, traffic)


class Step:
    """Collector of the lines of one step."""

    def __init__(
        self, findings: Findings, name: str, reference: str, traffic: tuple[int, float] | None
    ) -> None:
        self._findings, self._name, self._reference = findings, name, reference
        self._traffic = traffic

    def add(self, measure: str, error: float, bound: Bound | None = None) -> None:
        """Add one line."""
        rounds, kilobytes = self._traffic or (None, None)
        self._traffic = None
        self._findings.lines.append(
            Finding(
                data=self._findings.data,
                step=self._name,
                reference=self._reference,
                measure=measure,
                error=float(error),
                bound=bound,
                rounds=rounds,
                kilobytes=kilobytes,
            )
        )


def at_most(limit: float) -> Bound:
    """Return a bound: error no larger than the limit."""
    return Bound("<=", limit)


def at_least(limit: float) -> Bound:
    """Return a bound: agreement no smaller than the limit."""
    return Bound(">=", limit)


def as_table(lines: Sequence[Finding], title: str) -> Table:
    """Return the lines of one data set as a table for the terminal."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption="errors are largest differences, unless the measure says what they count",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in ("step", "pooled reference", "measure"):
        table.add_column(name, overflow="fold")
    for name in ("error", "bound"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ok")
    for name in ("rounds", "kB up per site"):
        table.add_column(name, justify="right")
    before = ""
    for line in lines:
        first = line.step != before
        before = line.step
        table.add_row(
            line.step if first else "",
            line.reference if first else "",
            line.measure,
            f"{line.error:.4g}",
            str(line.bound) if line.bound else "",
            _mark(line),
            "" if line.rounds is None else str(line.rounds),
            _volume(line),
        )
    return table


def _volume(line: Finding) -> str:
    if line.kilobytes is None:
        return ""
    # its sums travel in another step's rounds
    return f"{line.kilobytes:.1f}" if line.rounds else "shared"


def _mark(line: Finding) -> str:
    if line.bound is None:
        return ""
    return "[green]yes[/green]" if line.ok else "[bold red]NO[/bold red]"
