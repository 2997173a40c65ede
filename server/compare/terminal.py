"""The comparison on screen."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.table import Table

from server.compare import blocks
from server.compare.run import ComparedRun
from server.report import words
from server.report.reading import set_label


def auc_table(first: ComparedRun, second: ComparedRun) -> Table:
    """AUC of every model on every set in both runs, and the difference."""
    table = Table(title="Area under the ROC curve (AUC)", title_justify="left", box=box.SIMPLE)
    table.add_column("Model", no_wrap=True)
    for header in (first.name, second.name, "Difference"):
        table.add_column(header, justify="right", overflow="fold")
    for name in blocks.set_names(first, second):
        table.add_row(set_label(name), "", "", "", style="bold")
        rows = blocks.pairs(first, second, name)
        for place, (model, a, b) in enumerate(rows):
            one, two = (a.auc if a else None), (b.auc if b else None)
            change = blocks.signed(blocks.difference(one, two))
            label = f"  {words.MODEL_LABELS[model]}"
            last = place == len(rows) - 1
            table.add_row(label, words.auc(one), words.auc(two), change, end_section=last)
    return table


def lines(first: ComparedRun, second: ComparedRun) -> Iterator[str]:
    """What else differs, briefly."""
    yield blocks.NO_TEST
    settings = blocks.settings_block(first, second)
    if settings is None:
        for run in (first, second):
            if run.note:
                yield f"settings cannot be compared: {run.name}: {run.note}"
    else:
        yield f"settings that differ: {len(settings.lines) or 'none'}"
        for line in settings.lines:
            yield f"  {line.head}: {line.cells[0].text} | {line.cells[1].text}"
    for arm, one, two in blocks.chosen(first, second):
        counts = f"{len(one & two)} in both, {len(one - two)} and {len(two - one)} in one only"
        yield f"features of {words.arm_label(arm)}: {counts}"
    for line in blocks.effort_block(first, second).lines[-4:]:
        yield f"{line.head}: {line.cells[0].text} | {line.cells[1].text}"
    software = blocks.software_block(first, second)
    for line in software.lines:
        yield f"{line.head}: {line.cells[0].text} | {line.cells[1].text}"
