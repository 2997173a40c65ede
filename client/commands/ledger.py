"""`fedlnm-site ledger`: read what left this hospital, and check that nobody changed the record."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from client.site import load_site
from client.store.heads import LedgerHeads, RolledBackError
from client.store.ledger import ledger_path
from common.errors import UsageError
from common.ledger.entry import Entry, Item
from common.ledger.verify import named_key, read_entries
from common.ledger.verify import verify as verify_ledger
from common.masking import identity
from common.utils.console import consoles

ledger = typer.Typer(no_args_is_help=True, help="The record of everything that left this hospital.")
console, screen = consoles()


@ledger.command()
def show(
    site_dir: Annotated[Path | None, typer.Argument(help="folder with site.toml")] = None,
    site: Annotated[Path | None, typer.Option(help="site.toml")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="only so many, the latest")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """List every reply: when, what, for which run, about how many patients, what was decided.

    Exit code 1: the site has signed an entry that this ledger lacks, so it is an older copy.
    """
    if (site_dir is None) == (site is None):
        raise UsageError(
            "which site?", where="ledger show", remedy="give its folder, or --site site.toml"
        )
    settings = load_site(site or Path(str(site_dir)) / "site.toml")
    entries = read_entries(ledger_path(settings.work))
    entries = entries[-last:] if last else entries
    if json_output:
        sys.stdout.write(json.dumps([dataclasses.asdict(e) for e in entries], indent=1) + "\n")
    else:
        console.print(_table(settings.name, entries))
    if missing := LedgerHeads(settings.work, settings.name).missing():
        raise RolledBackError(settings.name, missing[0])


@ledger.command()
def verify(
    file: Annotated[Path, typer.Argument(help="ledger.jsonl; its head must lie beside it")],
    key: Annotated[str | None, typer.Option(help="the site's public key, as in study.toml")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Look for lines that were edited, removed, reordered, cut off or signed by somebody else.

    Exit code 0: intact. 1: something is wrong; every finding is listed with its line.
    """
    public = identity.public_key(key) if key else named_key(file)
    findings = verify_ledger(file, public)
    if json_output:
        sys.stdout.write(json.dumps([dataclasses.asdict(f) for f in findings], indent=1) + "\n")
        raise typer.Exit(1 if findings else 0)
    if key is None:
        shown = identity.fingerprint(public)
        screen.print(f"checked with the key that the ledger names itself, {shown}", highlight=False)
    for finding in findings:
        console.emit(finding)
    console.print(f"{len(findings)} finding(s)" if findings else "intact", highlight=False)
    raise typer.Exit(1 if findings else 0)


def _table(site: str, entries: Sequence[Entry]) -> Table:
    table = Table(title=f"{site}: {len(entries)} entries", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("no.", justify="right")
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("run", overflow="fold")
    table.add_column("exchange", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("patients", justify="right", no_wrap=True)
    table.add_column("masked", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    for entry in entries:
        for row in _rows(entry):
            table.add_row(*(escape(cell) for cell in row))
    return table


def _rows(entry: Entry) -> list[tuple[str, ...]]:
    """A row an item; items of one exchange that read the same take one."""
    epsilon = "" if entry.epsilon is None else f", epsilon {entry.epsilon:g}"
    decision = entry.decision + (f": {entry.reason}" if entry.reason else "") + epsilon
    time = entry.time[:19].replace("T", " ")
    left = (str(entry.number), time, entry.run, entry.exchange)
    first, *others = dict.fromkeys(map(_item_cells, entry.items)) or {("", "-", "-"): None}
    top = (*left, *first, str(entry.size), decision)
    return [top, *(("", "", "", "", *cells, "", "") for cells in others)]


def _item_cells(item: Item) -> tuple[str, str, str]:
    positives = "" if item.positives is None else f" ({item.positives}+)"
    left = f", and by subtraction of {', '.join(item.left)}, who left" if item.left else ""
    unique = "" if item.unique is None else f", {item.unique} with exactly one fitting row"
    return (
        f"{item.what} [{item.subset}]{left}{unique}",
        "-" if item.rows is None else f"{item.rows}{positives}",
        f"{len(item.participants)} sites" if item.masked else "no",
    )
