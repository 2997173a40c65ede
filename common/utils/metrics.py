"""Write numbers for Prometheus, in its text exposition format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4"
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Metric:
    """A metric and its values by labels."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    values: Iterable[tuple[Labels, float | None]]

    def lines(self) -> Iterator[str]:
        """Yield its lines; values that are not known are left out, and so is it without any."""
        known = [(labels, value) for labels, value in self.values if value is not None]
        if known:
            yield f"# HELP {self.name} {self.help}"
            yield f"# TYPE {self.name} {self.kind}"
        for labels, value in known:
            inner = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{self.name}{{{inner}}} {float(value)!r}"


def _escaped(text: str) -> str:
    """Escape a label's value.

    >>> print(_escaped('a"b'))
    a\\"b
    """
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def exposition(metrics: Iterable[Metric]) -> str:
    """Write metrics, one line a value."""
    lines = [line for metric in metrics for line in metric.lines()]
    return "\n".join(lines) + "\n"
