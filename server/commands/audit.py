"""`fedlnm-server audit`: the ledgers of a run's sites, each by itself and all side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.ledger.audit import audit
from common.ledger.entry import Entry
from common.ledger.verify import named_key, readable_entries, verify
from common.masking import identity
from common.study.model import Study
from server.federation.receipts import FILE as REPLIES
from server.federation.receipts import read_receipts


@dataclass(frozen=True)
class AuditReport:
    """Entries by site, what does not fit, and what the reader must know to trust the rest."""

    entries: dict[str, int]
    findings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line."""
        read = f"{sum(self.entries.values())} entries of {len(self.entries)} sites"
        return f"{read}: {f'{len(self.findings)} finding(s)' if self.findings else 'they agree'}"

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return {"entries": self.entries, "findings": self.findings, "notes": self.notes}


def find_ledgers(run: Path) -> dict[str, Path]:
    """Ledgers by site: `sites/NAME/ledger.jsonl` as sent in, or in a simulated site's work folder.

    Raises
    ------
    InputError : there is none.
    """
    found: dict[str, Path] = {}
    for folder in sorted((run / "sites").glob("*/")):
        for path in (folder / "ledger.jsonl", folder / "work" / "ledger.jsonl"):
            if path.is_file():
                found.setdefault(folder.name, path)
    if not found:
        raise InputError(
            "no ledgers",
            where=str(run / "sites"),
            remedy="put each site's ledger.jsonl and ledger.head.json into sites/NAME",
        )
    return found


def audit_run(run: Path, study: Study | None) -> AuditReport:
    """Check and compare the ledgers of a run.

    Parameters
    ----------
    study : whose sites' public keys the ledgers must be signed with; without it the key is the one
        that the ledger itself names.

    Raises
    ------
    InputError : no ledgers, or a key that cannot be read.
    """
    ledgers = find_ledgers(run)
    keys = study.roster if study else {}
    findings = [f"site {name}: no ledger" for name in keys if name not in ledgers]
    left = {one.site: one.public_key for one in study.left} if study else {}
    keys = keys | left
    if study:
        strange = [name for name in ledgers if name not in keys]
        findings += [f"site {name}: not a site of the study" for name in strange]
    notes = []
    for name, path in ledgers.items():
        key = identity.public_key(keys[name]) if keys.get(name) else named_key(path)
        if not keys.get(name):
            shown = identity.fingerprint(key)
            notes.append(f"site {name}: checked with the key that it names itself, {shown}")
        findings += [f"site {name}: {finding}" for finding in verify(path, key)]
    entries = {name: readable_entries(path) for name, path in ledgers.items()}
    gone = left.keys() - ledgers.keys()
    for finding in audit(entries):
        # whoever left for good need not send its ledger any more
        silent = finding.kind == "missing" and gone.issuperset(finding.sites)
        (notes if silent else findings).append(str(finding))
    findings += _contradictions(run / REPLIES, keys, entries)
    notes += _departures(entries)
    return AuditReport({n: len(e) for n, e in entries.items()}, tuple(findings), tuple(notes))


def _contradictions(
    path: Path, keys: Mapping[str, str], ledgers: Mapping[str, Sequence[Entry]]
) -> Iterator[str]:
    """Yield what sites signed with their replies and their ledgers do not have, by the site."""
    hashes = {name: {e.number: e.hash for e in entries} for name, entries in ledgers.items()}
    answers = {name: {e.payload for e in entries} for name, entries in ledgers.items()}
    for kept in read_receipts(path) if path.is_file() else []:
        one = kept.receipt
        where = f"site {one.site}, {kept.exchange} of run {kept.run} at {kept.time}"
        if keys.get(one.site) and not one.is_by(identity.public_key(keys[one.site])):
            yield f"{where}: the receipt is not signed by the site, but made or changed since"
        elif one.site in ledgers and hashes[one.site].get(one.entries) != one.ledger:
            yield (
                f"{where}: the site signed that its ledger had {one.entries} entries, and the"
                " ledger here is another: it was put back to an older copy, or written anew"
            )
        elif one.site in ledgers and kept.released and one.reply not in answers[one.site]:
            yield f"{where}: the site signed a reply that its ledger does not have"


def _departures(entries: Mapping[str, Sequence[Entry]]) -> Iterator[str]:
    """List the sites whose numbers follow from the sums of two rosters, as the sites recorded."""
    following = Counter((name, own) for own, all_of in entries.items() for name in _left(all_of))
    for name in sorted({name for name, _ in following}):
        releases = ", ".join(f"{n} of {own}" for (one, own), n in following.items() if one == name)
        yield f"site {name} left: its own sums follow by subtraction from releases ({releases})"


def _left(entries: Iterable[Entry]) -> Iterator[str]:
    """Once for each entry."""
    for entry in entries:
        yield from {name for item in entry.items for name in item.left}
