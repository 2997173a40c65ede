"""Report of the check on screen: patients, then findings, the most severe last."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from client.check.finding import SEVERITIES, Finding, Report, Severity

SHOWN = 5


def listed(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


_COLOURS: dict[Severity, str] = {
    "ok": "green",
    "not applicable": "dim",
    "not checked": "cyan",
    "warning": "yellow",
    "problem": "red",
}


def show(report: Report, console: Console) -> None:
    """Print tables, and the verdict as the last line."""
    console.print(_patients(report))
    console.print(_findings(report))
    counts = {severity: len(report.of(severity)) for severity in SEVERITIES[2:]}
    numbers = f"{counts.pop('not checked')} not checked, " + ", ".join(
        f"{n} {severity}{'' if n == 1 else 's'}" for severity, n in counts.items()
    )
    verdict = "ready" if report.ready else "not ready"
    if report.stopped:
        verdict = "stopped, so not everything was looked at"
    console.print(f"{verdict}: {numbers}", highlight=False)


def emit(finding: Finding, console: Console) -> None:
    """Print a finding as soon as it is made, while the check continues."""
    colour = _COLOURS[finding.severity]
    line = f"[{colour}]{finding.severity}[/{colour}] {finding.kind}: {escape(str(finding))}"
    console.print(line, highlight=False)


def _patients(report: Report) -> Table:
    title = f"{report.site} in the study {report.study}: {report.patients} usable patients"
    table = Table(title=escape(title), title_justify="left")
    for heading in ("subset", "patients", "positive"):
        table.add_column(heading)
    for name, (n, positives) in report.counts.items():
        table.add_row(escape(name), str(n), str(positives))
        if name == "train":
            for fold, (own, own_positives) in enumerate(report.folds):
                table.add_row(f"  fold {fold + 1}", str(own), str(own_positives))
    return table


def _findings(report: Report) -> Table:
    table = Table(title="Findings", title_justify="left", show_lines=False)
    for heading in ("", "check"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what, and what to do", ratio=1)
    for severity in SEVERITIES:
        for finding in report.of(severity):
            colour = _COLOURS[severity]
            table.add_row(f"[{colour}]{severity}[/{colour}]", finding.kind, _words(finding))
    return table


def _words(finding: Finding) -> str:
    where = f"[bold]{escape(finding.where)}[/bold]: " if finding.where else ""
    remedy = f"\n-> {escape(finding.remedy)}" if finding.remedy else ""
    return f"{where}{escape(finding.what)}{remedy}"
