"""What the hospitals' own ledgers say of a simulated run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.ledger.verify import read_entries


def ledger_rows(sites: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Entries by site and kind of message, for results.json.

    Parameters
    ----------
    sites : path of every hospital's site.toml inside the run; the ledger is in its work folder.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for site, path in sites.items():
        ledger = path.parent / "work" / "ledger.jsonl"
        for entry in read_entries(ledger) if ledger.is_file() else ():
            if entry.decision not in ("released", "refused", "stopped"):
                continue
            new = {"site": site, "exchange": entry.exchange, "released": 0}
            row = rows.setdefault(
                (site, entry.exchange), {**new, "refused": 0, "stopped": 0, "bytes": 0}
            )
            row[entry.decision] += 1
            if entry.decision == "released":
                row["bytes"] += entry.size
    return list(rows.values())
