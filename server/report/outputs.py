"""What a finished run leaves for people: results.json, tables, figures, the page, transfers.csv."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.report.figures import draw_figures, write_figures
from server.report.page import write_report
from server.report.results import Results, parse, write
from server.report.tables import write_tables

TRANSFER_COLUMNS = (
    "run",
    "site",
    "exchange",
    "phase",
    "rounds",
    "messages",
    "bytes_up",
    "bytes_down",
)


def write_outputs(tree: Mapping[str, Any], out: Path) -> Results:
    """Validate the rows of one or several runs and write everything made from them."""
    results = parse(dict(tree), where=str(out / "results.json"))
    write(results, out / "results.json")
    write_tables(results, out)
    drawings = draw_figures(results)
    write_figures(drawings, out)
    write_report(results, out, drawings)
    with (out / "transfers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=TRANSFER_COLUMNS)
        writer.writeheader()
        writer.writerows(row.model_dump(mode="json") for row in results.transfers)
    return results
