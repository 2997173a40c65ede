"""Tables of the results as a manuscript has them: characteristics, performance, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from common.html.pages import Block
from server.report import words
from server.report.calibration import calibration_blocks
from server.report.follow_up import follow_up_block
from server.report.measures import measure_blocks
from server.report.patients import table1_block
from server.report.performance import performance_blocks
from server.report.schema import Results
from server.report.subgroups import per_site_blocks, strata_blocks

BY_SET: tuple[tuple[str, Callable[[Results], Sequence[Block]]], ...] = (
    ("Performance", performance_blocks),
    ("At the cut-off", measure_blocks),
    ("Calibration", calibration_blocks),
    ("AUC by hospital", per_site_blocks),
    ("AUC by subgroup", strata_blocks),
)


def result_blocks(results: Results) -> list[Block]:
    """Return the report's tables of patients and models, each with a title of its own."""
    found = []
    if (table := table1_block(results)) is not None:
        note = f"{table.title} {table.note}".strip()
        found.append(replace(table, title="Characteristics of the patients", note=note))
    if (table := follow_up_block(results)) is not None:
        found.append(replace(table, title="Time to event"))
    for title, make in BY_SET:
        for block in make(results):
            found.append(replace(block, title=f"{title}: {words.lowered(block.title)}"))
    return found
