"""Receipts beside the messages they are about: in the same record, outside of what is encoded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from flwr.app import ConfigRecord, RecordDict

from common.ledger.receipt import Receipt, read_receipt

_RECEIPT, _RECEIPTS = "receipt", "receipts"
_MOST = 1000


def attach(record: RecordDict, receipt: Receipt) -> None:
    """Put a receipt beside a reply."""
    record[_RECEIPT] = ConfigRecord({"json": json.dumps(dataclasses.asdict(receipt))})


def attached(record: RecordDict) -> Receipt | None:
    """Return the receipt beside a reply, None where there is none.

    Raises
    ------
    ValueError : something else lies there.
    """
    return read_receipt(str(_field(record, _RECEIPT))) if _RECEIPT in record else None


def detached(record: RecordDict) -> RecordDict:
    """Return a reply without the receipt beside it."""
    if _RECEIPT not in record:
        return record
    return RecordDict({name: part for name, part in record.items() if name != _RECEIPT})


def attach_newest(record: RecordDict, receipts: Iterable[Receipt]) -> None:
    """Put the newest receipts of all sites beside a request."""
    if texts := [json.dumps(dataclasses.asdict(one)) for one in receipts]:
        record[_RECEIPTS] = ConfigRecord({"json": texts})


def newest_attached(record: RecordDict) -> list[Receipt]:
    """Return the receipts beside a request; none where there are none, or something else."""
    if _RECEIPTS not in record:
        return []
    try:
        texts = _field(record, _RECEIPTS)
        return [read_receipt(str(text)) for text in list(texts)[:_MOST]]
    except (ValueError, TypeError):
        return []


def _field(record: RecordDict, name: str) -> Any:
    part = record[name]
    if not isinstance(part, ConfigRecord) or "json" not in part:
        raise ValueError("not a receipt")
    return part["json"]
