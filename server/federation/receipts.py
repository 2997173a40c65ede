"""The receipts of a run: who signed which reply, and where the ledgers stood."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flwr.app import Message

from common.errors import InputError, SiteError
from common.ledger.entry import canonical
from common.ledger.receipt import Receipt, question_of, read_receipt
from common.masking import identity
from common.messages.codec import digest_of
from common.messages.exchanges import REPLIES_IN_PLACE, Problem
from common.messages.receipts import attached

FILE = "replies.jsonl"


@dataclass(frozen=True)
class Kept:
    """Line of the file: a receipt, the kind and run of its exchange, and when it came (UTC).

    Parameters
    ----------
    released : the reply was an answer, and no refusal or problem.
    """

    exchange: str
    run: str
    time: str
    released: bool
    receipt: Receipt


class Receipts:
    """The receipts of one run, a line each in `replies.jsonl`; the newest of every site by name.

    Parameters
    ----------
    path : the file; None = they are kept in memory only.
    roster : identity key (base64) by site; a site without one signs nothing.
    """

    def __init__(self, path: Path | None, roster: dict[str, str]) -> None:
        self._path, self._roster = path, roster
        self.newest: dict[str, Receipt] = {}
        for kept in read_receipts(path) if path is not None and path.is_file() else []:
            self.newest[kept.receipt.site] = kept.receipt

    def all_newest(self) -> list[Receipt]:
        """Return the newest receipt of every site, to be handed back with requests."""
        return list(self.newest.values())

    def take(self, site: str, exchange: str, request: Any, reply: Message, answer: Any) -> None:
        """Check the receipt beside a reply and keep it.

        A problem may come without one: a site that cannot read its own key or memory says so.

        Parameters
        ----------
        answer : what the reply holds.

        Raises
        ------
        SiteError : there is none, it is not this site's or not of this reply, or its ledger has
            become shorter.
        """
        if not reply.has_content() or not self._roster.get(site):
            return
        try:
            receipt = attached(reply.content)
        except ValueError:
            raise _wrong(site, "its receipt cannot be read") from None
        if receipt is None and isinstance(answer, Problem):
            return
        if receipt is None:
            raise _wrong(site, "its reply came without the receipt that its release writes")
        own = receipt.site == site and receipt.is_by(identity.public_key(self._roster[site]))
        if not own:
            raise _wrong(site, "its reply is not signed with its identity key")
        if (receipt.request, receipt.reply) != (question_of(request), digest_of(reply.content)):
            raise _wrong(site, "it signed another reply, or a reply to another question")
        self._check_ledger(receipt)
        self.newest[site] = receipt
        if self._path is not None:
            released = not isinstance(answer, REPLIES_IN_PLACE)
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            _append(self._path, Kept(exchange, request.run, time, released, receipt))

    def _check_ledger(self, receipt: Receipt) -> None:
        before = self.newest.get(receipt.site)
        if before is None or receipt.entries > before.entries:
            return
        if (receipt.entries, receipt.ledger) != (before.entries, before.ledger):
            raise SiteError(
                f"its ledger had {before.entries} entries and now has {receipt.entries}, or others:"
                " it was put back to an older copy",
                where=f"site {receipt.site}",
                remedy="it must restore the newest backup of its work folder, then resume",
            )


def _append(path: Path, kept: Kept) -> None:
    with path.open("ab") as file:
        file.write(canonical(dataclasses.asdict(kept)) + b"\n")


def read_receipts(path: Path) -> list[Kept]:
    """Read the receipts of a run, without a last line that a crash cut off.

    Raises
    ------
    InputError : a line that holds none.
    """
    found = []
    lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            receipt = read_receipt(json.dumps(fields.pop("receipt")))
            found.append(Kept(**fields, receipt=receipt))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError("not a receipt", where=f"{path} line {number}") from None
    return found


def _wrong(site: str, what: str) -> SiteError:
    return SiteError(
        what,
        where=f"site {site}",
        remedy="look for what stands between coordinator and site, then resume",
    )
